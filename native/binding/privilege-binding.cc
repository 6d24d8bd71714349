#include "native/binding/privilege-binding.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "native/attach/kernel-features.h"
#include "native/binding/arguments.h"
#include "native/host/privilege.h"
#include "native/host/server-sockets.h"
#include "native/host/service-notify.h"

namespace sluice {
namespace {

void dropAllBut(const Napi::CallbackInfo& info) {
  bool whole = false;
  const uint64_t keep = info[0].As<Napi::BigInt>().Uint64Value(&whole);
  throwUnless(info, whole ? dropCapabilities(keep) : Status{StatusCode::Argument});
}

void confine(const Napi::CallbackInfo& info) {
  ListenerLimits limits;
  limits.descriptorsMax = info[0].As<Napi::Number>().Uint32Value();
  limits.dataBytesMax = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
  throwUnless(info, confineListener(limits));
}

// Returns the descriptor and the port in use.
Napi::Value listenOnTcp(const Napi::CallbackInfo& info) {
  auto port = static_cast<uint16_t>(info[2].As<Napi::Number>().Uint32Value());
  Descriptor listener;
  const Status status = listenTcp(info[0].As<Napi::Number>().Int32Value(),
                                  info[1].As<Napi::String>().Utf8Value(), &port, &listener);
  throwUnless(info, status);
  auto array = Napi::Array::New(info.Env(), 2);
  array.Set(0u, Napi::Number::New(info.Env(), listener.release()));
  array.Set(1u, Napi::Number::New(info.Env(), port));
  return array;
}

Napi::Value listenOnUnix(const Napi::CallbackInfo& info) {
  Descriptor listener;
  throwUnless(info, listenUnix(info[0].As<Napi::String>().Utf8Value(), &listener));
  return Napi::Number::New(info.Env(), listener.release());
}

// Returns two descriptors of one socket, and its port.
Napi::Value holdPort(const Napi::CallbackInfo& info) {
  uint16_t port = 0;
  Descriptor held;
  throwUnless(info, holdTcpPort(info[0].As<Napi::String>().Utf8Value(), &port, &held));
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  Descriptor second(fcntl(held.get(), F_DUPFD_CLOEXEC, 0));
  throwUnless(info, second.valid() ? Status{} : Status::system("fcntl", errno));
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  auto array = Napi::Array::New(info.Env(), 3);
  array.Set(0u, Napi::Number::New(info.Env(), held.release()));
  array.Set(1u, Napi::Number::New(info.Env(), second.release()));
  array.Set(2u, Napi::Number::New(info.Env(), port));
  return array;
}

void connectTo(const Napi::CallbackInfo& info) {
  const auto port = static_cast<uint16_t>(info[2].As<Napi::Number>().Uint32Value());
  throwUnless(info, beginConnect(info[0].As<Napi::Number>().Int32Value(),
                                 info[1].As<Napi::String>().Utf8Value(), port));
}

// Ends a connection in both directions; its descriptors stay.
void endConnection(const Napi::CallbackInfo& info) {
  // One that is not connected, or no more, has ended.
  (void)shutdown(info[0].As<Napi::Number>().Int32Value(), SHUT_RDWR);
}

Napi::Value bindToUdp(const Napi::CallbackInfo& info) {
  const auto port = static_cast<uint16_t>(info[2].As<Napi::Number>().Uint32Value());
  Descriptor bound;
  throwUnless(info, bindUdp(info[0].As<Napi::Number>().Int32Value(),
                            info[1].As<Napi::String>().Utf8Value(), port, &bound));
  return Napi::Number::New(info.Env(), bound.release());
}

Napi::Value readable(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Array>();
  std::vector<std::string> paths;
  for (uint32_t index = 0; index < array.Length(); ++index) {
    paths.push_back(array.Get(index).As<Napi::String>().Utf8Value());
  }
  return Napi::Boolean::New(info.Env(), readableWithoutCapabilities(paths));
}

void notify(const Napi::CallbackInfo& info) {
  const auto array = info[2].As<Napi::Array>();
  std::vector<int> descriptors;
  for (uint32_t index = 0; index < array.Length(); ++index) {
    descriptors.push_back(array.Get(index).As<Napi::Number>().Int32Value());
  }
  throwUnless(info, notifyService(info[0].As<Napi::String>().Utf8Value(),
                                  info[1].As<Napi::String>().Utf8Value(), descriptors));
}

Napi::Value tryFeatures(const Napi::CallbackInfo& info) {
  const auto errors = tryKernelFeatures();
  auto array = Napi::Array::New(info.Env(), errors.size());
  for (uint32_t index = 0; index < errors.size(); ++index) {
    array.Set(index, Napi::Number::New(info.Env(), errors[index]));
  }
  return array;
}

}  // namespace

void definePrivilege(Napi::Env env, Napi::Object exports) {
  exports.Set("dropCapabilities", Napi::Function::New<dropAllBut>(env));
  exports.Set("confineListener", Napi::Function::New<confine>(env));
  exports.Set("listenTcp", Napi::Function::New<listenOnTcp>(env));
  exports.Set("listenUnix", Napi::Function::New<listenOnUnix>(env));
  exports.Set("holdTcpPort", Napi::Function::New<holdPort>(env));
  exports.Set("beginConnect", Napi::Function::New<connectTo>(env));
  exports.Set("endConnection", Napi::Function::New<endConnection>(env));
  exports.Set("bindUdp", Napi::Function::New<bindToUdp>(env));
  exports.Set("readableWithoutCapabilities", Napi::Function::New<readable>(env));
  exports.Set("notifyService", Napi::Function::New<notify>(env));
  exports.Set("tryKernelFeatures", Napi::Function::New<tryFeatures>(env));
}

}  // namespace sluice
