#include "native/attach/forward-filter.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>
#include <vector>

#include "native/attach/forward-rules.h"
#include "native/attach/pin-folder.h"
#include "native/attach/source-guards.h"
#include "native/bpf/image.h"
#include "native/bpf/kernel-types.h"
#include "native/bpf/link.h"
#include "native/bpf/map.h"
#include "native/bpf/program.h"
#include "native/bpf/programs.gen.h"
#include "native/host/clock.h"
#include "native/table/table-slot.h"
#include "native/table/table-view.h"

namespace sluice {
namespace {

constexpr size_t EVENT_BYTES = 1 << 20;
constexpr size_t FRAME_BYTES = 1 << 18;  // some 700 DroppedFrames
constexpr size_t TABLE_BYTES_MIN = 1 << 20;
constexpr size_t TABLE_BYTES_MAX = 256 << 20;
// The next ones if it is taken.
constexpr int32_t PRIORITY_TRIES = 8;
constexpr auto TYPE_NETFILTER = static_cast<bpf_prog_type>(32);  // since Linux 6.4

struct Family {
  uint32_t number;  // NFPROTO_…
  const BpfImage& root;
  const BpfImage& judge;
  const BpfImage& matchJudge;
  const char* pin;
};
const Family FAMILIES[] = {{2, ROOT_V4, JUDGE_V4, JUDGE_MATCH_V4, "link-v4-"},
                           {10, ROOT_V6, JUDGE_V6, JUDGE_MATCH_V6, "link-v6-"}};
constexpr BpfMapShape JUDGES_SHAPE = {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, std::size(FAMILIES), 0};

constexpr std::string_view LINK_START = "link-";

constexpr BpfMapShape EVENTS_SHAPE = {BPF_MAP_TYPE_RINGBUF, 0, 0, EVENT_BYTES, 0};
constexpr BpfMapShape FRAMES_SHAPE = {BPF_MAP_TYPE_RINGBUF, 0, 0, FRAME_BYTES, 0};
constexpr BpfMapShape FRAMES_WANTED_SHAPE = {BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0};
constexpr BpfMapShape OPEN_PODS_SHAPE = {BPF_MAP_TYPE_HASH, sizeof(ForwardFilter::OpenPod), 4,
                                         16'384, BPF_F_NO_PREALLOC};
constexpr BpfMapShape POD_RANGES_SHAPE = {BPF_MAP_TYPE_ARRAY, 4, sizeof(ForwardFilter::PodRanges),
                                          1, 0};
constexpr BpfMapShape COUNTERS_SHAPE = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(ForwardCounters), 1,
                                        0};

// Pods beyond these share an account with another one.
constexpr uint32_t ANSWER_ACCOUNTS = 1'024;

constexpr uint32_t ONLY = 0;  // the key of a map's only entry

size_t pageBytes() noexcept { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// Waits until every program that began before has ended.
void waitForPrograms() noexcept {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return;
  // Kernels that isolate processors refuse it; a program never takes this long.
  constexpr timespec pause = {0, 50'000'000};
  nanosleep(&pause, nullptr);
}

// Locks a folder for as long as the descriptor is open. Errors: System, "flock".
Status lockFolder(const std::string& folder, Descriptor* lock) noexcept {
  Descriptor made(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!made.valid()) return Status::system("open", errno);
  if (flock(made.get(), LOCK_EX | LOCK_NB) != 0) return Status::system("flock", errno);
  *lock = std::move(made);
  return {};
}

}  // namespace

Status ForwardFilter::open(const std::string& folder, ForwardHook hook, Deny deny,
                           std::unique_ptr<ForwardFilter>* filter) noexcept {
  std::unique_ptr<ForwardFilter> made(new (std::nothrow) ForwardFilter(folder, hook));
  if (made == nullptr) return {StatusCode::Limit};
  const Status status = made->prepare(deny);
  if (status.ok()) *filter = std::move(made);
  return status;
}

Status ForwardFilter::prepare(Deny deny) noexcept {
  // Before Linux 5.11, maps count as locked memory, of which a process may have little.
  constexpr rlimit any = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &any);
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) return Status::system("mkdir", errno);
  struct statfs system = {};
  if (statfs(folder_.c_str(), &system) != 0) return Status::system("statfs", errno);
  if (system.f_type != BPF_FS_MAGIC) return Status::system("statfs", EINVAL);
  Status status = lockFolder(folder_, &lock_);
  if (status.ok()) status = possibleProcessors(&processors_);
  if (status.ok() && hook_ == ForwardHook::Netfilter) status = readShapes();
  if (status.ok()) status = keepMap(path(judgesName()), JUDGES_SHAPE, &judges_, &isNewSlot_);
  if (status.ok()) status = keepMap(path("counters"), COUNTERS_SHAPE, &counters_);
  if (status.ok()) status = keepMap(path("events"), EVENTS_SHAPE, &events_);
  // Pinned for the guards of pods' interfaces, which stay when a process ends.
  if (status.ok()) status = keepMap(path("dropped-frames"), FRAMES_SHAPE, &frames_);
  if (status.ok()) status = keepMap(path("frames-wanted"), FRAMES_WANTED_SHAPE, &framesWanted_);
  if (status.ok()) status = putInMap(framesWanted_.get(), &ONLY, 0);
  if (status.ok()) status = frameRing_.map(frames_.get(), FRAME_BYTES);
  if (status.ok()) status = keepMap(path("pod-ranges"), POD_RANGES_SHAPE, &podRangesMap_);
  if (status.ok()) status = readFromMap(podRangesMap_.get(), &ONLY, &podRanges_);
  if (status.ok()) status = createMap(OPEN_PODS_SHAPE, &openPods_);
  if (status.ok()) status = eventRing_.map(events_.get(), EVENT_BYTES);
  if (status.ok()) status = makeAnswers(deny);
  if (status.ok()) status = tryHook();
  return status;
}

