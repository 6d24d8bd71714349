#include "native/binding/traffic-binding.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/binding/arguments.h"
#include "native/binding/job.h"
#include "native/measure/accept-queue.h"
#include "native/measure/kernel-filter.h"
#include "native/measure/traffic.h"

namespace sluice {
namespace {

class TrafficJob : public Job {
 public:
  TrafficJob(Napi::Env env, const TrafficRequest& request, const HostAddress& target)
      : Job(env), request_(request), target_(target) {}

 protected:
  Status work() override { return measureTraffic(request_, &target_, &result_); }
  Napi::Value result() override {
    auto roundTrips = Napi::Float32Array::New(Env(), result_.roundTripsNs.size());
    std::copy(result_.roundTripsNs.begin(), result_.roundTripsNs.end(), roundTrips.Data());
    auto object = Napi::Object::New(Env());
    object.Set("seconds", result_.seconds);
    object.Set("sent", result_.sent);
    object.Set("received", result_.received);
    object.Set("busySeconds", result_.busySeconds);
    object.Set("endsSeconds", result_.endsSeconds);
    object.Set("roundTripsNs", roundTrips);
    return object;
  }

 private:
  TrafficRequest request_;
  HostAddress target_;
  TrafficResult result_;
};

Napi::Value traffic(const Napi::CallbackInfo& info) {
  const auto* request = recordOf<TrafficRequest>(info[0], "TrafficRequest");
  if (request == nullptr) return info.Env().Undefined();
  const auto bytes = bytesOf(info[1], "target");
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  HostAddress target = {request->family, 0, {}};
  std::copy_n(bytes.begin(), std::min(bytes.size(), target.bytes.size()), target.bytes.begin());
  auto* job =
      new TrafficJob(info.Env(), *request, target);  // deleted by the thread pool at its end
  job->Queue();
  return job->promise();
}

void pin(const Napi::CallbackInfo& info) {
  const auto cpus = wordsOf(info[1], "CPUs");
  if (info.Env().IsExceptionPending()) return;
  if (const Status status = pinThread(intOf(info[0]), cpus); !status.ok()) {
    throwStatus(info.Env(), status);
  }
}

Napi::Value attachFilter(const Napi::CallbackInfo& info) {
  const auto words = wordsOf(info[3], "rules");
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  std::vector<KernelFilterRule> rules(words.size() * sizeof(uint32_t) / sizeof(KernelFilterRule));
  if (!rules.empty()) {
    std::memcpy(rules.data(), words.data(), rules.size() * sizeof(KernelFilterRule));
  }
  KernelFilter filter;
  const Status status =
      attachKernelFilter(intOf(info[0]), info[1].As<Napi::String>().Utf8Value().c_str(),
                         info[2].As<Napi::String>().Utf8Value().c_str(), rules, &filter);
  if (!status.ok()) {
    throwStatus(info.Env(), status);
    return info.Env().Undefined();
  }
  auto descriptors = Napi::Array::New(info.Env());
  for (uint32_t index = 0; index < filter.attachments.size(); ++index) {
    descriptors.Set(index, filter.attachments[index].release());
  }
  return descriptors;
}

// The NativeAcceptQueue of src/dataplane/addon.ts.
class AcceptQueueBinding : public Napi::ObjectWrap<AcceptQueueBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeAcceptQueue",
                       {InstanceMethod<&AcceptQueueBinding::close>("close")});
  }

  explicit AcceptQueueBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<AcceptQueueBinding>(info) {
    throwUnless(info,
                openAcceptQueue(intOf(info[0]), static_cast<uint16_t>(wordOf(info[1])), &queues_));
  }

 private:
  void close(const Napi::CallbackInfo&) { queues_.reset(); }

  std::unique_ptr<NfQueues> queues_;
};

}  // namespace

void defineTraffic(Napi::Env env, Napi::Object exports) {
  exports.Set("traffic", Napi::Function::New<traffic>(env));
  exports.Set("NativeAcceptQueue", AcceptQueueBinding::define(env));
  exports.Set("pinThread", Napi::Function::New<pin>(env));
  exports.Set("attachKernelFilter", Napi::Function::New<attachFilter>(env));
}

}  // namespace sluice
