#include "native/binding/descriptor-passing-binding.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "native/binding/arguments.h"
#include "native/binding/job.h"
#include "native/host/descriptor-passing.h"
#include "native/host/service-notify.h"
#include "native/host/trusted-peer.h"

namespace sluice {
namespace {

// A descriptor that JavaScript must close.
Napi::Value given(const Napi::CallbackInfo& info, const Status& status, Descriptor& descriptor) {
  throwUnless(info, status);
  return Napi::Number::New(info.Env(), descriptor.release());
}

Napi::Value listen(const Napi::CallbackInfo& info) {
  Descriptor listener;
  const Status status = listenForProcess(textOf(info[0]), &listener);
  return given(info, status, listener);
}

Napi::Value call(const Napi::CallbackInfo& info) {
  Descriptor connection;
  const Status status = callProcess(textOf(info[0]), &connection);
  return given(info, status, connection);
}

Napi::Value makeFile(const Napi::CallbackInfo& info) {
  Descriptor file;
  const Status status = createMemoryFile(textOf(info[0]).c_str(), &file);
  return given(info, status, file);
}

void sealFile(const Napi::CallbackInfo& info) { throwUnless(info, sealMemoryFile(intOf(info[0]))); }

Napi::Value askSealed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), isSealed(intOf(info[0])));
}

Napi::Value askPeer(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), isTrustedPeer(intOf(info[0])));
}

void pass(const Napi::CallbackInfo& info) {
  const auto bytes = bytesOf(info[1], "message");
  if (info.Env().IsExceptionPending()) return;
  const auto array = info[2].As<Napi::Array>();
  std::vector<int> descriptors;
  for (uint32_t index = 0; index < array.Length(); ++index) {
    descriptors.push_back(intOf(array.Get(index)));
  }
  throwUnless(info, passDescriptors(intOf(info[0]), std::as_bytes(bytes), descriptors));
}

class AcceptJob : public Job {
 public:
  AcceptJob(Napi::Env env, int listener, uint32_t timeoutMs)
      : Job(env), listener_(listener), timeoutMs_(timeoutMs) {}

 protected:
  Status work() override { return acceptProcess(listener_, timeoutMs_, &connection_); }
  Napi::Value result() override { return Napi::Number::New(Env(), connection_.release()); }

 private:
  int listener_;
  uint32_t timeoutMs_;
  Descriptor connection_;
};

class ReceiveJob : public Job {
 public:
  ReceiveJob(Napi::Env env, int connection, uint32_t timeoutMs)
      : Job(env), connection_(connection), timeoutMs_(timeoutMs) {}

 protected:
  Status work() override { return receiveDescriptors(connection_, timeoutMs_, &message_); }
  Napi::Value result() override {
    auto bytes = Napi::Uint8Array::New(Env(), message_.bytes.size());
    if (!message_.bytes.empty()) {
      std::memcpy(bytes.Data(), message_.bytes.data(), message_.bytes.size());
    }
    auto descriptors = Napi::Array::New(Env(), message_.descriptors.size());
    for (uint32_t index = 0; index < message_.descriptors.size(); ++index) {
      descriptors.Set(index, Napi::Number::New(Env(), message_.descriptors[index].release()));
    }
    auto result = Napi::Object::New(Env());
    result.Set("bytes", bytes);
    result.Set("descriptors", descriptors);
    return result;
  }

 private:
  int connection_;
  uint32_t timeoutMs_;
  PassedMessage message_;
};

class AwaitJob : public Job {
 public:
  AwaitJob(Napi::Env env, std::string socketPath, uint32_t timeoutMs)
      : Job(env), socketPath_(std::move(socketPath)), timeoutMs_(timeoutMs) {}

 protected:
  Status work() override { return awaitService(socketPath_, timeoutMs_); }
  Napi::Value result() override { return Env().Undefined(); }

 private:
  std::string socketPath_;
  uint32_t timeoutMs_;
};

Napi::Value awaitManager(const Napi::CallbackInfo& info) {
  auto* job = new AwaitJob(info.Env(), textOf(info[0]), wordOf(info[1]));
  const auto promise = job->promise();
  job->Queue();
  return promise;
}

template <typename Waiting>
Napi::Value start(const Napi::CallbackInfo& info) {
  auto* job = new Waiting(info.Env(), intOf(info[0]), wordOf(info[1]));
  const auto promise = job->promise();
  job->Queue();
  return promise;
}

}  // namespace

void defineDescriptorPassing(Napi::Env env, Napi::Object exports) {
  exports.Set("listenForProcess", Napi::Function::New<listen>(env));
  exports.Set("acceptProcess", Napi::Function::New<start<AcceptJob>>(env));
  exports.Set("callProcess", Napi::Function::New<call>(env));
  exports.Set("passDescriptors", Napi::Function::New<pass>(env));
  exports.Set("receiveDescriptors", Napi::Function::New<start<ReceiveJob>>(env));
  exports.Set("awaitService", Napi::Function::New<awaitManager>(env));
  exports.Set("createMemoryFile", Napi::Function::New<makeFile>(env));
  exports.Set("sealMemoryFile", Napi::Function::New<sealFile>(env));
  exports.Set("isTrustedPeer", Napi::Function::New<askPeer>(env));
  exports.Set("isSealed", Napi::Function::New<askSealed>(env));
}

}  // namespace sluice