// Not pinned: what waits for a process that has ended is answered by none.
Status ForwardFilter::makeAnswers(Deny deny) noexcept {
  const bool answers = deny == Deny::Reject && hook_ == ForwardHook::Netfilter;
  const size_t bytes = answers ? ForwardAnswers::RING_BYTES : pageBytes();
  Status status =
      createMap({BPF_MAP_TYPE_RINGBUF, 0, 0, static_cast<uint32_t>(bytes), 0}, &refused_);
  if (status.ok()) {
    status = createMap({BPF_MAP_TYPE_ARRAY, 4, 8, ANSWER_ACCOUNTS, 0}, &answerShares_);
  }
  if (!status.ok() || !answers) return status;
  settings_.answers = 1;
  return ForwardAnswers::open(refused_.get(), &answers_);
}

Status ForwardFilter::tryHook() noexcept {
  Status status = makeTables(TABLE_BYTES_MIN, &spare_);
  if (!status.ok() || hook_ == ForwardHook::Netfilter) return status;
  status = loadMatchRoots(judges_.get(), roots_);
  return status.ok() ? tryMatchRules(hook_, roots_) : status;
}

Status ForwardFilter::readShapes() noexcept {
  KernelTypes types;
  const Status status = KernelTypes::read(&types);
  if (!status.ok()) return status;
  const uint32_t packet = types.structure("sk_buff");
  const uint32_t entry = types.structure("nf_conn");
  const uint32_t node = types.structure("nf_conntrack_tuple_hash");
  const uint32_t tuple = types.structure("nf_conntrack_tuple");
  const uint32_t nodes = types.offsetOf(entry, "tuplehash");
  const uint32_t tupleInNode = types.offsetOf(node, "tuple");
  shapes_ = {
      .skbConntrack = types.offsetOf(packet, "_nfct"),
      .skbLength = types.offsetOf(packet, "len"),
      .skbKind = types.offsetOf(packet, "__pkt_type_offset"),
      .conntrackType = entry,
      .conntrackStatus = types.offsetOf(entry, "status"),
      .originalTuple = nodes + tupleInNode,
      .replyTuple = nodes + types.sizeOf(node) + tupleInNode,
      .castFunction = types.function("bpf_rdonly_cast"),
      .dynptrFunction = types.function("bpf_dynptr_from_skb"),
      .sliceFunction = types.function("bpf_dynptr_slice"),
  };
  constexpr uint32_t ABSENT = KernelTypes::ABSENT;
  // The programs read the rest of a tuple by its own offsets.
  constexpr uint32_t TUPLE_BYTES = 40;
  constexpr uint32_t DESTINATION_OFFSET = 20;
  const bool fits =
      shapes_.skbConntrack != ABSENT && shapes_.skbLength != ABSENT && shapes_.skbKind != ABSENT &&
      entry != ABSENT && nodes != ABSENT && shapes_.conntrackStatus != ABSENT &&
      tupleInNode != ABSENT && types.sizeOf(tuple) == TUPLE_BYTES &&
      types.offsetOf(tuple, "dst") == DESTINATION_OFFSET && shapes_.castFunction != ABSENT &&
      shapes_.dynptrFunction != ABSENT && shapes_.sliceFunction != ABSENT;
  return fits ? Status{} : Status{StatusCode::Argument};
}

