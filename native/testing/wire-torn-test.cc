// Goal:   while a worker writes the shared table, no program passes a frame by a mixture: by the
// name
//         of one connection and the admission, the side or the generation of another; what is taken
//         back or left behind by a swap passes nothing after a grace period, and is counted
//         exactly.
// Method: ThreadSanitizer does not see the kernel. So threads run the program all the time, on
// frames
//         of connections that come and go in a few places of the table, while this thread writes as
//         shared-table.h says. Frames that must never pass come in at a side of their own, whose
//         counter tells. SLUICE_TORN_SECONDS is for how long; `npm run test:torn` takes a minute.
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <vector>

#include "native/bpf/call.h"
#include "native/conntrack/conn-name.h"
#include "native/conntrack/tcp-rules.h"
#include "native/conntrack/tcp-track.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"
#include "native/testing/one-pod.h"
#include "native/testing/shared-memory.h"
#include "native/testing/test.h"
#include "native/testing/wire-programs.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {3, 4};
constexpr uint32_t SIZE = 8'192;
constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint32_t RUNS = 50;  // of a frame in one call
constexpr uint32_t FORBIDDEN = 0;
constexpr uint32_t ALLOWED = 1;
// Connections that may pass; the frames of each have a length of their own.
constexpr uint32_t NAMES = 4'000;
constexpr uint32_t STALE = 1;
constexpr uint32_t FIRST_GENERATION = 10;

uint64_t nowUs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000;
}

double secondsWanted() {
  const char* const given = std::getenv("SLUICE_TORN_SECONDS");
  return given == nullptr ? 1.5 : std::atof(given);
}

std::vector<uint8_t> datagram(uint16_t port, size_t payloadBytes) {
  return udpFrame(4, POD, port, FRIEND, 8'080, payloadBytes);
}

ConnName nameOf(std::vector<uint8_t>& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  PacketView view;
  CHECK(parsePacket(frame, &view) == DropReason::None);
  CHECK(parseTransport(&view) == DropReason::None);
  return connNameOf(view.key, view.icmpRole, view.icmpType, 0);
}

size_t lengthOf(uint32_t name) { return 20 + 2 * (name % 500); }

// Waits until all programs that have begun have ended.
void gracePeriod() { CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0); }

// Threads that run the program on frames of one side, until they are ended.
class Readers {
 public:
  Readers(int program, int space, uint32_t interface, std::vector<std::vector<uint8_t>> frames)
      : program_(program), space_(space), interface_(interface), frames_(std::move(frames)) {
    CHECK(pthread_create(
              &thread_, nullptr,
              [](void* self) -> void* {
                static_cast<Readers*>(self)->run();
                return nullptr;
              },
              this) == 0);
  }
  ~Readers() {
    ends_.store(true);
    pthread_join(thread_, nullptr);
  }
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

 private:
  void run() {
    CHECK(setns(space_, CLONE_NEWNET) == 0);
    while (!ends_.load(std::memory_order_relaxed)) {
      for (const std::vector<uint8_t>& frame : frames_) {
        bpf_attr attributes = noAttributes();
        __sk_buff context = {};
        context.ifindex = interface_;
        attributes.test.prog_fd = static_cast<uint32_t>(program_);
        attributes.test.data_in = reinterpret_cast<uint64_t>(frame.data());
        attributes.test.data_size_in = static_cast<uint32_t>(frame.size());
        attributes.test.ctx_in = reinterpret_cast<uint64_t>(&context);
        attributes.test.ctx_size_in = sizeof context;
        attributes.test.repeat = RUNS;
        CHECK(callBpf(BPF_PROG_TEST_RUN, &attributes) == 0);
      }
    }
  }

  int program_;
  int space_;
  uint32_t interface_;
  std::vector<std::vector<uint8_t>> frames_;
  std::atomic<bool> ends_ = false;
  pthread_t thread_ = {};
};

