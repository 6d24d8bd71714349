#include "native/binding/guard-binding.h"

#include <cstring>
#include <memory>
#include <vector>

#include "native/attach/source-guards.h"
#include "native/binding/arguments.h"
#include "native/binding/job.h"

namespace sluice {
namespace {

// Guards an interface in a thread of the pool: the kernel lets it wait.
class GuardJob : public Job {
 public:
  GuardJob(Napi::Env env, std::shared_ptr<SourceGuards> guards, uint32_t interfaceIndex,
           const GuardedInterface& own)
      : Job(env), guards_(std::move(guards)), interfaceIndex_(interfaceIndex), own_(own) {}

 protected:
  Status work() override { return guards_->guard(interfaceIndex_, own_); }
  Napi::Value result() override { return Env().Undefined(); }

 private:
  std::shared_ptr<SourceGuards> guards_;
  uint32_t interfaceIndex_;
  GuardedInterface own_;
};

// The NativeSourceGuards of src/dataplane/addon.ts.
class GuardBinding : public Napi::ObjectWrap<GuardBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeSourceGuards",
                       {InstanceMethod<&GuardBinding::guard>("guard"),
                        InstanceMethod<&GuardBinding::guardMeanwhile>("guardMeanwhile"),
                        InstanceMethod<&GuardBinding::unguard>("unguard"),
                        InstanceMethod<&GuardBinding::list>("list")});
  }

  explicit GuardBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GuardBinding>(info) {
    std::unique_ptr<SourceGuards> guards;
    throwUnless(info, SourceGuards::open(textOf(info[0]), &guards));
    guards_ = std::move(guards);
  }

 private:
  void guard(const Napi::CallbackInfo& info) {
    const auto* const own = recordOf<GuardedInterface>(info[1], "GuardedInterface");
    if (own != nullptr) throwUnless(info, guards_->guard(wordOf(info[0]), *own));
  }

  Napi::Value guardMeanwhile(const Napi::CallbackInfo& info) {
    const auto* const own = recordOf<GuardedInterface>(info[1], "GuardedInterface");
    if (own == nullptr) return info.Env().Undefined();
    auto* const job = new GuardJob(info.Env(), guards_, wordOf(info[0]), *own);
    job->Queue();
    return job->promise();
  }

  void unguard(const Napi::CallbackInfo& info) {
    throwUnless(info, guards_->unguard(wordOf(info[0])));
  }

  Napi::Value list(const Napi::CallbackInfo& info) {
    std::vector<GuardState> states;
    throwUnless(info, guards_->list(&states));
    const size_t bytes = states.size() * sizeof(GuardState);
    auto array = Napi::Uint8Array::New(info.Env(), bytes);
    if (bytes > 0) std::memcpy(array.Data(), states.data(), bytes);
    return array;
  }

  std::shared_ptr<SourceGuards> guards_;
};

}  // namespace

void defineSourceGuards(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeSourceGuards", GuardBinding::define(env));
}

}  // namespace sluice