Status ForwardFilter::makeTables(size_t bytes, std::unique_ptr<Tables>* tables) noexcept {
  std::unique_ptr<Tables> made(new (std::nothrow) Tables);
  if (made == nullptr) return {StatusCode::Limit};
  made->bytes = bytes;
  const auto valueBytes = static_cast<uint32_t>(bytes);
  Status status = createMap({BPF_MAP_TYPE_ARRAY, 4, valueBytes, 2, BPF_F_MMAPABLE}, &made->tables);
  if (!status.ok()) return status;
  status =
      createMap({BPF_MAP_TYPE_ARRAY, 4, sizeof(ForwardControl), 1, BPF_F_MMAPABLE}, &made->control);
  if (!status.ok()) return status;
  constexpr int protection = PROT_READ | PROT_WRITE;
  status = made->tableMemory.map(made->tables.get(), 2 * bytes, protection, 0);
  if (!status.ok()) return status;
  status = made->controlMemory.map(made->control.get(), pageBytes(), protection, 0);
  if (!status.ok()) return status;

  using Kind = BpfSymbol::Kind;
  const auto descriptor = [](const Descriptor& of) { return static_cast<uint64_t>(of.get()); };
  const BpfSymbol symbols[] = {
      {"tables", Kind::Map, descriptor(made->tables)},
      {"control", Kind::Map, descriptor(made->control)},
      {"counters", Kind::Map, descriptor(counters_)},
      {"events", Kind::Map, descriptor(events_)},
      {"droppedFrames", Kind::Map, descriptor(frames_)},
      {"framesWanted", Kind::Map, descriptor(framesWanted_)},
      {"openPods", Kind::Map, descriptor(openPods_)},
      {"tableBytes", Kind::Number, bytes},
      {"skbConntrack", Kind::Number, shapes_.skbConntrack},
      {"answers", Kind::Map, descriptor(refused_)},
      {"answerShares", Kind::Map, descriptor(answerShares_)},
      {"answerAccounts", Kind::Number, ANSWER_ACCOUNTS},
      {"skbLength", Kind::Number, shapes_.skbLength},
      {"skbKind", Kind::Number, shapes_.skbKind},
      {"conntrackType", Kind::Number, shapes_.conntrackType},
      {"conntrackStatus", Kind::Number, shapes_.conntrackStatus},
      {"originalTuple", Kind::Number, shapes_.originalTuple},
      {"replyTuple", Kind::Number, shapes_.replyTuple},
      {"bpf_rdonly_cast", Kind::Function, shapes_.castFunction},
      {"bpf_dynptr_from_skb", Kind::Function, shapes_.dynptrFunction},
      {"bpf_dynptr_slice", Kind::Function, shapes_.sliceFunction},
  };
  status = loadJudges(symbols, made.get());
  if (status.ok()) *tables = std::move(made);
  return status;
}

