#include "native/binding/dataplane-binding.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "native/binding/arguments.h"
#include "native/host/devices.h"
#include "native/host/namespaces.h"
#include "native/host/privilege.h"
#include "native/host/rtnetlink.h"
#include "native/io/frame-buffers.h"
#include "native/io/packet-link.h"
#include "native/io/tap-link.h"
#include "native/worker/dataplane.h"

namespace sluice {
namespace {

constexpr int NOTICE_MS = 5;
// Beside the drops: connections, events lost, generation.
constexpr size_t COUNTER_WORDS_FIRST = 3;

// Tells JavaScript that events wait. It looks at the ring from a thread of its own, so that a
// worker spends nothing on waking anybody; any number of events is one call, at most one every
// NOTICE_MS.
class Notifier {
 public:
  Notifier(Napi::Env env, const Napi::Function& callback, const EventRing& events)
      : events_(events),
        call_(Napi::ThreadSafeFunction::New(env, callback, "sluice events", 1, 1)) {
    call_.Unref(env);
  }
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  ~Notifier() {
    if (running_) {
      eventfd_write(stop_.get(), 1);
      pthread_join(thread_, nullptr);
    }
    call_.Release();
  }

  Status start() {
    stop_.reset(eventfd(0, EFD_CLOEXEC));
    if (!stop_.valid()) return Status::system("eventfd", errno);
    const auto body = [](void* self) -> void* {
      static_cast<Notifier*>(self)->watch();
      return nullptr;
    };
    const int error = pthread_create(&thread_, nullptr, body, this);
    if (error != 0) return Status::system("pthread_create", error);
    running_ = true;
    return {};
  }

 private:
  void watch() {
    uint64_t seen = 0;
    pollfd stop = {stop_.get(), POLLIN, 0};
    for (;;) {
      const int told = poll(&stop, 1, NOTICE_MS);
      if (told > 0 || (told < 0 && errno != EINTR)) return;
      const uint64_t pushed = events_.pushed();
      // A full queue means that a call is on its way already.
      if (pushed != seen && call_.NonBlockingCall() == napi_ok) seen = pushed;
    }
  }