// A table, the program, and two interfaces whose frames it takes; `valid` is false where this
// process may make none.
struct Rig {
  Rig() {
    int fd = -1;
    const Status made = createNamespace(&fd);
    space.reset(fd);
    if (!made.ok() || !memory.isMapped()) {
      CHECK(made.ok() || made.error == EPERM);
      return;
    }
    CHECK(createVethPair(fd, "left", fd, "right").ok());
    CHECK(ConnTable::create(SIZE, SECRET, &table, 0, &memory.descriptors()).ok());
    CHECK(programs.load({&memory, SIZE, SECRET}).ok());
    const char* const names[] = {"left", "right"};
    for (uint32_t number = 0; number < 2; ++number) {
      CHECK(
          inNamespace(fd, [&] { return interfaceIndex(names[number], &interfaces[number]); }).ok());
      SluiceWireSide side = {};
      side.partner = side.up = interfaces[number];
      side.number = number;
      programs.putSide(interfaces[number], side);
    }
    programs.control().generation = FIRST_GENERATION;
    valid = true;
  }
  // What went up at a side is done with.
  void drain(uint32_t side) {
    SluiceWireWay& way = programs.way(side);
    __atomic_store_n(&way.done, __atomic_load_n(&way.sent, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
  }
  // Frames that must not pass, and would have: their own, which wait on the way up, held them.
  [[nodiscard]] uint64_t wronged() {
    const auto counted = programs.counted(FORBIDDEN);
    return counted[SLUICE_WIRE_PASSED] + counted[SLUICE_WIRE_ORDER] + counted[SLUICE_WIRE_HELD];
  }

  SharedMemory memory{SIZE};
  Descriptor space;
  ConnTable table;
  WirePrograms programs;
  uint32_t interfaces[2] = {};
  bool valid = false;
};

// The index of the table, as the worker has it.
class MappedBuckets {
 public:
  explicit MappedBuckets(int map)
      : buckets_(static_cast<SluiceConnBucket*>(
            mmap(nullptr, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0))) {
    CHECK(buckets_ != MAP_FAILED);
  }
  ~MappedBuckets() { munmap(buckets_, BYTES); }
  MappedBuckets(const MappedBuckets&) = delete;
  MappedBuckets& operator=(const MappedBuckets&) = delete;
  SluiceConnBucket& operator[](size_t at) const { return buckets_[at]; }

 private:
  static constexpr size_t BYTES = sizeof(SluiceConnBucket) * (SIZE / 4);
  SluiceConnBucket* buckets_;
};

// The worker's side: connections come and go in the places of the table.
class Writer {
 public:
  explicit Writer(Rig* rig) : rig_(rig), buckets_(rig->memory.descriptors().buckets) {
    for (uint32_t name = 0; name < NAMES; ++name) {
      allowed_.push_back(datagram(static_cast<uint16_t>(1'000 + name), lengthOf(name)));
    }
    for (uint32_t name = 0; name < 3; ++name) {
      forbidden_.push_back(datagram(static_cast<uint16_t>(60'000 + name), 20));
    }
    ConnEntry* const any = insert(allowed_[0]);
    first_ = any;
    rig_->table.remove(*any);
    // A slot of the index leads from its name to whatever place the connection is said to be in.
    closedKey_ = nameOf(forbidden_[0]).key;
    const uint64_t hash = sluiceHashConn(&closedKey_, SECRET[0], SECRET[1]);
    closedBucket_ = &buckets_[sluiceHomeOf(hash, ConnTable::bucketsFor(SIZE))];
    while (closedBucket_->tags[closedSlot_] != 0) ++closedSlot_;
    closedBucket_->tags[closedSlot_] = sluiceTagOf(hash);
  }

  [[nodiscard]] const std::vector<std::vector<uint8_t>>& allowed() const { return allowed_; }
  // Most of them are of the one whose places others take.
  [[nodiscard]] std::vector<std::vector<uint8_t>> forbidden() const {
    std::vector<std::vector<uint8_t>> frames(10, forbidden_[0]);
    frames.insert(frames.end(), forbidden_.begin() + 1, forbidden_.end());
    return frames;
  }
  [[nodiscard]] uint64_t counted() const { return counted_; }
  [[nodiscard]] uint64_t rounds() const { return rounds_; }

  // All that may pass come, each in a place that another connection had, never admitted, until two
  // stores before; others are for the other side, or of an older policy. Then the policy is
  // swapped, perhaps, and all are taken back.
  void round() {
    ++rounds_;
    std::array<ConnEntry*, NAMES + 2> entries;
    for (uint32_t name = 0; name < NAMES; ++name) {
      ConnEntry* const entry = entries[name] = insert(allowed_[name]);
      prepare(*entry, 0);
      const ConnKey key = entry->key;
      entry->key = closedKey_;
      closedBucket_->entries[closedSlot_] = static_cast<uint32_t>(entry - first_);
      hesitate();
      entry->key = key;
      admit(*entry, generation_);
    }
    ConnEntry* const stale = entries[NAMES] = insert(forbidden_[1]);
    prepare(*stale, 0);
    admit(*stale, generation_ - STALE);
    ConnEntry* const turned = entries[NAMES + 1] = insert(forbidden_[2]);
    prepare(*turned, 1);
    admit(*turned, generation_);
    pause();
    if (random_() % 2 == 0) swap({entries.data(), NAMES});
    for (ConnEntry* each : entries) takeBack(*each);
    gracePeriod();
    pause();
    for (uint32_t name = 0; name < NAMES; ++name) count(*entries[name], name);
    CHECK(stale->packets() == 0 && turned->packets() == 0);
    rig_->drain(ALLOWED);
    pause();
    for (uint32_t name = 0; name < NAMES; ++name) CHECK(entries[name]->packets() == last_[name]);
    // Their places are taken in another order next time.
    std::shuffle(entries.begin(), entries.end(), random_);
    for (ConnEntry* each : entries) rig_->table.remove(*each);
  }

 private:
  ConnEntry* insert(std::vector<uint8_t>& frame) {
    const ConnName name = nameOf(frame);
    DropReason reason;
    ConnEntry* const entry =
        rig_->table.insert(name, rig_->table.hintOf(name), {}, nowUs(), &reason);
    CHECK(entry != nullptr);
    entry->state = ConnState::Unreplied;
    entry->expiresUs = UINT64_MAX;
    return entry;
  }

  static void prepare(ConnEntry& entry, uint8_t isOutside) {
    for (SluiceConnEnd& end : entry.ends) {
      end.isOutside = isOutside;
      end.seenUs = nowUs();
    }
  }
  static void admit(ConnEntry& entry, uint32_t generation) {
    for (SluiceConnEnd& end : entry.ends) {
      __atomic_store_n(&end.admitted, generation, __ATOMIC_RELEASE);
    }
  }

  // Half of them are stamped ahead; then one number. The others are left behind.
  void swap(std::span<ConnEntry* const> entries) {
    const auto isStamped = [](size_t at) { return at % 2 == 0; };
    for (size_t at = 0; at < entries.size(); ++at) {
      if (!isStamped(at)) continue;
      for (SluiceConnEnd& end : entries[at]->ends) {
        __atomic_store_n(&end.admitted, generation_ + 1, __ATOMIC_RELEASE);
      }
    }
    ++generation_;
    __atomic_store_n(&rig_->programs.control().generation, generation_, __ATOMIC_RELEASE);
    gracePeriod();
    std::array<uint64_t, NAMES> before;
    for (size_t at = 0; at < entries.size(); ++at) before[at] = packetsOf(*entries[at]);
    pause();
    for (size_t at = 0; at < entries.size(); ++at) {
      CHECK(isStamped(at) || packetsOf(*entries[at]) == before[at]);
    }
  }

  static void takeBack(ConnEntry& entry) {
    for (SluiceConnEnd& end : entry.ends) __atomic_store_n(&end.admitted, 0, __ATOMIC_RELEASE);
  }

  // All that was ever passed is counted by now, for this connection and no other.
  void count(const ConnEntry& entry, uint32_t name) {
    last_[name] = packetsOf(entry);
    CHECK(entry.bytes() == last_[name] * allowed_[name].size());
    counted_ += last_[name];
  }

  static uint64_t packetsOf(const ConnEntry& entry) {
    return __atomic_load_n(&entry.ends[0].packets, __ATOMIC_RELAXED) +
           __atomic_load_n(&entry.ends[1].packets, __ATOMIC_RELAXED);
  }

  // For as long as a program takes, or a little more.
  void hesitate() {
    for (uint32_t step = random_() % 4'000; step > 0; --step) __asm__ volatile("" ::: "memory");
  }

  // Lets the readers have the processor.
  void pause() {
    const timespec some = {0, static_cast<long>(random_() % 50'000)};
    nanosleep(&some, nullptr);
  }

  Rig* rig_;
  MappedBuckets buckets_;
  SluiceConnBucket* closedBucket_ = nullptr;
  uint32_t closedSlot_ = 0;
  ConnKey closedKey_;
  ConnEntry* first_ = nullptr;  // in the table's first place
  std::mt19937 random_{1};
  std::vector<std::vector<uint8_t>> allowed_;
  std::vector<std::vector<uint8_t>> forbidden_;
  uint32_t generation_ = FIRST_GENERATION;
  std::array<uint64_t, NAMES> last_ = {};
  uint64_t counted_ = 0;
  uint64_t rounds_ = 0;
};

}  // namespace

TEST("wire torn: nothing passes by a mixture of two connections, and what passes is counted") {
  Rig rig;
  if (!rig.valid) return;
  Writer writer(&rig);
  {
    Readers forbidden(rig.programs.wire(), rig.space.get(), rig.interfaces[FORBIDDEN],
                      writer.forbidden());
    Readers allowed(rig.programs.wire(), rig.space.get(), rig.interfaces[ALLOWED],
                    writer.allowed());
    const uint64_t endUs = nowUs() + static_cast<uint64_t>(secondsWanted() * 1e6);
    // It would prove little if the threads had hardly met.
    const auto haveMet = [&] { return writer.counted() > 1'000 && writer.rounds() > 10; };
    while ((nowUs() < endUs || !haveMet()) && failures() == 0) writer.round();
  }
  const uint64_t wronged = rig.wronged();
  CHECK(wronged == 0);
  CHECK(rig.programs.counted(ALLOWED)[SLUICE_WIRE_PASSED] == writer.counted());
  if (std::getenv("SLUICE_TORN_SECONDS") != nullptr) {
    std::printf("# %llu rounds, %llu frames passed, %llu that must not\n",
                static_cast<unsigned long long>(writer.rounds()),
                static_cast<unsigned long long>(writer.counted()),
                static_cast<unsigned long long>(wronged));
  }
}

namespace {

constexpr uint32_t SEGMENTS = 300;
constexpr uint32_t SEGMENT_BYTES = 10;

std::vector<uint8_t> segmentOf(bool fromPod, const TcpFields& fields) {
  return fromPod ? tcpFrame(4, POD, 1'000, FRIEND, 8'080, fields)
                 : tcpFrame(4, FRIEND, 8'080, POD, 1'000, fields);
}

// An end's segments, each of which acknowledges as much of the other's.
std::vector<std::vector<uint8_t>> segmentsOf(bool fromPod) {
  std::vector<std::vector<uint8_t>> frames;
  for (uint32_t number = 0; number < SEGMENTS; ++number) {
    frames.push_back(segmentOf(fromPod, {.flags = TCP_ACK,
                                         .sequence = (fromPod ? 100 : 200) + number * SEGMENT_BYTES,
                                         .acknowledgement = fromPod ? 200u : 100u,
                                         .payloadBytes = SEGMENT_BYTES}));
  }
  return frames;
}

TcpOutcome takeShared(ConnEntry& entry, std::vector<uint8_t> bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  PacketView view;
  CHECK(parsePacket(frame, &view) == DropReason::None);
  CHECK(parseTransport(&view) == DropReason::None);
  const ConnName name = connNameOf(view.key, view.icmpRole, view.icmpType, 0);
  bool restarts = false;
  const TcpOutcome outcome = trackSharedTcp(entry, name.sender, view.tcp, &restarts);
  CHECK(!restarts);
  if (outcome.fate == TcpFate::Accepted) entry.count(name.sender, frame.length);
  return outcome;
}

bool isOlder(const TcpEnd& now, const TcpEnd& before) {
  return sluiceBefore(now.sentEnd, before.sentEnd) || sluiceBefore(now.ackMax, before.ackMax) ||
         sluiceBefore(now.peerLimit, before.peerLimit) || now.windowMax < before.windowMax;
}

}  // namespace

TEST("wire torn: a connection's numbers only rise, whoever takes which segment, and none is lost") {
  Rig rig;
  if (!rig.valid) return;
  std::vector<uint8_t> first =
      segmentOf(true, {.flags = TCP_SYN, .sequence = 99, .options = {1, 3, 3, 7}});
  const ConnName name = nameOf(first);
  DropReason reason;
  ConnEntry* const entry = rig.table.insert(name, rig.table.hintOf(name), {}, nowUs(), &reason);
  REQUIRE(entry != nullptr);
  TcpSegment syn;
  syn.flags = TCP_SYN;
  syn.sequence = 99;
  syn.window = 65'535;
  syn.windowScale = 7;
  openTcp(*entry, name.sender, syn);
  for (SluiceConnEnd& end : entry->ends) end.seenUs = nowUs();
  entry->admit(FIRST_GENERATION);
  const TcpFields answer = {
      .flags = TCP_SYN | TCP_ACK, .sequence = 199, .acknowledgement = 100, .options = {1, 3, 3, 7}};
  CHECK(takeShared(*entry, segmentOf(false, answer)).fate == TcpFate::Accepted);
  uint64_t taken = 1;
  {
    const Readers pod(rig.programs.wire(), rig.space.get(), rig.interfaces[0], segmentsOf(true));
    const Readers peer(rig.programs.wire(), rig.space.get(), rig.interfaces[1], segmentsOf(false));
    const auto own = segmentsOf(true);
    const auto other = segmentsOf(false);
    std::mt19937 random(1);
    TcpEnd before[2] = {entry->ends[0].tcp, entry->ends[1].tcp};
    const uint64_t endUs = nowUs() + static_cast<uint64_t>(secondsWanted() * 1e6);
    while ((nowUs() < endUs || taken < 1'000) && failures() == 0) {
      const auto& frames = random() % 2 == 0 ? own : other;
      if (takeShared(*entry, frames[random() % SEGMENTS]).fate == TcpFate::Accepted) ++taken;
      for (uint32_t side = 0; side < 2; ++side) rig.drain(side);
      for (size_t end = 0; end < 2; ++end) {
        const TcpEnd now = entry->ends[end].tcp;
        CHECK(!isOlder(now, before[end]));
        before[end] = now;
      }
    }
  }
  CHECK(entry->state == ConnState::Established);
  for (const uint32_t start : {100u, 200u}) {
    const TcpEnd& end = entry->ends[start == 100 ? name.sender : 1 - name.sender].tcp;
    CHECK(end.sentEnd == start + SEGMENTS * SEGMENT_BYTES);
  }
  CHECK(entry->packets() == rig.programs.counted()[SLUICE_WIRE_PASSED] + taken);
  CHECK(rig.programs.counted()[SLUICE_WIRE_PASSED] > 1'000);
}

}  // namespace sluice::testing
