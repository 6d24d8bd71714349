#include "native/binding/interface-binding.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "native/attach/name-guard.h"
#include "native/binding/arguments.h"
#include "native/host/descriptor.h"
#include "native/netlink/exchange.h"

namespace sluice {
namespace {

std::vector<std::string> textsOf(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t index = 0; index < array.Length(); ++index) {
    texts.push_back(array.Get(index).As<Napi::String>().Utf8Value());
  }
  return texts;
}

Napi::Array arrayOf(Napi::Env env, const std::vector<std::string>& texts) {
  auto array = Napi::Array::New(env, texts.size());
  for (uint32_t index = 0; index < texts.size(); ++index) array.Set(index, texts[index]);
  return array;
}

// The NativeInterfaceEvents of src/dataplane/addon.ts: a thread waits and calls back when there is
// something to read; one call for any number of events.
class InterfaceEvents : public Napi::ObjectWrap<InterfaceEvents> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeInterfaceEvents",
                       {InstanceMethod<&InterfaceEvents::read>("read"),
                        InstanceMethod<&InterfaceEvents::close>("close")});
  }

  explicit InterfaceEvents(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<InterfaceEvents>(info) {
    const Status status = open();
    if (!status.ok()) {
      throwStatus(info.Env(), status);
      return;
    }
    call_ = Napi::ThreadSafeFunction::New(info.Env(), info[0].As<Napi::Function>(),
                                          "sluice interfaces", 1, 1);
    call_.Unref(info.Env());
    const auto body = [](void* self) -> void* {
      static_cast<InterfaceEvents*>(self)->watch();
      return nullptr;
    };
    const int error = pthread_create(&thread_, nullptr, body, this);
    running_ = error == 0;
    if (running_) return;
    call_.Release();
    throwStatus(info.Env(), Status::system("pthread_create", error));
  }
  ~InterfaceEvents() override { end(); }

 private:
  Status open() {
    const Status opened = openInterfaceEvents(&events_);
    if (!opened.ok()) return opened;
    stop_.reset(eventfd(0, EFD_CLOEXEC));
    if (!stop_.valid()) return Status::system("eventfd", errno);
    poll_.reset(epoll_create1(EPOLL_CLOEXEC));
    if (!poll_.valid()) return Status::system("epoll_create1", errno);
    for (const Descriptor* each : {&events_, &stop_}) {
      epoll_event event = {};
      // Edge-triggered: one report is enough, since the callback reads all messages.
      event.events = EPOLLIN | EPOLLET;
      event.data.fd = each->get();
      if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, each->get(), &event) != 0) {
        return Status::system("epoll_ctl", errno);
      }
    }
    return {};
  }

  void watch() {
    for (;;) {
      epoll_event event = {};
      const int count = epoll_wait(poll_.get(), &event, 1, -1);
      if (count < 0 && errno != EINTR) return;
      if (count <= 0) continue;
      if (event.data.fd == stop_.get()) return;
      // A full queue means that a call is on its way already.
      (void)call_.NonBlockingCall();
    }
  }

  void end() {
    if (!running_) return;
    running_ = false;
    eventfd_write(stop_.get(), 1);
    pthread_join(thread_, nullptr);
    call_.Release();
  }

  void close(const Napi::CallbackInfo&) { end(); }

  // The messages since the last call; undefined when some were lost.
  Napi::Value read(const Napi::CallbackInfo& info) {
    std::vector<uint8_t> messages;
    bool overrun = false;
    throwUnless(info, readInterfaceEvents(events_.get(), &messages, &overrun));
    if (info.Env().IsExceptionPending() || overrun) return info.Env().Undefined();
    auto array = Napi::Uint8Array::New(info.Env(), messages.size());
    if (!messages.empty()) std::memcpy(array.Data(), messages.data(), messages.size());
    return array;
  }

  Descriptor events_;
  Descriptor stop_;
  Descriptor poll_;
  Napi::ThreadSafeFunction call_;
  pthread_t thread_ = {};
  bool running_ = false;
};

// The NativeNameGuard of src/dataplane/addon.ts.
class NameGuardBinding : public Napi::ObjectWrap<NameGuardBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeNameGuard",
                       {InstanceMethod<&NameGuardBinding::hold>("hold"),
                        InstanceMethod<&NameGuardBinding::remove>("remove"),
                        InstanceMethod<&NameGuardBinding::table>("table")});
  }

  explicit NameGuardBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NameGuardBinding>(info) {
    throwUnless(info, NameGuard::create(&guard_));
  }

 private:
  Napi::Value hold(const Napi::CallbackInfo& info) {
    const auto names = textsOf(info[0]);
    const auto exempt = wordsOf(info[1], "exempt");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    const GuardErrors errors = guard_->hold(names, exempt);
    auto array = Napi::Array::New(info.Env(), errors.size());
    for (uint32_t each = 0; each < errors.size(); ++each) array.Set(each, errors[each]);
    return array;
  }
  void remove(const Napi::CallbackInfo&) { guard_->remove(); }
  Napi::Value table(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), guard_->table());
  }

  std::unique_ptr<NameGuard> guard_;
};

Napi::Value guardOwner(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), ownerOfGuard(textOf(info[0])));
}

Napi::Value listGuards(const Napi::CallbackInfo& info) {
  std::vector<FoundGuard> guards;
  throwUnless(info, listNameGuards(&guards));
  auto array = Napi::Array::New(info.Env(), guards.size());
  for (uint32_t index = 0; index < guards.size(); ++index) {
    auto guard = Napi::Object::New(info.Env());
    guard.Set("table", guards[index].table);
    guard.Set("names", arrayOf(info.Env(), guards[index].names));
    guard.Set("live", guards[index].live);
    array.Set(index, guard);
  }
  return array;
}

void releaseGuards(const Napi::CallbackInfo& info) {
  throwUnless(info, releaseGuardedNames(textsOf(info[0])));
}

}  // namespace

void defineInterfaces(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeInterfaceEvents", InterfaceEvents::define(env));
  exports.Set("NativeNameGuard", NameGuardBinding::define(env));
  exports.Set("listNameGuards", Napi::Function::New<listGuards>(env));
  exports.Set("ownerOfGuard", Napi::Function::New<guardOwner>(env));
  exports.Set("releaseGuardedNames", Napi::Function::New<releaseGuards>(env));
}

}  // namespace sluice
