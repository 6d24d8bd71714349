#include "native/binding/forward-binding.h"

#include <cstring>
#include <memory>

#include "native/attach/forward-filter.h"
#include "native/attach/forward-rules.h"
#include "native/attach/pod-connections.h"
#include "native/binding/arguments.h"
#include "native/binding/job.h"

namespace sluice {
namespace {

// Puts a table in force in a thread of the pool: it copies, checks and waits for the kernel. Keeps
// the filter and the blob until then.
class PublishJob : public Job {
 public:
  PublishJob(Napi::Env env, std::shared_ptr<ForwardFilter> filter, const Napi::Value& blob,
             std::span<const uint8_t> bytes, uint32_t generation)
      : Job(env),
        filter_(std::move(filter)),
        blob_(Napi::Persistent(blob.As<Napi::Object>())),
        bytes_(bytes),
        generation_(generation) {}

 protected:
  Status work() override { return filter_->publish(std::as_bytes(bytes_), generation_); }
  Napi::Value result() override { return Env().Undefined(); }

 private:
  std::shared_ptr<ForwardFilter> filter_;
  Napi::ObjectReference blob_;
  std::span<const uint8_t> bytes_;
  uint32_t generation_;
};

// The same for lines of a table, which it keeps.
class PublishLinesJob : public Job {
 public:
  PublishLinesJob(Napi::Env env, std::shared_ptr<ForwardFilter> filter, const TableLines& lines,
                  uint32_t generation)
      : Job(env),
        filter_(std::move(filter)),
        numbers_(lines.numbers.begin(), lines.numbers.end()),
        bytes_(lines.bytes.begin(), lines.bytes.end()),
        generation_(generation) {}

 protected:
  Status work() override { return filter_->publishLines({numbers_, bytes_}, generation_); }
  Napi::Value result() override { return Env().Undefined(); }

 private:
  std::shared_ptr<ForwardFilter> filter_;
  std::vector<uint32_t> numbers_;
  std::vector<std::byte> bytes_;
  uint32_t generation_;
};

// Waits, in a thread of the pool, until the next table need not wait.
class SettleJob : public Job {
 public:
  SettleJob(Napi::Env env, std::shared_ptr<ForwardFilter> filter)
      : Job(env), filter_(std::move(filter)) {}

 protected:
  Status work() override {
    filter_->settle();
    return {};
  }
  Napi::Value result() override { return Env().Undefined(); }

 private:
  std::shared_ptr<ForwardFilter> filter_;
};

// Reads the next piece of a list: the kernel may let it wait. A piece is short also where no
// connection is a pod's, since tables are put in force in the same few threads.
class ListJob : public Job {
 public:
  ListJob(Napi::Env env, std::shared_ptr<PodConnectionList> list)
      : Job(env), list_(std::move(list)) {}

 protected:
  Status work() override { return list_->read(&records_, &isEnd_); }
  Napi::Value result() override {
    if (isEnd_) return Env().Null();
    return Napi::Buffer<uint8_t>::Copy(Env(), reinterpret_cast<const uint8_t*>(records_.data()),
                                       records_.size() * sizeof(ConnectionRecord));
  }

