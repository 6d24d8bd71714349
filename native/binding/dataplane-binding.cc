#include "native/binding/dataplane-binding.h"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "native/attach/adopt-link.h"
#include "native/attach/kernel-path.h"
#include "native/attach/kernel-side.h"
#include "native/attach/open-link.h"
#include "native/attach/tap.h"
#include "native/binding/arguments.h"
#include "native/event/notifier.h"
#include "native/host/descriptor.h"
#include "native/host/privilege.h"
#include "native/io/closed-link.h"
#include "native/io/frame-buffers.h"
#include "native/netlink/links.h"
#include "native/worker/dataplane.h"

namespace sluice {
namespace {

// Connections listed at a time: JavaScript turns this many into text in a few milliseconds.
constexpr size_t LIST_RECORDS = 512;
constexpr size_t HIT_RECORDS = 512;
// Connections saved at a time: they are only copied.
constexpr size_t KEEP_RECORDS = 8'192;

// Calls a JavaScript function when events wait.
class EventCall {
 public:
  EventCall(Napi::Env env, const Napi::Function& callback)
      : call_(Napi::ThreadSafeFunction::New(env, callback, "sluice events", 1, 1)) {
    call_.Unref(env);
  }
  EventCall(const EventCall&) = delete;
  EventCall& operator=(const EventCall&) = delete;
  ~EventCall() {
    notifier_.reset();
    call_.Release();
  }

  Status start(const Dataplane& dataplane) {
    // A full queue means that a call is on its way already.
    return Notifier::start([&dataplane] { return dataplane.eventsPushed(); },
                           [this] { return call_.NonBlockingCall() == napi_ok; }, &notifier_);
  }