Status ForwardFilter::loadJudges(std::span<const BpfSymbol> symbols, Tables* tables) noexcept {
  const bool isNetfilter = hook_ == ForwardHook::Netfilter;
  const bpf_prog_type type = isNetfilter ? TYPE_NETFILTER : BPF_PROG_TYPE_SOCKET_FILTER;
  const uint32_t attachType = isNetfilter ? static_cast<uint32_t>(BpfHook::Netfilter) : 0;
  for (size_t index = 0; index < std::size(FAMILIES); ++index) {
    const Family& family = FAMILIES[index];
    const Status status = loadImage(isNetfilter ? family.judge : family.matchJudge, type,
                                    attachType, symbols, &tables->judges[index]);
    if (!status.ok()) return status;
  }
  return {};
}

Status ForwardFilter::publish(std::span<const std::byte> blob, uint32_t generation) noexcept {
  if (tables_ != nullptr && blob.size() <= tables_->bytes) {
    if (!isSettled_) waitForPrograms();
    isSettled_ = true;
    const uint32_t idle = tables_->idle();
    tables_->isOther = true;
    const Status status = writeTable(*tables_, idle, blob);
    if (!status.ok()) return status;
    const std::lock_guard held(swap_);
    tables_->written = blob.size();
    tables_->inForce().store(static_cast<uint64_t>(generation) << 32 | idle);
    isSettled_ = false;
    return {};
  }
  const size_t bytes = std::bit_ceil(std::max(blob.size(), TABLE_BYTES_MIN));
  if (bytes > TABLE_BYTES_MAX) return {StatusCode::Limit};
  std::unique_ptr<Tables> made = std::move(spare_);
  Status status;
  if (made == nullptr || made->bytes < bytes) status = makeTables(bytes, &made);
  if (status.ok()) status = writeTable(*made, 0, blob);
  if (!status.ok()) return status;
  made->written = blob.size();
  made->isOther = true;
  *made->settings() = tables_ != nullptr ? *tables_->settings() : settings_;
  made->inForce().store(static_cast<uint64_t>(generation) << 32);
  settings_ = *made->settings();
  made->leaseEndNs().store(leaseEndNs());
  for (uint32_t index = 0; index < std::size(FAMILIES); ++index) {
    status = putInMap(judges_.get(), &index, static_cast<uint32_t>(made->judges[index].get()));
    if (status.ok()) continue;
    // The families may judge by different ones: the next table replaces both.
    const std::lock_guard held(swap_);
    tables_.reset();
    return status;
  }
  const std::lock_guard held(swap_);
  tables_ = std::move(made);
  isSettled_ = true;  // nothing has read its other table yet
  return {};
}

Status ForwardFilter::publishLines(const TableLines& lines, uint32_t generation) noexcept {
  if (tables_ == nullptr) return {StatusCode::Argument};
  settle();
  Tables& tables = *tables_;
  const uint32_t idle = tables.idle();
  const Status status = TableView::rewrite(tables.table(idle), lines, &tables.views[idle]);
  if (!status.ok()) {
    tables.isOther = true;
    return status;
  }
  tables.behind.assign(lines.numbers.begin(), lines.numbers.end());
  const std::lock_guard held(swap_);
  tables.inForce().store(static_cast<uint64_t>(generation) << 32 | idle);
  isSettled_ = false;
  return {};
}

void ForwardFilter::settle() noexcept {
  if (!isSettled_) waitForPrograms();
  isSettled_ = true;
  if (tables_ != nullptr) catchUp(*tables_);
}