 private:
  std::shared_ptr<PodConnectionList> list_;
  std::vector<ConnectionRecord> records_;
  bool isEnd_ = false;
};

// The records, FlowEvents or DroppedFrames, that a caller wants filled.
// Errors: throws Argument when they are not aligned; the span is then empty.
template <typename Record>
std::span<Record> recordsOf(const Napi::Value& value, const char* name) {
  const auto bytes = bytesOf(value, name);
  if (value.Env().IsExceptionPending()) return {};
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(Record) != 0) {
    throwStatus(value.Env(), {StatusCode::Argument});
    return {};
  }
  return {reinterpret_cast<Record*>(bytes.data()), bytes.size() / sizeof(Record)};
}

// The NativeForwardFilter of src/dataplane/addon.ts.
class ForwardBinding : public Napi::ObjectWrap<ForwardBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeForwardFilter",
                       {InstanceMethod<&ForwardBinding::publish>("publish"),
                        InstanceMethod<&ForwardBinding::publishLines>("publishLines"),
                        InstanceMethod<&ForwardBinding::settle>("settle"),
                        InstanceMethod<&ForwardBinding::attach>("attach"),
                        InstanceMethod<&ForwardBinding::isAttached>("isAttached"),
                        InstanceMethod<&ForwardBinding::setClosed>("setClosed"),
                        InstanceMethod<&ForwardBinding::keepPodRanges>("keepPodRanges"),
                        InstanceMethod<&ForwardBinding::podRanges>("podRanges"),
                        InstanceMethod<&ForwardBinding::renewLease>("renewLease"),
                        InstanceMethod<&ForwardBinding::setOpenPods>("setOpenPods"),
                        InstanceMethod<&ForwardBinding::readCounters>("readCounters"),
                        InstanceMethod<&ForwardBinding::rejects>("rejects"),
                        InstanceMethod<&ForwardBinding::drainEvents>("drainEvents"),
                        InstanceMethod<&ForwardBinding::askForDrops>("askForDrops"),
                        InstanceMethod<&ForwardBinding::drainDrops>("drainDrops"),
                        InstanceMethod<&ForwardBinding::leave>("leave"),
                        InstanceMethod<&ForwardBinding::judgeOnce>("judgeOnce")});
  }

  [[nodiscard]] const std::shared_ptr<ForwardFilter>& filter() const { return filter_; }

  explicit ForwardBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ForwardBinding>(info) {
    std::unique_ptr<ForwardFilter> made;
    throwUnless(info,
                ForwardFilter::open(textOf(info[0]), static_cast<ForwardHook>(wordOf(info[1])),
                                    static_cast<Deny>(wordOf(info[2])), &made));
    filter_ = std::move(made);
  }

 private:
  Napi::Value publish(const Napi::CallbackInfo& info) {
    const auto bytes = bytesOf(info[0], "blob");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    auto* const job = new PublishJob(info.Env(), filter_, info[0], bytes, wordOf(info[1]));
    job->Queue();
    return job->promise();
  }

  Napi::Value publishLines(const Napi::CallbackInfo& info) {
    TableLines lines;
    if (!linesOf(info, &lines)) return info.Env().Undefined();
    auto* const job = new PublishLinesJob(info.Env(), filter_, lines, wordOf(info[2]));
    job->Queue();
    return job->promise();
  }

  Napi::Value settle(const Napi::CallbackInfo& info) {
    auto* const job = new SettleJob(info.Env(), filter_);
    job->Queue();
    return job->promise();
  }

  void attach(const Napi::CallbackInfo& info) { throwUnless(info, filter_->attach()); }

  Napi::Value isAttached(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), filter_->isAttached());
  }

  void setClosed(const Napi::CallbackInfo& info) {
    const auto v4 = wordsOf(info[0], "podRangesV4");
    if (info.Env().IsExceptionPending()) return;
    const auto v6 = wordsOf(info[1], "podRangesV6");
    if (info.Env().IsExceptionPending()) return;
    filter_->setClosed(v4, v6, info[2].As<Napi::Boolean>().Value());
  }

  void keepPodRanges(const Napi::CallbackInfo& info) {
    const auto v4 = wordsOf(info[0], "podRangesV4");
    if (info.Env().IsExceptionPending()) return;
    const auto v6 = wordsOf(info[1], "podRangesV6");
    if (info.Env().IsExceptionPending()) return;
    throwUnless(info, filter_->keepPodRanges(v4, v6));
  }

  Napi::Value podRanges(const Napi::CallbackInfo& info) {
    const ForwardFilter::PodRanges& ranges = filter_->podRanges();
    return Napi::Buffer<uint8_t>::Copy(info.Env(), reinterpret_cast<const uint8_t*>(&ranges),
                                       sizeof ranges);
  }

  void renewLease(const Napi::CallbackInfo& info) {
    filter_->renewLease(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
  }

  void setOpenPods(const Napi::CallbackInfo& info) {
    const auto words = wordsOf(info[0], "openPods");
    if (info.Env().IsExceptionPending()) return;
    using OpenPod = ForwardFilter::OpenPod;
    std::vector<OpenPod> pods(words.size() / OpenPod().size());
    std::memcpy(pods.data(), words.data(), pods.size() * sizeof(OpenPod));
    throwUnless(info, filter_->setOpenPods(pods));
  }

  void readCounters(const Napi::CallbackInfo& info) {
    auto* const counters = recordOf<ForwardCounters>(info[0], "ForwardCounters");
    if (counters != nullptr) throwUnless(info, filter_->readCounters(counters));
  }

  Napi::Value rejects(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(filter_->rejects()));
  }

  Napi::Value drainEvents(const Napi::CallbackInfo& info) {
    const auto events = recordsOf<FlowEvent>(info[0], "events");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), static_cast<double>(filter_->drain(events)));
  }

  void askForDrops(const Napi::CallbackInfo& info) {
    filter_->askForDroppedFrames(info[0].ToBoolean().Value());
  }

  Napi::Value drainDrops(const Napi::CallbackInfo& info) {
    const auto frames = recordsOf<DroppedFrame>(info[0], "frames");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), static_cast<double>(filter_->drainDroppedFrames(frames)));
  }

  void leave(const Napi::CallbackInfo&) { filter_->leave(); }

  Napi::Value judgeOnce(const Napi::CallbackInfo& info) {
    const auto bytes = bytesOf(info[0], "packet");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    bool passes = false;
    throwUnless(info, filter_->judgeOnce(std::as_bytes(bytes), &passes));
    return Napi::Boolean::New(info.Env(), passes);
  }

  std::shared_ptr<ForwardFilter> filter_;
};

