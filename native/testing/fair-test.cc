// Goal:   a flood on one link costs another link at most its share of the worker, whatever the
//         frames.
// Method: links that make their own frames, endlessly or a number in each round. The frames sent
//         after a number of rounds measure the time. No clock is read, so every run is the same.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "native/io/frame-buffers.h"
#include "native/testing/blob-builder.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"
#include "native/worker/worker.h"

namespace sluice {
namespace {

using testing::Blob;
using testing::BlobBuilder;
using testing::FrameBuilder;
using testing::OnePod;
using testing::tcpFrame;
using testing::udpFrame;

constexpr uint8_t POD = 10;
constexpr uint8_t OTHER_POD = 11;
constexpr uint8_t PEER = 12;
constexpr uint32_t SECOND_US = 1'000'000;
constexpr uint64_t WITHOUT_END = UINT64_MAX;
constexpr uint32_t L4_OFFSET = 34;

// What a link brings: copies of one frame.
struct Kind {
  std::vector<uint8_t> bytes;
  Offload offload = {};
  bool eachNew = false;  // each from another port: a new connection
};

class MakingLink final : public Link {
 public:
  MakingLink(Kind kind, bool carriesOffload)
      : kind_(std::move(kind)), carriesOffload_(carriesOffload) {
    for (auto& buffer : buffers_) buffer = kind_.bytes;
  }

  uint64_t left = 0;  // frames that it has still to bring
  uint64_t brought = 0;
  uint64_t sent = 0;

  size_t receive(std::span<Frame> frames) noexcept override {
    size_t count = 0;
    size_t bytes = 0;
    for (; count < frames.size() && left > 0 && bytes < FrameBuffers::BATCH_BYTES; ++count) {
      std::vector<uint8_t>& buffer = buffers_[count];
      std::copy(kind_.bytes.begin(), kind_.bytes.end(), buffer.begin());
      if (kind_.eachNew) {
        buffer[L4_OFFSET] = static_cast<uint8_t>(brought >> 8);
        buffer[L4_OFFSET + 1] = static_cast<uint8_t>(brought);
      }
      Frame& frame = frames[count];
      frame = {};
      frame.bytes = reinterpret_cast<std::byte*>(buffer.data());
      frame.length = static_cast<uint32_t>(buffer.size());
      frame.offload = kind_.offload;
      bytes += FrameBuffers::batchBytesOf(frame);
      ++brought;
      if (left != WITHOUT_END) --left;
    }
    return count;
  }
  void release() noexcept override {}
  bool transmit(const Frame&) noexcept override {
    ++sent;
    return true;
  }
  size_t flush() noexcept override { return 0; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return carriesOffload_; }