void ForwardFilter::catchUp(Tables& tables) noexcept {
  const uint32_t idle = tables.idle();
  const std::span<const std::byte> inForce = tables.table(idle ^ 1);
  if (tables.isOther) {
    std::memcpy(tables.table(idle).data(), inForce.data(), inForce.size());
    tables.views[idle] = tables.views[idle ^ 1].ofCopy(tables.table(idle));
  } else {
    copyLines(inForce, tables.behind, tables.table(idle));
  }
  tables.isOther = false;
  tables.behind.clear();
}

// Checks the bytes where they are read from later.
Status ForwardFilter::writeTable(Tables& tables, uint32_t which,
                                 std::span<const std::byte> blob) noexcept {
  std::byte* const at = tables.tableMemory.data() + which * tables.bytes;
  std::memcpy(at, blob.data(), blob.size());
  return TableView::open({at, blob.size()}, &tables.views[which]);
}

bool ForwardFilter::findStanding(const FlowKey& connection, Standing* standing) const noexcept {
  const std::lock_guard held(swap_);
  if (tables_ == nullptr) return false;
  const uint64_t inForce = tables_->inForce().load();
  const TableView& table = tables_->views[inForce & 1];
  const uint32_t source = table.leafOf(connection.source.data(), connection.family);
  const uint32_t destination = table.leafOf(connection.destination.data(), connection.family);
  if ((table.leaf(source).endpointId & table.leaf(destination).endpointId) == NONE) return false;
  standing->generation = static_cast<uint32_t>(inForce >> 32);
  standing->audited = 0;
  if (table.hasAudit()) {
    standing->audited =
        table.audit(source, destination, connection.protocol, connection.destinationPort);
  }
  return true;
}

Status ForwardFilter::judgeOnce(std::span<const std::byte> packet, bool* passes) noexcept {
  if (tables_ == nullptr || packet.size() < 20) return {StatusCode::Argument};
  const bool isV6 = (static_cast<uint8_t>(packet[0]) >> 4) == 6;
  const int judge = tables_->judges[isV6 ? 1 : 0].get();
  uint32_t result = 0;
  Status status;
  if (hook_ == ForwardHook::Netfilter) {
    status = runOnce(judge, packet, &result);
  } else {
    const uint32_t words[] = {static_cast<uint32_t>(packet.size()),
                              static_cast<uint32_t>(MatchRole::Untracked)};
    status = runSocketFilter(judge, packet, words, &result);
  }
  constexpr uint32_t ACCEPT = 1;
  *passes = status.ok() && result == ACCEPT;
  return status;
}

// A link keeps its network namespace alive, so that its name can be the namespace's number.
Status ForwardFilter::linkNames(std::vector<std::string>* names) noexcept {
  uint64_t number = 0;
  const Status status = networkNamespaceNumber(&number);
  if (!status.ok()) return status;
  for (const Family& family : FAMILIES) {
    names->push_back(family.pin + std::to_string(number));
  }
  return {};
}

bool ForwardFilter::isAttached() const noexcept {
  if (hook_ != ForwardHook::Netfilter) {
    bool have = false;
    return isAlone_ && haveMatchRules(&have).ok() && have;
  }
  std::vector<std::string> names;
  return linkNames(&names).ok() && std::all_of(names.begin(), names.end(), [&](const auto& name) {
           return access(path(name.c_str()).c_str(), F_OK) == 0;
         });
}

Status ForwardFilter::attach() noexcept {
  return hook_ == ForwardHook::Netfilter ? attachLinks() : attachMatch();
}

Status ForwardFilter::attachMatch() noexcept {
  if (isAttached() || !lock_.valid()) return {};
  Status status;
  if (hook_ == ForwardHook::Nfqueue && queue_ == nullptr) {
    status = ForwardQueue::open(roots_, &queue_);
  }
  if (status.ok()) status = putMatchRules(hook_, roots_);
  if (!status.ok()) return status;
  status = removePins(folder_, [](std::string_view name) { return name.starts_with(LINK_START); });
  isAlone_ = status.ok();
  return status;
}