  const EventRing& events_;
  Napi::ThreadSafeFunction call_;
  Descriptor stop_;
  bool running_ = false;
  pthread_t thread_ = {};
};

// The NativeDataplane of src/dataplane/addon.ts.
class DataplaneBinding : public Napi::ObjectWrap<DataplaneBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDataplane",
                       {InstanceMethod<&DataplaneBinding::addTap>("addTap"),
                        InstanceMethod<&DataplaneBinding::addPacketLink>("addPacketLink"),
                        InstanceMethod<&DataplaneBinding::removeLink>("removeLink"),
                        InstanceMethod<&DataplaneBinding::swapTable>("swapTable"),
                        InstanceMethod<&DataplaneBinding::startWire>("startWire"),
                        InstanceMethod<&DataplaneBinding::startSwitch>("startSwitch"),
                        InstanceMethod<&DataplaneBinding::stop>("stop"),
                        InstanceMethod<&DataplaneBinding::closeAll>("close"),
                        InstanceMethod<&DataplaneBinding::readCounters>("readCounters"),
                        InstanceMethod<&DataplaneBinding::readLinkCounters>("readLinkCounters"),
                        InstanceMethod<&DataplaneBinding::readRounds>("readRounds"),
                        InstanceMethod<&DataplaneBinding::drainEvents>("drainEvents"),
                        InstanceMethod<&DataplaneBinding::onEvents>("onEvents")});
  }

  explicit DataplaneBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<DataplaneBinding>(info) {
    FilterOptions options;
    options.connectionsMax = wordOf(info[0]);
    options.fragmentsMax = wordOf(info[1]);
    options.staleFlows = info[3].ToBoolean() ? StaleFlows::Recheck : StaleFlows::Keep;
    options.loose = info[4].ToBoolean();
    Status status = FrameBuffers::create(&buffers_);
    if (status.ok()) status = Dataplane::create(options, wordOf(info[2]), &dataplane_);
    if (status.ok()) {
      dataplane_->onThreadStart(confinePacketThread);
    } else {
      throwStatus(info.Env(), status);
    }
  }

 private:
  static uint32_t wordOf(const Napi::Value& value) {
    return value.As<Napi::Number>().Uint32Value();
  }
  static int intOf(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }
  static std::string textOf(const Napi::Value& value) {
    return value.As<Napi::String>().Utf8Value();
  }

  // Whether the data plane is there; throws when it has been closed.
  bool open(const Napi::CallbackInfo& info) {
    if (dataplane_ != nullptr) return true;
    throwStatus(info.Env(), {StatusCode::State});
    return false;
  }

  static void throwUnless(const Napi::CallbackInfo& info, const Status& status) {
    if (!status.ok()) throwStatus(info.Env(), status);
  }

  Napi::Value linkNumber(const Napi::CallbackInfo& info, const Status& status, uint32_t linkId) {
    throwUnless(info, status);
    return Napi::Number::New(info.Env(), linkId);
  }

  Napi::Value addTap(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    uint32_t linkId = NONE;
    TapOptions options;
    options.name = textOf(info[1]);
    options.mtu = wordOf(info[3]);
    Status status;
    if (!parseMac(textOf(info[2]), &options.mac)) status = {StatusCode::Argument};
    Descriptor tap;
    if (status.ok()) status = openTap(intOf(info[0]), options, &tap);
    if (status.ok()) {
      status = dataplane_->addLink(std::make_unique<TapLink>(tap.release(), buffers_), options.mac,
                                   nullptr, &linkId);
    }
    return linkNumber(info, status, linkId);
  }

  Napi::Value addPacketLink(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    uint32_t linkId = NONE;
    const int namespaceFd = intOf(info[0]);
    std::optional<MacAddress> mac;
    Status status;
    if (const std::string text = textOf(info[3]); !text.empty()) {
      if (!parseMac(text, &mac.emplace())) status = {StatusCode::Argument};
    }
    PacketSocket opened;
    std::unique_ptr<StackGuard> guard;
    std::unique_ptr<PacketLink> link;
    if (status.ok()) status = openPacketSocket(namespaceFd, textOf(info[1]), &opened);
    if (status.ok()) status = StackGuard::hold(namespaceFd, opened.interfaceIndex, &guard);
    if (status.ok()) {
      status =
          PacketLink::create(opened.fd.release(), opened.interfaceIndex, wordOf(info[2]), &link);
    }
    if (status.ok()) {
      status = dataplane_->addLink(std::move(link), mac, std::move(guard), &linkId);
    }
    return linkNumber(info, status, linkId);
  }

  void removeLink(const Napi::CallbackInfo& info) {
    if (open(info)) throwUnless(info, dataplane_->removeLink(wordOf(info[0])));
  }

  Napi::Value swapTable(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto blob = bytesOf(info[0], "blob");
    const auto links = wordsOf(info[1], "linkByEndpoint");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    uint32_t generation = 0;
    throwUnless(info, dataplane_->swapTable(std::as_bytes(blob), links, &generation));
    return Napi::Number::New(info.Env(), generation);
  }

  void startWire(const Napi::CallbackInfo& info) {
    if (open(info)) throwUnless(info, dataplane_->startWire(wordOf(info[0]), wordOf(info[1])));
  }

  void startSwitch(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    MacAddress gateway;
    if (!parseMac(textOf(info[0]), &gateway)) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return;
    }
    throwUnless(info, dataplane_->startSwitch(gateway, wordOf(info[1])));
  }

  void stop(const Napi::CallbackInfo&) {
    if (dataplane_ != nullptr) dataplane_->stop();
  }

  void closeAll(const Napi::CallbackInfo&) {
    notifier_.reset();
    dataplane_.reset();
  }

  void readCounters(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    const auto words = elementsOf<uint64_t>(info[0], napi_biguint64_array, "counters");
    if (info.Env().IsExceptionPending()) return;
    if (words.size() != COUNTER_WORDS_FIRST + DROP_REASON_COUNT) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return;
    }
    words[0] = dataplane_->worker().connectionCount();
    words[1] = dataplane_->events().lost();
    words[2] = dataplane_->generation();
    for (size_t reason = 0; reason < DROP_REASON_COUNT; ++reason) {
      words[COUNTER_WORDS_FIRST + reason] =
          dataplane_->worker().drops(static_cast<DropReason>(reason));
    }
  }

  void readLinkCounters(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    const auto words = elementsOf<uint64_t>(info[1], napi_biguint64_array, "link counters");
    if (info.Env().IsExceptionPending()) return;
    LinkCounters counters = {};
    Status status = dataplane_->worker().readLink(wordOf(info[0]), &counters);
    if (words.size_bytes() != sizeof counters) status = {StatusCode::Argument};
    if (status.ok()) std::memcpy(words.data(), &counters, sizeof counters);
    throwUnless(info, status);
  }

  Napi::Value readRounds(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), static_cast<double>(dataplane_->worker().rounds()));
  }

  Napi::Value drainEvents(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto bytes = bytesOf(info[0], "events");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(FlowEvent) != 0) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return info.Env().Undefined();
    }
    const size_t count = dataplane_->events().drain(
        {reinterpret_cast<FlowEvent*>(bytes.data()), bytes.size() / sizeof(FlowEvent)});
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }

  void onEvents(const Napi::CallbackInfo& info) {
    notifier_.reset();
    if (!info[0].IsFunction() || !open(info)) return;
    notifier_ =
        std::make_unique<Notifier>(info.Env(), info[0].As<Napi::Function>(), dataplane_->events());
    throwUnless(info, notifier_->start());
  }

  std::shared_ptr<FrameBuffers> buffers_;
  std::unique_ptr<Dataplane> dataplane_;
  std::unique_ptr<Notifier> notifier_;  // reads the data plane's events: goes first
};

}  // namespace

void defineDataplane(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeDataplane", DataplaneBinding::define(env));
}

}  // namespace sluice