 private:
  Kind kind_;
  bool carriesOffload_;
  std::array<std::vector<uint8_t>, BATCH_FRAMES_MAX> buffers_;
};

// Both pods reach everybody by UDP, and nobody by TCP.
Blob table() {
  BlobBuilder builder;
  const uint32_t udp = builder.addPortSet({{ProtocolSlot::Udp, 0, 65'535}});
  builder.setCells(1, 1, {udp});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  for (const uint8_t last : {POD, OTHER_POD}) {
    builder.addEndpoint({.ingressRow = 0, .egressRow = 0});
    builder.mapV4({10, 10, 0, last}, builder.addLeaf({0, last - 10u, 0}));
  }
  return builder.build();
}

Kind smallFrames(uint8_t pod, uint8_t peer = PEER) { return {udpFrame(4, pod, 4'000, peer, 53)}; }

// Each is cut into as many segments as may be.
Kind superframes(uint8_t pod) {
  return {udpFrame(4, pod, 4'001, PEER, 53, size_t{8} * SUPERFRAME_SEGMENTS_MAX),
          {1, 5, L4_OFFSET + 8, 8, L4_OFFSET, 6}};
}

Kind newConnections(uint8_t pod) { return {udpFrame(4, pod, 0, PEER, 53), {}, true}; }

Kind largeFrames(uint8_t pod) { return {udpFrame(4, pod, 4'002, PEER, 53, 9'000)}; }

Kind denied(uint8_t pod) { return {tcpFrame(4, pod, 4'003, PEER, 80, {.flags = TCP_SYN})}; }

// Of datagrams whose first fragment never comes.
Kind laterFragments(uint8_t pod) {
  FrameBuilder frame(4, pod, PEER, PROTOCOL_UDP);
  frame.fragment = 0x2000 | 100;
  frame.payload.assign(800, 0);
  return {frame.build()};
}

// A wire in front of each pod, in one worker. What one brings goes to nobody that answers.
struct Wires {
  explicit Wires(const std::vector<Kind>& kinds, bool rejecting = false, size_t number = 0) {
    bool ok = EventRing::create(64, &events).ok();
    const FilterOptions options = {.connectionsMax = 1'024, .fragmentsMax = 64};
    ok = ok && Worker::create(options, &tables, number, events.get(), &worker).ok();
    for (size_t pod = 0; ok && pod < kinds.size(); ++pod) {
      std::array<uint32_t, 2> ids = {NONE, NONE};
      for (const size_t end : {size_t{0}, size_t{1}}) {
        auto link = std::make_unique<MakingLink>(kinds[pod], false);
        links.push_back(link.get());
        const auto mac = pod == 0 ? OnePod::POD_MAC : OnePod::PEER_MAC;
        ok = ok &&
             worker
                 ->addLink(std::move(link), end == 0 ? std::optional(mac) : std::nullopt, &ids[end])
                 .ok();
      }
      ok = ok && worker->joinWire(ids[0], ids[1], static_cast<uint8_t>(pod), false).ok();
    }
    uint32_t generation = 0;
    const std::vector<uint32_t> linkByEndpoint = {0, 2};
    ok = ok && tables.publish(table().bytes(), linkByEndpoint, &generation).ok();
    if (!ok) std::abort();
    worker->setRejecting(rejecting);
  }

  [[nodiscard]] MakingLink& from(size_t pod) const { return *links[2 * pod]; }
  [[nodiscard]] MakingLink& to(size_t pod) const { return *links[2 * pod + 1]; }

  size_t round() { return worker->round(nowUs += 10); }

  TableSlot tables{2};
  std::unique_ptr<EventRing> events;
  std::unique_ptr<Worker> worker;
  std::vector<MakingLink*> links;
  uint64_t nowUs = SECOND_US;
};

TEST("fair: who is alone never waits, whatever the frames cost") {
  for (const Kind& kind : {smallFrames(POD), superframes(POD), newConnections(POD),
                           largeFrames(POD), denied(POD), laterFragments(POD)}) {
    Wires wires({kind, smallFrames(OTHER_POD)});
    wires.from(0).left = WITHOUT_END;
    for (int round = 0; round < 200; ++round) CHECK(wires.round() > 0);
  }
}

// Half of the work is no more than half of the frames where both bring the same, so each flood is
// compared with what the other link sends beside a flood of its own kind.
TEST("fair: a flood takes no more than its share from a link that has as much to do") {
  constexpr uint64_t FRAMES = 20'000;
  const auto floodSent = [](const Kind& flood) {
    Wires wires({flood, smallFrames(OTHER_POD)});
    wires.from(0).left = wires.from(1).left = WITHOUT_END;
    while (wires.to(1).sent < FRAMES) wires.round();
    return wires.to(0).sent;
  };
  // A segment costs a little more than a frame, which is received too but not cut.
  CHECK(floodSent(superframes(POD)) < FRAMES * 12 / 10);
  CHECK(floodSent(superframes(POD)) > FRAMES * 8 / 10);
  CHECK(floodSent(smallFrames(POD)) > FRAMES * 99 / 100);
  CHECK(floodSent(smallFrames(POD)) < FRAMES * 101 / 100);
  // What costs more gets fewer frames for as much work.
  const uint64_t large = floodSent(largeFrames(POD));
  const uint64_t newOnes = floodSent(newConnections(POD));
  CHECK(large < FRAMES * 3 / 4 && large > FRAMES / 2);
  CHECK(newOnes < FRAMES * 95 / 100 && newOnes > FRAMES * 3 / 4);
}

// Goal: a link that sends a little is served after one batch of a flood.
// Method: what is sent for the flood until the frame is taken. Rounds are not counted: where
// nothing is sent for a flood they are short, and whoever sends a frame in each may have used up a
// share that is as large.
TEST("fair: beside a flood a frame that comes now and then waits for one batch") {
  for (const bool both : {false, true}) {
    for (const Kind& kind : {smallFrames(POD), superframes(POD), newConnections(POD),
                             largeFrames(POD), denied(POD), laterFragments(POD)}) {
      Wires wires({kind, smallFrames(OTHER_POD)}, true);
      wires.from(0).left = WITHOUT_END;
      if (both) wires.to(0).left = WITHOUT_END;
      uint64_t most = 0;
      for (int turn = 0; turn < 1'000; ++turn) {
        const uint64_t before = wires.to(0).sent + wires.from(0).sent;
        wires.from(1).left = 1;
        for (int rounds = 0; wires.from(1).left > 0 && rounds < 100; ++rounds) wires.round();
        CHECK(wires.from(1).left == 0);
        most = std::max(most, wires.to(0).sent + wires.from(0).sent - before);
      }
      // Of 64 KiB in segments of 8 bytes there would be 8,192 in a frame.
      CHECK(most <= (both ? 2 : 1) * uint64_t{4} * SUPERFRAME_SEGMENTS_MAX);
      CHECK(wires.from(0).brought >= 5);
    }
  }
}

TEST("fair: one wire's two links share as well") {
  Wires wires({superframes(POD)});
  wires.from(0).left = WITHOUT_END;
  wires.round();
  for (int turn = 0; turn < 500; ++turn) {
    wires.to(0).left = 1;
    wires.round();
    CHECK(wires.to(0).left == 0);
  }
}

TEST("fair: denied senders are told on each link, however many are on another") {
  Wires wires({denied(POD), denied(OTHER_POD)}, true);
  wires.from(0).left = 10'000;
  while (wires.from(0).left > 0) wires.round();
  CHECK(wires.from(0).sent >= RejectLimit::AT_ONCE);
  wires.from(1).left = 10;
  wires.round();
  CHECK(wires.from(1).sent == 10);
}

// Two workers, with frames that come to the first and belong to the second.
TEST("fair: another worker's flood leaves room for other links, and takes no more than its share") {
  const Steering steering = {.workers = 2, .multiplier = 0x9e3779b1};
  const auto peerOfSecond = [&steering](uint8_t pod) {
    for (uint8_t peer = PEER; peer < 250; ++peer) {
      std::vector<uint8_t> bytes = udpFrame(4, pod, 4'000, peer, 53);
      Frame frame;
      frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
      frame.length = static_cast<uint32_t>(bytes.size());
      if (steering.workerOf(frame, 0) == 1) return peer;
    }
    std::abort();
  };
  const std::vector<Kind> kinds = {smallFrames(POD, peerOfSecond(POD)),
                                   smallFrames(OTHER_POD, peerOfSecond(OTHER_POD))};
  Wires first(kinds, false, 0);
  Wires second(kinds, false, 1);
  const std::array<Worker*, 2> workers = {first.worker.get(), second.worker.get()};
  for (Worker* worker : workers) REQUIRE(worker->join(steering, workers).ok());

  // The second is slower, so that the way to it is full.
  constexpr uint64_t POLITE = 1'000;
  first.from(0).left = WITHOUT_END;
  for (uint64_t each = 0; each < POLITE; ++each) {
    first.from(1).left = 1;
    for (int round = 0; round < 3; ++round) first.round();
    second.round();
  }
  LinkCounters flooding = {};
  LinkCounters polite = {};
  REQUIRE(first.worker->readLink(0, &flooding).ok());
  REQUIRE(first.worker->readLink(2, &polite).ok());
  CHECK(flooding.droppedFrames > POLITE * 64);
  CHECK(polite.droppedFrames == 0);
  CHECK(second.to(0).sent > POLITE * 50);

  // A link of the second's own, with as much to do.
  second.from(1).left = WITHOUT_END;
  const uint64_t before = second.to(0).sent;
  const uint64_t beforeOwn = second.to(1).sent;
  for (int turn = 0; turn < 1'000; ++turn) {
    first.round();
    second.round();
  }
  const uint64_t handedOver = second.to(0).sent - before;
  const uint64_t own = second.to(1).sent - beforeOwn;
  CHECK(own > 1'000 * 40 && own >= handedOver * 9 / 10);
  CHECK(handedOver >= own * 9 / 10);
  second.from(1).left = first.from(0).left = 0;
  while (second.round() > 0) continue;
  CHECK(second.to(1).sent == POLITE + second.from(1).brought);
}

}  // namespace
}  // namespace sluice