Status ForwardFilter::attachLinks() noexcept {
  std::vector<std::string> own;
  Status status = linkNames(&own);
  if (!status.ok()) return status;
  const BpfSymbol symbols[] = {
      {"judges", BpfSymbol::Kind::Map, static_cast<uint64_t>(judges_.get())}};
  for (size_t index = 0; index < std::size(FAMILIES); ++index) {
    const Family& family = FAMILIES[index];
    Descriptor link;
    const std::string place = path(own[index].c_str());
    if (openPinned(place.c_str(), &link).ok() && !isNewSlot_) continue;
    Descriptor root;
    status = loadImage(family.root, TYPE_NETFILTER, static_cast<uint32_t>(BpfHook::Netfilter),
                       symbols, &root);
    if (!status.ok()) return status;
    for (int32_t tried = 0; tried < PRIORITY_TRIES; ++tried) {
      status = attachForwardProgram(root.get(), family.number, FORWARD_PRIORITY + tried, &link);
      if (status.ok() || status.error != EBUSY) break;
    }
    if (!status.ok()) return status;
    // Where a link is pinned already, whose slot is lost, the new one works before that goes.
    if (unlink(place.c_str()) != 0 && errno != ENOENT) return Status::system("unlink", errno);
    status = pin(link.get(), place.c_str());
    if (!status.ok()) return status;
  }
  isNewSlot_ = false;
  status = removePins(folder_, [&own](std::string_view name) {
    return name.starts_with(LINK_START) && std::find(own.begin(), own.end(), name) == own.end();
  });
  if (!status.ok() || isAlone_) return status;
  status = removeMatchRules();
  isAlone_ = status.ok();
  return status;
}

void ForwardFilter::setClosed(std::span<const uint32_t> v4, std::span<const uint32_t> v6,
                              bool closesLink) noexcept {
  ForwardControl* const control = tables_ != nullptr ? tables_->settings() : &settings_;
  const auto put = [](std::span<const uint32_t> ranges, std::span<uint32_t> into) {
    for (size_t word = 0; word < into.size(); ++word) {
      const uint32_t value = word < ranges.size() ? ranges[word] : 0;
      std::atomic_ref<uint32_t>(into[word]).store(value, std::memory_order_relaxed);
    }
  };
  put(v4, control->podRangesV4);
  put(v6, control->podRangesV6);
  std::atomic_ref<uint32_t>(control->closesLink).store(closesLink ? 1 : 0);
}

Status ForwardFilter::keepPodRanges(std::span<const uint32_t> v4,
                                    std::span<const uint32_t> v6) noexcept {
  PodRanges wanted = {};
  std::copy_n(v4.begin(), std::min(v4.size(), wanted.v4.size()), wanted.v4.begin());
  std::copy_n(v6.begin(), std::min(v6.size(), wanted.v6.size()), wanted.v6.begin());
  if (wanted == podRanges_) return {};
  const Status status = putInMap(podRangesMap_.get(), &ONLY, &wanted, BPF_ANY);
  if (status.ok()) podRanges_ = wanted;
  return status;
}

uint64_t ForwardFilter::leaseEndNs() const noexcept {
  const uint64_t forNs = leaseNs_.load();
  return forNs == 0 ? 0 : clockNs(CLOCK_MONOTONIC) + forNs;
}

void ForwardFilter::renewLease(uint64_t forNs) noexcept {
  leaseNs_.store(forNs);
  const std::lock_guard held(swap_);
  if (tables_ != nullptr) tables_->leaseEndNs().store(leaseEndNs());
}

