// Goal:   threads that run at the same time do not race: workers that hand frames to each other,
//         swaps, reads of events and counters, jobs, links added and removed, stop and start.
// Method: a data plane on links that make their own frames. The proof is ThreadSanitizer's (npm run
//         test:threads); what is counted must also add up.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "native/testing/blob-builder.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"
#include "native/worker/dataplane.h"

namespace sluice {
namespace {

using testing::Blob;
using testing::BlobBuilder;
using testing::OnePod;
using testing::tcpFrame;
using testing::udpFrame;

constexpr uint8_t POD = 10;
constexpr uint8_t PEERS_FIRST = 20;
constexpr uint8_t PEERS = 40;
constexpr uint32_t WORKERS = 2;

// Frames come in without end, up to a quota; what goes out is counted.
class SourceLink final : public Link {
 public:
  SourceLink(std::vector<std::vector<uint8_t>> kinds, uint64_t quota)
      : kinds_(std::move(kinds)), quota_(quota) {}

  size_t receive(std::span<Frame> frames) noexcept override {
    size_t count = 0;
    for (; count < frames.size() && count < 16 && made_ < quota_; ++count, ++made_) {
      std::vector<uint8_t>& bytes = kinds_[made_ % kinds_.size()];
      frames[count] = {};
      frames[count].bytes = reinterpret_cast<std::byte*>(bytes.data());
      frames[count].length = static_cast<uint32_t>(bytes.size());
    }
    return count;
  }
  void release() noexcept override {}
  bool transmit(const Frame&) noexcept override { return true; }
  size_t flush() noexcept override { return 0; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }

