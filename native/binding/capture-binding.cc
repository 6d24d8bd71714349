#include "native/binding/capture-binding.h"

#include <sys/random.h>

#include <cerrno>
#include <memory>

#include "native/binding/arguments.h"
#include "native/worker/capture-judge.h"

namespace sluice {
namespace {

// The NativeCaptureJudge of src/dataplane/addon.ts.
class CaptureJudgeBinding : public Napi::ObjectWrap<CaptureJudgeBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeCaptureJudge",
                       {InstanceMethod<&CaptureJudgeBinding::findSides>("findSides"),
                        InstanceMethod<&CaptureJudgeBinding::judge>("judge")});
  }

  explicit CaptureJudgeBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<CaptureJudgeBinding>(info) {
    const auto blob = bytesOf(info[0], "blob");
    if (info.Env().IsExceptionPending()) return;
    const auto mac = bytesOf(info[2], "podMac");
    if (info.Env().IsExceptionPending()) return;
    CaptureJudgeOptions options;
    options.blob = std::as_bytes(blob);
    options.endpointId = info[1].ToNumber().Uint32Value();
    options.podMac = mac;
    options.connectionsMax = info[3].ToNumber().Uint32Value();
    Status status;
    // A file gets a fixed secret, so that it is judged the same every time. A live sender could
    // make its connections fill one bucket, so live traffic gets a random secret.
    const bool isLive = options.endpointId == NONE;
    if (isLive && getrandom(options.hashSecret.data(), sizeof options.hashSecret, 0) !=
                      static_cast<ssize_t>(sizeof options.hashSecret)) {
      status = Status::system("getrandom", errno);
    }
    if (status.ok()) status = CaptureJudge::create(options, &judge_);
    if (!status.ok()) {
      throwStatus(info.Env(), status);
      return;
    }
    // The garbage collector does not see this memory and would otherwise keep many unused judges.
    constexpr int64_t FRAGMENTS_AND_REST_BYTES = 4 << 20;
    memoryBytes_ =
        int64_t{options.connectionsMax} * int64_t{sizeof(ConnEntry)} + FRAGMENTS_AND_REST_BYTES;
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), memoryBytes_);
  }

  void Finalize(Napi::BasicEnv env) override {
    Napi::MemoryManagement::AdjustExternalMemory(env, -memoryBytes_);
  }

 private:
  // Records of `Record` in a typed array, or an empty span with a pending error.
  template <typename Record>
  static std::span<Record> recordsOf(const Napi::Value& value, const char* what) {
    const auto bytes = bytesOf(value, what);
    if (value.Env().IsExceptionPending()) return {};
    const bool aligned = reinterpret_cast<uintptr_t>(bytes.data()) % alignof(Record) == 0;
    if (bytes.size() % sizeof(Record) != 0 || !aligned) {
      Napi::RangeError::New(value.Env(), std::string(what) + " are no whole records")
          .ThrowAsJavaScriptException();
      return {};
    }
    return {reinterpret_cast<Record*>(bytes.data()), bytes.size() / sizeof(Record)};
  }

  void findSides(const Napi::CallbackInfo& info) {
    const auto bytes = bytesOf(info[0], "bytes");
    if (info.Env().IsExceptionPending()) return;
    const auto frames = recordsOf<CapturedFrame>(info[1], "frames");
    if (info.Env().IsExceptionPending()) return;
    const Status status = judge_->findSides(std::as_writable_bytes(bytes), frames);
    if (!status.ok()) throwStatus(info.Env(), status);
  }

  void judge(const Napi::CallbackInfo& info) {
    const auto bytes = bytesOf(info[0], "bytes");
    if (info.Env().IsExceptionPending()) return;
    const auto frames = recordsOf<CapturedFrame>(info[1], "frames");
    if (info.Env().IsExceptionPending()) return;
    const auto judged = recordsOf<JudgedFrame>(info[2], "judged");
    if (info.Env().IsExceptionPending()) return;
    const Status status = judge_->judge(std::as_writable_bytes(bytes), frames, judged);
    if (!status.ok()) throwStatus(info.Env(), status);
  }

  std::unique_ptr<CaptureJudge> judge_;
  int64_t memoryBytes_ = 0;
};

}  // namespace

void defineCapture(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeCaptureJudge", CaptureJudgeBinding::define(env));
}

}  // namespace sluice