Status ForwardFilter::setOpenPods(std::span<const OpenPod> pods) noexcept {
  const std::set<OpenPod> wanted(pods.begin(), pods.end());
  for (auto at = isOpenPod_.begin(); at != isOpenPod_.end();) {
    if (wanted.contains(*at)) {
      ++at;
      continue;
    }
    const Status status = removeFromMap(openPods_.get(), at->data());
    if (!status.ok()) return status;
    at = isOpenPod_.erase(at);
  }
  for (const OpenPod& pod : wanted) {
    if (isOpenPod_.contains(pod)) continue;
    const Status status = putInMap(openPods_.get(), pod.data(), 1);
    if (status.error == E2BIG) return {};
    if (!status.ok()) return status;
    isOpenPod_.insert(pod);
  }
  return {};
}

Status ForwardFilter::readCounters(ForwardCounters* counters) const noexcept {
  std::vector<ForwardCounters> each(processors_);
  const Status status = readFromMap(counters_.get(), &ONLY, each.data());
  if (!status.ok()) return status;
  static_assert(sizeof(ForwardCounters) % sizeof(uint64_t) == 0);
  constexpr size_t WORDS = sizeof(ForwardCounters) / sizeof(uint64_t);
  uint64_t sums[WORDS] = {};
  for (const ForwardCounters& one : each) {
    uint64_t words[WORDS];
    std::memcpy(words, &one, sizeof words);
    for (size_t word = 0; word < WORDS; ++word) sums[word] += words[word];
  }
  std::memcpy(counters, sums, sizeof sums);
  return {};
}

namespace {

// Copies the records of a ring that fit, all of one size; returns how many. `adjust` gets each.
template <typename Record, typename Adjust>
size_t drainRing(BpfRing& ring, std::span<Record> into, Adjust adjust) noexcept {
  size_t count = 0;
  ring.read([&](std::span<const std::byte> record) {
    if (count == into.size()) return false;
    if (record.size() != sizeof(Record)) return true;
    std::memcpy(&into[count], record.data(), sizeof(Record));
    adjust(into[count]);
    ++count;
    return true;
  });
  return count;
}

// From the clock of the programs to the time of day.
uint64_t timeOfDayOffsetUs() noexcept {
  return (clockNs(CLOCK_REALTIME) - clockNs(CLOCK_MONOTONIC)) / 1000;
}

}  // namespace

size_t ForwardFilter::drain(std::span<FlowEvent> into) noexcept {
  const uint64_t offsetUs = timeOfDayOffsetUs();
  return drainRing(eventRing_, into, [&](FlowEvent& event) { event.timeUs += offsetUs; });
}

void ForwardFilter::askForDroppedFrames(bool wanted) noexcept {
  // Else a successor says.
  if (lock_.valid()) (void)putInMap(framesWanted_.get(), &ONLY, wanted ? 1 : 0);
}

size_t ForwardFilter::drainDroppedFrames(std::span<DroppedFrame> into) noexcept {
  const uint64_t offsetUs = timeOfDayOffsetUs();
  return drainRing(frameRing_, into, [&](DroppedFrame& frame) {
    FlowEvent event;
    std::memcpy(&event, frame.event, sizeof event);
    event.timeUs += offsetUs;
    std::memcpy(frame.event, &event, sizeof event);
  });
}

Status ForwardFilter::remove(const std::string& folder) noexcept {
  Descriptor lock;
  Status status = lockFolder(folder, &lock);
  if (!status.ok()) return status.error == ENOENT ? Status{} : status;
  status = SourceGuards::removeFilters(folder);
  if (!status.ok()) return status;
  // The hooks first: without their slot they would let nothing pass.
  status = removeMatchRules();
  if (status.ok()) {
    status = removePins(folder, [](std::string_view name) { return name.starts_with(LINK_START); });
  }
  if (status.ok()) status = removePins(folder, [](std::string_view) { return true; });
  if (!status.ok()) return status;
  if (rmdir(folder.c_str()) != 0 && errno != ENOENT) return Status::system("rmdir", errno);
  return {};
}

}  // namespace sluice