 private:
  std::vector<std::vector<uint8_t>> kinds_;
  uint64_t quota_;
  uint64_t made_ = 0;
};

// The pod reaches everybody on TCP and, where it is `open`, on UDP; nobody opens anything to it.
Blob table(bool open) {
  BlobBuilder builder;
  const uint32_t nothing = builder.addPortSet({});
  std::vector<BlobBuilder::Ports> ports = {{ProtocolSlot::Tcp, 0, 65'535}};
  if (open) ports.push_back({ProtocolSlot::Udp, 0, 65'535});
  builder.setCells(2, 1, {nothing, builder.addPortSet(ports)});
  builder.addEndpoint({.ingressRow = 0, .egressRow = 1});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  builder.mapV4({10, 10, 0, POD}, builder.addLeaf({0, 0, 0}));
  return builder.build();
}

std::vector<std::unique_ptr<Link>> linksOf(bool inside, uint64_t quota) {
  std::vector<std::unique_ptr<Link>> links;
  for (uint32_t worker = 0; worker < WORKERS; ++worker) {
    std::vector<std::vector<uint8_t>> kinds;
    for (uint8_t peer = PEERS_FIRST; peer < PEERS_FIRST + PEERS; ++peer) {
      const auto port = static_cast<uint16_t>(4'000 + peer % 7);
      if (inside) {
        kinds.push_back(udpFrame(4, POD, port, peer, 53));
        kinds.push_back(tcpFrame(4, POD, port, peer, 80, {.flags = TCP_SYN, .sequence = 1}));
      } else {
        kinds.push_back(udpFrame(4, peer, 53, POD, port));
      }
    }
    links.push_back(std::make_unique<SourceLink>(std::move(kinds), quota));
  }
  return links;
}

// A wire with two workers.
std::unique_ptr<Dataplane> makeWire(uint64_t quota) {
  DataplaneOptions options;
  options.filter.connectionsMax = 256;
  options.filter.fragmentsMax = 16;
  options.workers = WORKERS;
  options.eventsMax = 256;
  std::unique_ptr<Dataplane> dataplane;
  if (!Dataplane::create(options, &dataplane).ok()) return nullptr;
  std::array<uint32_t, 2> ids = {NONE, NONE};
  for (const bool inside : {true, false}) {
    if (!dataplane->addLink(linksOf(inside, quota), OnePod::POD_MAC, nullptr, &ids[inside ? 0 : 1])
             .ok()) {
      return nullptr;
    }
  }
  return dataplane->joinWire(ids[0], ids[1], 0, false).ok() ? std::move(dataplane) : nullptr;
}

uint64_t allDrops(const Dataplane& dataplane) {
  uint64_t sum = 0;
  for (size_t reason = 1; reason < DROP_REASON_COUNT; ++reason) {
    sum += dataplane.drops(static_cast<DropReason>(reason));
  }
  return sum;
}

}  // namespace

// Runs only where it is asked for: the proof that a race is reported.
TEST("threads: a planted race, where SLUICE_PLANT_RACE asks for it") {
  if (std::getenv("SLUICE_PLANT_RACE") == nullptr) return;
  uint64_t raced = 0;
  const auto count = [&raced] {
    for (int turn = 0; turn < 1'000; ++turn) ++raced;
  };
  std::thread one(count);
  std::thread other(count);
  one.join();
  other.join();
  CHECK(raced <= 2'000);
}

TEST("threads: swaps, events, counters and jobs while two workers hand frames over") {
  constexpr int SWAPS = 200;
  constexpr uint64_t QUOTA = 20'000;  // of each way
  const auto dataplane = makeWire(QUOTA);
  REQUIRE(dataplane != nullptr);
  const std::array<Blob, 2> blobs = {table(true), table(false)};
  const std::vector<uint32_t> links = {0};
  uint32_t generation = 0;
  REQUIRE(dataplane->swapTable(blobs[0].bytes(), links, &generation).ok());
  REQUIRE(dataplane->start().ok());

  std::atomic<bool> stop = false;
  uint64_t drained = 0;
  uint64_t told = 0;
  std::thread events([&] {
    std::array<FlowEvent, 64> room;
    for (size_t count = 1; count > 0 || !stop.load();) {
      count = dataplane->drainEvents(room);
      for (size_t at = 0; at < count; ++at) told += room[at].lostBefore;
      drained += count;
    }
  });
  uint64_t readings = 0;
  std::thread counters([&] {
    while (!stop.load()) {
      LinkCounters link = {};
      (void)dataplane->readLink(0, &link);
      if (dataplane->connectionCount() > 256) ++readings;
      (void)(dataplane->eventsLost() + allDrops(*dataplane));
    }
  });
  for (int swap = 1; swap <= SWAPS; ++swap) {
    CHECK(dataplane->swapTable(blobs[swap % 2].bytes(), links, &generation).ok());
    if (swap % 20 != 0) continue;
    // All connections of both workers, some at a time.
    uint32_t worker = 0;
    uint32_t place = 0;
    for (size_t listed = 64; listed > 0;) {
      auto job = std::make_unique<ConnJob>();
      job->records.resize(64);
      job->worker = worker;
      job->place = place;
      REQUIRE(dataplane->startJob(std::move(job)).ok());
      while (!dataplane->jobDone()) std::this_thread::yield();
      listed = dataplane->job()->count;
      CHECK(listed <= 64);
      worker = dataplane->job()->worker;
      place = dataplane->job()->place;
    }
    CHECK(worker == 1);
  }
  const auto received = [&dataplane] {
    LinkCounters inside = {};
    LinkCounters outside = {};
    (void)dataplane->readLink(0, &inside);
    (void)dataplane->readLink(1, &outside);
    return inside.receivedFrames + outside.receivedFrames;
  };
  // Frames that found a handover full are dropped by who received them, and not received by
  // anybody.
  constexpr uint64_t ALL = 2 * WORKERS * QUOTA;
  while (received() + dataplane->drops(DropReason::TransmitFull) < ALL) std::this_thread::yield();
  dataplane->stop();
  stop = true;
  events.join();
  counters.join();
  CHECK(readings == 0);
  LinkCounters inside = {};
  LinkCounters outside = {};
  REQUIRE(dataplane->readLink(0, &inside).ok());
  REQUIRE(dataplane->readLink(1, &outside).ok());
  const uint64_t sent = inside.sentFrames + outside.sentFrames;
  CHECK(sent > 0);
  CHECK(sent + allDrops(*dataplane) == ALL);
  CHECK(drained == dataplane->eventsPushed());
  CHECK(told <= dataplane->eventsLost());
}

// A link that blocks its worker, as a fault would, until the test releases it.
class HoldingLink final : public Link {
 public:
  struct Hold {
    std::atomic<bool> wanted = false;
    std::atomic<bool> held = false;
    std::atomic<uint64_t> asked = 0;
  };

  explicit HoldingLink(Hold* hold) : hold_(hold) {}
  size_t receive(std::span<Frame>) noexcept override {
    hold_->asked.fetch_add(1);
    for (; hold_->wanted.load(); std::this_thread::yield()) hold_->held.store(true);
    hold_->held.store(false);
    return 0;
  }
  void release() noexcept override {}
  bool transmit(const Frame&) noexcept override { return true; }
  size_t flush() noexcept override { return 0; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }

 private:
  Hold* hold_;
};

// What the watchdog reads: the worker that hangs may be far ahead of the one that continues.
TEST("threads: one worker that hangs ends the progress of all, at once") {
  DataplaneOptions options;
  options.filter.connectionsMax = 256;
  options.workers = WORKERS;
  options.poll = PollMode::Spin;
  std::unique_ptr<Dataplane> dataplane;
  REQUIRE(Dataplane::create(options, &dataplane).ok());
  std::array<HoldingLink::Hold, WORKERS> holds;
  std::vector<std::unique_ptr<Link>> links;
  for (HoldingLink::Hold& hold : holds) links.push_back(std::make_unique<HoldingLink>(&hold));
  uint32_t id = NONE;
  REQUIRE(dataplane->addLink(std::move(links), OnePod::POD_MAC, nullptr, &id).ok());
  holds[0].wanted = true;
  REQUIRE(dataplane->start().ok());
  while (holds[1].asked.load() < 10'000) std::this_thread::yield();
  holds[0].wanted = false;
  const auto goesOn = [&dataplane] {
    const uint64_t before = dataplane->progress();
    while (dataplane->progress() < before + 3) std::this_thread::yield();
  };
  goesOn();
  holds[1].wanted = true;
  while (!holds[1].held.load()) std::this_thread::yield();
  // The round in which it hangs counts, once the other has gone on too.
  for (const uint64_t until = holds[0].asked.load() + 3; holds[0].asked.load() < until;) {
    (void)dataplane->progress();
    std::this_thread::yield();
  }
  const uint64_t held = dataplane->progress();
  for (const uint64_t until = holds[0].asked.load() + 1'000; holds[0].asked.load() < until;) {
    CHECK(dataplane->progress() == held);
    std::this_thread::yield();
  }
  holds[1].wanted = false;
  goesOn();
  dataplane->stop();
}

// Threads that are there already: no more than the workers.
static std::atomic<uint32_t> threadsStarted = 0;

TEST("threads: a change of links asks the system for no thread, which it could refuse") {
  const auto dataplane = makeWire(1'000'000);
  REQUIRE(dataplane != nullptr);
  threadsStarted = 0;
  dataplane->onThreadStart([]() noexcept -> Status {
    return ++threadsStarted <= WORKERS ? Status{} : Status::system("pthread_create", EAGAIN);
  });
  REQUIRE(dataplane->start().ok());
  for (int turn = 0; turn < 5; ++turn) {
    uint32_t id = NONE;
    REQUIRE(dataplane->addLink(linksOf(false, 100), OnePod::PEER_MAC, nullptr, &id).ok());
    REQUIRE(dataplane->removeLink(id).ok());
    const uint64_t before = dataplane->progress();
    while (dataplane->progress() < before + 2) std::this_thread::yield();
  }
  CHECK(threadsStarted == WORKERS);
  // A start that is refused leaves it as it was.
  dataplane->stop();
  CHECK(!dataplane->start().ok());
  CHECK(!dataplane->start().ok());
  threadsStarted = 0;
  CHECK(dataplane->start().ok());
  dataplane->stop();
}

TEST("threads: links come and go, and workers stop and start, under frames") {
  const auto dataplane = makeWire(1'000'000);
  REQUIRE(dataplane != nullptr);
  const Blob blob = table(true);
  uint32_t generation = 0;
  REQUIRE(dataplane->swapTable(blob.bytes(), std::vector<uint32_t>{0}, &generation).ok());
  REQUIRE(dataplane->start().ok());
  std::atomic<bool> stop = false;
  std::thread events([&] {
    std::array<FlowEvent, 64> room;
    while (!stop.load()) (void)dataplane->drainEvents(room);
  });
  for (int turn = 0; turn < 20; ++turn) {
    uint32_t id = NONE;
    REQUIRE(dataplane->addLink(linksOf(false, 100), OnePod::PEER_MAC, nullptr, &id).ok());
    REQUIRE(dataplane->removeLink(id).ok());
    if (turn % 5 != 0) continue;
    dataplane->stop();
    REQUIRE(dataplane->start().ok());
  }
  // A worker ends in the middle of its work.
  dataplane->stop();
  stop = true;
  events.join();
  CHECK(dataplane->progress() > 0);
}

}  // namespace sluice