 private:
  Napi::ThreadSafeFunction call_;
  std::unique_ptr<Notifier> notifier_;
};

// The NativeDataplane of src/dataplane/addon.ts.
class DataplaneBinding : public Napi::ObjectWrap<DataplaneBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDataplane",
                       {InstanceMethod<&DataplaneBinding::addTap>("addTap"),
                        InstanceMethod<&DataplaneBinding::addPacketLink>("addPacketLink"),
                        InstanceMethod<&DataplaneBinding::addXdpLink>("addXdpLink"),
                        InstanceMethod<&DataplaneBinding::prepareKernelLinks>("prepareKernelLinks"),
                        InstanceMethod<&DataplaneBinding::addKernelLink>("addKernelLink"),
                        InstanceMethod<&DataplaneBinding::removeLink>("removeLink"),
                        InstanceMethod<&DataplaneBinding::addClosedLink>("addClosedLink"),
                        InstanceMethod<&DataplaneBinding::closeLink>("closeLink"),
                        InstanceMethod<&DataplaneBinding::interfaceOf>("interfaceOf"),
                        InstanceMethod<&DataplaneBinding::swapTable>("swapTable"),
                        InstanceMethod<&DataplaneBinding::swapLines>("swapLines"),
                        InstanceMethod<&DataplaneBinding::joinWire>("joinWire"),
                        InstanceMethod<&DataplaneBinding::setOwnWay>("setOwnWay"),
                        InstanceMethod<&DataplaneBinding::addOwnPort>("addOwnPort"),
                        InstanceMethod<&DataplaneBinding::removeOwnPort>("removeOwnPort"),
                        InstanceMethod<&DataplaneBinding::makeSwitch>("makeSwitch"),
                        InstanceMethod<&DataplaneBinding::start>("start"),
                        InstanceMethod<&DataplaneBinding::stop>("stop"),
                        InstanceMethod<&DataplaneBinding::closeAll>("close"),
                        InstanceMethod<&DataplaneBinding::readCounters>("readCounters"),
                        InstanceMethod<&DataplaneBinding::readLinkCounters>("readLinkCounters"),
                        InstanceMethod<&DataplaneBinding::readProgress>("readProgress"),
                        InstanceMethod<&DataplaneBinding::drainEvents>("drainEvents"),
                        InstanceMethod<&DataplaneBinding::onEvents>("onEvents"),
                        InstanceMethod<&DataplaneBinding::askForDrops>("askForDrops"),
                        InstanceMethod<&DataplaneBinding::drainDrops>("drainDrops"),
                        InstanceMethod<&DataplaneBinding::listConnections>("listConnections"),
                        InstanceMethod<&DataplaneBinding::readHits>("readHits"),
                        InstanceMethod<&DataplaneBinding::hitsWaiting>("hitsWaiting"),
                        InstanceMethod<&DataplaneBinding::keepConnections>("keepConnections"),
                        InstanceMethod<&DataplaneBinding::forgetConnections>("forgetConnections"),
                        InstanceMethod<&DataplaneBinding::takeJob>("takeJob"),
                        InstanceMethod<&DataplaneBinding::handoffOf>("handoffOf"),
                        InstanceMethod<&DataplaneBinding::adoptLink>("adoptLink"),
                        InstanceMethod<&DataplaneBinding::share>("share"),
                        InstanceMethod<&DataplaneBinding::continueFrom>("continueFrom"),
                        InstanceMethod<&DataplaneBinding::saveConnections>("saveConnections"),
                        InstanceMethod<&DataplaneBinding::loadConnections>("loadConnections")});
  }

  explicit DataplaneBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<DataplaneBinding>(info) {
    const auto* settings = recordOf<DataplaneSettings>(info[0], "DataplaneSettings");
    if (settings == nullptr) return;
    DataplaneOptions options;
    Status status = optionsOf(*settings, &options);
    if (status.ok()) status = Dataplane::create(options, &dataplane_);
    buffers_.resize(status.ok() ? options.workers : 0);
    for (auto& buffers : buffers_) {
      if (status.ok()) status = FrameBuffers::create(&buffers);
    }
    if (status.ok()) {
      dataplane_->onThreadStart(confinePacketThread);
    } else {
      throwStatus(info.Env(), status);
    }
  }

 private:
  // Whether the data plane is open; throws when it has been closed.
  bool open(const Napi::CallbackInfo& info) {
    if (dataplane_ != nullptr) return true;
    throwStatus(info.Env(), {StatusCode::State});
    return false;
  }

  // Throws the error of `status`, or adds the opened link and returns its id. `into` is the link
  // that it replaces; NONE: it gets a new id.
  Napi::Value place(const Napi::CallbackInfo& info, Status status, OpenedLink opened,
                    const std::optional<MacAddress>& mac, uint32_t into) {
    uint32_t linkId = into;
    if (status.ok() && into == NONE) {
      status = dataplane_->addLink(std::move(opened.links), mac, std::move(opened.hold), &linkId);
    } else if (status.ok()) {
      status = dataplane_->replaceLink(into, std::move(opened.links), mac, std::move(opened.hold));
    }
    throwUnless(info, status);
    return Napi::Number::New(info.Env(), linkId);
  }

  LinkWorkers linkWorkers() const { return {dataplane_->steering(), buffers_, shares_}; }

  static Status macOf(const Napi::Value& value, std::optional<MacAddress>* mac) {
    const std::string text = textOf(value);
    if (text.empty() || parseMac(text, &mac->emplace())) return {};
    return {StatusCode::Argument};
  }

  Napi::Value addTap(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    TapOptions options;
    options.name = textOf(info[1]);
    options.mtu = wordOf(info[3]);
    options.lasting = info[4].ToBoolean();
    options.index = wordOf(info[5]);
    OpenedLink opened;
    Status status;
    if (!parseMac(textOf(info[2]), &options.mac)) status = {StatusCode::Argument};
    if (status.ok()) status = openTapLink(intOf(info[0]), options, linkWorkers(), &opened);
    return place(info, status, std::move(opened), options.mac, wordOf(info[6]));
  }

  Napi::Value addPacketLink(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const InterfacePlace from = {intOf(info[0]), textOf(info[1]), info[4].ToBoolean()};
    std::optional<MacAddress> mac;
    OpenedLink opened;
    Status status = macOf(info[3], &mac);
    if (status.ok()) status = openPacketLink(from, wordOf(info[2]), linkWorkers(), &opened);
    return place(info, status, std::move(opened), mac, wordOf(info[5]));
  }

  Napi::Value addXdpLink(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const InterfacePlace from = {intOf(info[0]), textOf(info[1]), info[4].ToBoolean()};
    const auto mode = info[3].ToBoolean() ? XdpProgram::Mode::Generic : XdpProgram::Mode::Native;
    std::optional<MacAddress> mac;
    OpenedLink opened;
    Status status = macOf(info[2], &mac);
    if (status.ok()) status = openXdpLink(from, mode, linkWorkers(), &opened);
    return place(info, status, std::move(opened), mac, wordOf(info[5]));
  }

  void prepareKernelLinks(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    Descriptor tun;
    Status status = openTunDevice(&tun);
    if (status.ok()) status = makeKernelPath();
    throwUnless(info, status);
  }

  Napi::Value addKernelLink(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const InterfacePlace from = {intOf(info[0]), textOf(info[1]), info[3].ToBoolean()};
    std::optional<MacAddress> mac;
    OpenedLink opened;
    Status status = macOf(info[2], &mac);
    if (status.ok()) status = makeKernelPath();
    if (status.ok()) status = openKernelLink(from, kernelPath_, linkWorkers(), &opened);
    return place(info, status, std::move(opened), mac, wordOf(info[4]));
  }

  // Connections move to memory that programs read when the first link wants it. When some worker's
  // cannot, those of others have moved: they stay there, and no link of this kind is opened.
  Status makeKernelPath() {
    if (kernelPath_ != nullptr) return hasMoved_;
    const Status made = KernelPath::create(dataplane_->connectionsEach(), dataplane_->hashSecret(),
                                           dataplane_->steering(), &kernelPath_);
    if (!made.ok()) return made;
    const KernelPath& path = *kernelPath_;
    hasMoved_ = dataplane_->shareConnections(path.connections(), path.inForce(), path.aliveUs());
    return hasMoved_;
  }

  void removeLink(const Napi::CallbackInfo& info) {
    if (open(info)) throwUnless(info, dataplane_->removeLink(wordOf(info[0])));
  }

  Napi::Value addClosedLink(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    OpenedLink none;
    while (none.links.size() < dataplane_->workers()) {
      none.links.push_back(std::make_unique<ClosedLink>());
    }
    return place(info, {}, std::move(none), std::nullopt, NONE);
  }

  void closeLink(const Napi::CallbackInfo& info) {
    if (open(info)) throwUnless(info, dataplane_->closeLink(wordOf(info[0])));
  }

  Napi::Value interfaceOf(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), dataplane_->interfaceOf(wordOf(info[0])));
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

  Napi::Value swapLines(const Napi::CallbackInfo& info) {
    TableLines lines;
    if (!open(info) || !linesOf(info, &lines)) return info.Env().Undefined();
    const auto links = wordsOf(info[2], "linkByEndpoint");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    uint32_t generation = 0;
    throwUnless(info, dataplane_->swapLines(lines, links, &generation));
    return Napi::Number::New(info.Env(), generation);
  }

  Napi::Value joinWire(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto known = savedOf(info, 4);
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    const uint32_t zone = wordOf(info[2]);
    size_t taken = 0;
    Status status;
    if (zone > UINT8_MAX) status = {StatusCode::Argument};
    if (status.ok()) {
      status = dataplane_->joinWire(wordOf(info[0]), wordOf(info[1]), static_cast<uint8_t>(zone),
                                    info[3].ToBoolean(), known, &taken);
    }
    throwUnless(info, status);
    return Napi::Number::New(info.Env(), static_cast<double>(taken));
  }

  // The addresses of the way, local and remote, as 16 bytes each.
  void setOwnWay(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    OwnWay way;
    const auto local = bytesOf(info[1], "local");
    const auto remote = bytesOf(info[2], "remote");
    if (info.Env().IsExceptionPending()) return;
    if (local.size() != way.local.size() || remote.size() != way.remote.size()) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return;
    }
    way.family = static_cast<uint8_t>(wordOf(info[0]));
    std::memcpy(way.local.data(), local.data(), local.size());
    std::memcpy(way.remote.data(), remote.data(), remote.size());
    way.remotePort = static_cast<uint16_t>(wordOf(info[3]));
    throwUnless(info, dataplane_->setOwnWay(way));
  }

  void addOwnPort(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    throwUnless(info, dataplane_->addOwnPort(static_cast<uint16_t>(wordOf(info[0]))));
  }

  void removeOwnPort(const Napi::CallbackInfo& info) {
    // After close() there is nothing that passes.
    if (dataplane_ == nullptr) return;
    dataplane_->removeOwnPort(static_cast<uint16_t>(wordOf(info[0])));
  }

  void start(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    Status status;
    forEachHold([&status](LinkHold& hold) {
      if (status.ok() && hold.side != nullptr) status = hold.side->resume();
    });
    if (status.ok()) status = dataplane_->start();
    throwUnless(info, status);
  }

  template <typename Work>
  void forEachHold(Work work) {
    for (uint32_t linkId = 0; linkId < LINKS_MAX; ++linkId) {
      auto* hold = static_cast<LinkHold*>(dataplane_->attachedTo(linkId));
      if (hold != nullptr) work(*hold);
    }
  }

  void makeSwitch(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    MacAddress gateway;
    if (!parseMac(textOf(info[0]), &gateway)) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return;
    }
    throwUnless(info, dataplane_->makeSwitch(gateway, wordOf(info[1])));
  }

  void stop(const Napi::CallbackInfo&) {
    if (dataplane_ != nullptr) dataplane_->stop();
  }

  void closeAll(const Napi::CallbackInfo&) {
    events_.reset();
    dataplane_.reset();
    kernelPath_.reset();
  }

  void readCounters(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    auto* counters = recordOf<DataplaneCounters>(info[0], "DataplaneCounters");
    if (counters != nullptr) dataplane_->readCounters(counters);
  }

  void readLinkCounters(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    auto* counters = recordOf<LinkCounters>(info[1], "LinkCounters");
    if (counters != nullptr) throwUnless(info, dataplane_->readLink(wordOf(info[0]), counters));
  }

  Napi::Value readProgress(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), static_cast<double>(dataplane_->progress()));
  }

  Napi::Value drainEvents(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto bytes = bytesOf(info[0], "events");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(FlowEvent) != 0) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return info.Env().Undefined();
    }
    const size_t count = dataplane_->drainEvents(
        {reinterpret_cast<FlowEvent*>(bytes.data()), bytes.size() / sizeof(FlowEvent)});
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }

  void askForDrops(const Napi::CallbackInfo& info) {
    if (open(info)) dataplane_->askForDroppedFrames(info[0].ToBoolean().Value());
  }

  Napi::Value drainDrops(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto bytes = bytesOf(info[0], "frames");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(DroppedFrame) != 0) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return info.Env().Undefined();
    }
    const size_t count = dataplane_->drainDroppedFrames(
        {reinterpret_cast<DroppedFrame*>(bytes.data()), bytes.size() / sizeof(DroppedFrame)});
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }

  void onEvents(const Napi::CallbackInfo& info) {
    events_.reset();
    if (!info[0].IsFunction() || !open(info)) return;
    events_ = std::make_unique<EventCall>(info.Env(), info[0].As<Napi::Function>());
    throwUnless(info, events_->start(*dataplane_));
  }

  void listConnections(const Napi::CallbackInfo& info) {
    auto job = std::make_unique<ConnJob>();
    job->records.resize(LIST_RECORDS);
    startAt(info, std::move(job));
  }

  void keepConnections(const Napi::CallbackInfo& info) {
    auto job = std::make_unique<ConnJob>();
    job->kind = ConnJob::Kind::Keep;
    job->saved.resize(KEEP_RECORDS);
    startAt(info, std::move(job));
  }

  void readHits(const Napi::CallbackInfo& info) {
    auto job = std::make_unique<ConnJob>();
    job->kind = ConnJob::Kind::Hits;
    job->hits.resize(HIT_RECORDS);
    job->live = info[1].ToBoolean();
    startAt(info, std::move(job));
  }

  Napi::Value hitsWaiting(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), static_cast<double>(dataplane_->hitsWaiting()));
  }

  void startAt(const Napi::CallbackInfo& info, std::unique_ptr<ConnJob> job) {
    if (!open(info)) return;
    const auto place = wordsOf(info[0], "place");
    if (info.Env().IsExceptionPending() || place.size() != 2) return;
    job->worker = place[0];
    job->place = place[1];
    throwUnless(info, dataplane_->startJob(std::move(job)));
  }

  void forgetConnections(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    const auto bytes = bytesOf(info[0], "keys");
    if (info.Env().IsExceptionPending()) return;
    if (bytes.size() % sizeof(ConnKey) != 0) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return;
    }
    auto job = std::make_unique<ConnJob>();
    job->kind = ConnJob::Kind::Forget;
    job->keys.resize(bytes.size() / sizeof(ConnKey));
    if (!bytes.empty()) std::memcpy(job->keys.data(), bytes.data(), bytes.size());
    throwUnless(info, dataplane_->startJob(std::move(job)));
  }

  static Napi::Value copyOf(const Napi::CallbackInfo& info, std::span<const std::byte> bytes) {
    auto copy = Napi::Uint8Array::New(info.Env(), bytes.size());
    if (!bytes.empty()) std::memcpy(copy.Data(), bytes.data(), bytes.size());
    return copy;
  }

  // Undefined while the job runs. Then the number of forgotten connections, or some records and, in
  // the argument, the place where the next ones begin. No records: there are no more.
  Napi::Value takeJob(const Napi::CallbackInfo& info) {
    if (!open(info) || !dataplane_->jobDone()) return info.Env().Undefined();
    const ConnJob* job = dataplane_->job();
    if (job == nullptr) return info.Env().Undefined();
    if (job->kind == ConnJob::Kind::Forget) {
      return Napi::Number::New(info.Env(), static_cast<double>(job->count));
    }
    const auto place = wordsOf(info[0], "place");
    if (info.Env().IsExceptionPending() || place.size() != 2) return info.Env().Undefined();
    place[0] = job->worker;
    place[1] = job->place;
    if (job->kind == ConnJob::Kind::Hits) {
      // New hits come all the time: this was the end of what there was.
      if (!job->full()) place[0] = NONE;
      return copyOf(info, std::as_bytes(std::span(job->hits).first(job->count)));
    }
    if (job->kind == ConnJob::Kind::Keep) {
      return copyOf(info, std::as_bytes(std::span(job->saved).first(job->count)));
    }
    return copyOf(info, std::as_bytes(std::span(job->records).first(job->count)));
  }

  static Napi::Array numbersOf(Napi::Env env, std::span<const int> numbers) {
    auto array = Napi::Array::New(env, numbers.size());
    for (uint32_t index = 0; index < numbers.size(); ++index) {
      array.Set(index, Napi::Number::New(env, numbers[index]));
    }
    return array;
  }

  // Takes ownership of the descriptors in an array.
  static std::vector<Descriptor> descriptorsOf(const Napi::Value& value) {
    const auto array = value.As<Napi::Array>();
    std::vector<Descriptor> descriptors;
    for (uint32_t index = 0; index < array.Length(); ++index) {
      descriptors.emplace_back(intOf(array.Get(index)));
    }
    return descriptors;
  }

  Napi::Value handoffOf(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t linkId = wordOf(info[0]);
    std::vector<LinkHandoff> handoffs;
    if (const Status status = dataplane_->appendHandoff(linkId, &handoffs);
        !status.ok() || handoffs.empty()) {
      throwStatus(info.Env(), status.ok() ? Status{StatusCode::Argument} : status);
      return info.Env().Undefined();
    }
    auto ways = Napi::Array::New(info.Env(), handoffs.size());
    for (uint32_t index = 0; index < handoffs.size(); ++index) {
      auto way = Napi::Object::New(info.Env());
      const auto& words = handoffs[index].words;
      auto copy = Napi::Array::New(info.Env(), words.size());
      for (uint32_t word = 0; word < words.size(); ++word) copy.Set(word, words[word]);
      way.Set("descriptors", numbersOf(info.Env(), handoffs[index].descriptors));
      way.Set("words", copy);
      ways.Set(index, way);
    }
    const auto* hold = static_cast<const LinkHold*>(dataplane_->attachedTo(linkId));
    std::vector<int> guard;
    std::vector<int> program;
    if (hold != nullptr && hold->guard != nullptr) guard = hold->guard->descriptors();
    if (hold != nullptr && hold->program != nullptr) program = hold->program->descriptors();
    if (hold != nullptr && hold->side != nullptr) program = hold->side->handOn();
    auto handoff = Napi::Object::New(info.Env());
    handoff.Set("kind", static_cast<uint32_t>(handoffs.front().kind));
    handoff.Set("ways", ways);
    handoff.Set("guard", numbersOf(info.Env(), guard));
    handoff.Set("program", numbersOf(info.Env(), program));
    return handoff;
  }

  Napi::Value adoptLink(const Napi::CallbackInfo& info) {
    const auto handoff = info[2].As<Napi::Object>();
    InheritedLink inherited;
    inherited.kind = static_cast<LinkKind>(wordOf(handoff.Get("kind")));
    inherited.interface = textOf(info[0]);
    inherited.lasting = info[3].ToBoolean();
    const auto listed = handoff.Get("ways").As<Napi::Array>();
    for (uint32_t index = 0; index < listed.Length(); ++index) {
      const auto way = listed.Get(index).As<Napi::Object>();
      const auto words = way.Get("words").As<Napi::Array>();
      auto& [descriptors, copied] = inherited.queues.emplace_back();
      descriptors = descriptorsOf(way.Get("descriptors"));
      for (uint32_t word = 0; word < words.Length(); ++word) {
        copied.push_back(wordOf(words.Get(word)));
      }
    }
    inherited.guard = descriptorsOf(handoff.Get("guard"));
    inherited.program = descriptorsOf(handoff.Get("program"));
    if (!open(info)) return info.Env().Undefined();

    std::optional<MacAddress> mac;
    OpenedLink opened;
    Status status = macOf(info[1], &mac);
    if (status.ok() && inherited.kind == LinkKind::Kernel) status = makeKernelPath();
    inherited.path = kernelPath_;
    if (status.ok()) status = sluice::adoptLink(std::move(inherited), linkWorkers(), &opened);
    return place(info, status, std::move(opened), mac, NONE);
  }

  void share(const Napi::CallbackInfo& info) {
    if (!open(info)) return;
    shares_ = info[0].ToBoolean();
    forEachHold([this](LinkHold& hold) { hold.share(shares_); });
  }

  void continueFrom(const Napi::CallbackInfo& info) {
    if (open(info)) throwUnless(info, dataplane_->continueFrom(wordOf(info[0])));
  }

  // The SavedConnection records of a typed array, without a copy; empty with a pending error.
  static std::span<SavedConnection> savedOf(const Napi::CallbackInfo& info, size_t argument) {
    const auto bytes = bytesOf(info[argument], "saved connections");
    if (info.Env().IsExceptionPending()) return {};
    if (bytes.size() % sizeof(SavedConnection) != 0 ||
        reinterpret_cast<uintptr_t>(bytes.data()) % alignof(SavedConnection) != 0) {
      throwStatus(info.Env(), {StatusCode::Argument});
      return {};
    }
    return {reinterpret_cast<SavedConnection*>(bytes.data()),
            bytes.size() / sizeof(SavedConnection)};
  }

  Napi::Value saveConnections(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto words = wordsOf(info[0], "place");
    if (info.Env().IsExceptionPending() || words.size() != 2) return info.Env().Undefined();
    const auto into = savedOf(info, 1);
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    Dataplane::SavePlace place = {words[0], words[1]};
    size_t count = 0;
    const auto which = info[2].ToBoolean() ? Saved::Lasting : Saved::All;
    throwUnless(info, dataplane_->saveConnections(which, into, &place, &count));
    words[0] = place.worker;
    words[1] = place.entry;
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }

  Napi::Value loadConnections(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto saved = savedOf(info, 0);
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    size_t taken = 0;
    throwUnless(info, dataplane_->loadConnections(saved, &taken));
    return Napi::Number::New(info.Env(), static_cast<double>(taken));
  }

  std::vector<std::shared_ptr<FrameBuffers>> buffers_;  // by worker
  std::shared_ptr<KernelPath> kernelPath_;              // of links by programs: outlives them
  Status hasMoved_;                                     // whether all connections lie there
  std::unique_ptr<Dataplane> dataplane_;
  bool shares_ = false;                // another process uses its interfaces, too
  std::unique_ptr<EventCall> events_;  // reads the data plane's events: destroyed first
};

}  // namespace

void defineDataplane(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeDataplane", DataplaneBinding::define(env));
}

}  // namespace sluice