// The NativePodConnectionEnds of src/dataplane/addon.ts.
class EndsBinding : public Napi::ObjectWrap<EndsBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativePodConnectionEnds",
                       {InstanceMethod<&EndsBinding::drain>("drain"),
                        InstanceMethod<&EndsBinding::descriptor>("descriptor"),
                        InstanceMethod<&EndsBinding::overruns>("overruns")});
  }

  explicit EndsBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<EndsBinding>(info),
        ends_(ForwardBinding::Unwrap(info[0].As<Napi::Object>())->filter()) {
    const auto inherited = static_cast<int>(info[1].As<Napi::Number>().Int32Value());
    throwUnless(info, inherited < 0 ? ends_.open() : ends_.adopt(Descriptor(inherited)));
  }

 private:
  Napi::Value drain(const Napi::CallbackInfo& info) {
    const auto events = recordsOf<FlowEvent>(info[0], "events");
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    size_t count = 0;
    throwUnless(info, ends_.drain(events, &count));
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }

  Napi::Value descriptor(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), ends_.descriptor());
  }

  Napi::Value overruns(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(ends_.overruns()));
  }

  PodConnectionEnds ends_;
};

// The NativePodConnectionList of src/dataplane/addon.ts.
class ListBinding : public Napi::ObjectWrap<ListBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativePodConnectionList",
                       {InstanceMethod<&ListBinding::next>("next")});
  }

  explicit ListBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<ListBinding>(info),
        list_(std::make_shared<PodConnectionList>(
            ForwardBinding::Unwrap(info[0].As<Napi::Object>())->filter())) {}

 private:
  Napi::Value next(const Napi::CallbackInfo& info) {
    auto* const job = new ListJob(info.Env(), list_);
    job->Queue();
    return job->promise();
  }

  std::shared_ptr<PodConnectionList> list_;
};

void removeForwardFilter(const Napi::CallbackInfo& info) {
  throwUnless(info, ForwardFilter::remove(textOf(info[0])));
}

// Puts what is not there; returns whether bridges are covered, or undefined when all was there.
Napi::Value keepForwardRules(const Napi::CallbackInfo& info) {
  bool have = false;
  bool bridges = false;
  const bool isFirst = info[0].As<Napi::Boolean>().Value();
  Status status = isFirst ? Status{} : haveForwardRules(&have);
  if (status.ok() && have) return info.Env().Undefined();
  if (status.ok()) status = putForwardRules(&bridges);
  throwUnless(info, status);
  return Napi::Boolean::New(info.Env(), bridges);
}

void dropForwardRules(const Napi::CallbackInfo& info) { throwUnless(info, removeForwardRules()); }

}  // namespace

void defineForwardFilter(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeForwardFilter", ForwardBinding::define(env));
  exports.Set("NativePodConnectionEnds", EndsBinding::define(env));
  exports.Set("NativePodConnectionList", ListBinding::define(env));
  exports.Set("keepForwardRules", Napi::Function::New<keepForwardRules>(env));
  exports.Set("removeForwardRules", Napi::Function::New<dropForwardRules>(env));
  exports.Set("removeForwardFilter", Napi::Function::New<removeForwardFilter>(env));
}

}  // namespace sluice
