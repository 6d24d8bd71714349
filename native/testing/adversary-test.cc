// Goal: who chooses packets to make the filter forget, slow down or judge by a mixture does not get
//       there: floods, names chosen to collide, and swaps under fire.
// Method: the numbers that matter are counted, none is timed: `sluice bench flood` does that.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "native/conntrack/conn-table.h"
#include "native/testing/allocations.h"
#include "native/testing/blob-builder.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;

// One end's part of a connection from the friend to the pod's port 8080.
std::vector<uint8_t> fromFriend(uint16_t port, uint8_t flags, uint32_t sequence) {
  return tcpFrame(
      4, FRIEND, port, POD, 8080,
      {.flags = flags, .sequence = sequence, .acknowledgement = flags == TCP_SYN ? 0u : 501u});
}
std::vector<uint8_t> fromPod(uint16_t port, uint8_t flags, uint32_t sequence) {
  return tcpFrame(4, POD, 8080, FRIEND, port,
                  {.flags = flags, .sequence = sequence, .acknowledgement = 101});
}

bool begins(OnePod& pod, uint16_t port, uint64_t nowUs) {
  return pod.fromNet(fromFriend(port, TCP_SYN, 100), nowUs).opened;
}
bool completes(OnePod& pod, uint16_t port, uint64_t nowUs) {
  return pod.fromPod(fromPod(port, TCP_SYN | TCP_ACK, 500), nowUs).passes() &&
         pod.fromNet(fromFriend(port, TCP_ACK, 101), nowUs).passes();
}

// Two policies that differ in one rule, judged by UDP port: BOTH and ONLY_A, or BOTH and ONLY_B.
constexpr uint16_t BOTH = 1'000;
constexpr uint16_t ONLY_A = 2'000;
constexpr uint16_t ONLY_B = 3'000;
constexpr uint16_t NEITHER = 4'000;

Blob policyWith(uint16_t port) {
  BlobBuilder builder;
  const uint32_t nothing = builder.addPortSet({});
  const uint32_t all = builder.addPortSet({{ProtocolSlot::Udp, 0, 65'535}});
  const uint32_t some =
      builder.addPortSet({{ProtocolSlot::Udp, BOTH, BOTH}, {ProtocolSlot::Udp, port, port}});
  const uint32_t others = builder.addLeaf({0, NONE, 0});
  const uint32_t pod = builder.addLeaf({1, 0, 0});
  builder.setDefaultLeaf(others);
  builder.mapV4({10, 10, 0, POD}, pod);
  builder.addEndpoint({0, 1});
  builder.setCells(2, 2, {some, nothing, all, all});
  return builder.build();
}

}  // namespace

TEST("adversary: a flood of SYNs touches no established connection and keeps no new one out") {
  constexpr uint32_t SIZE = 1'024;
  constexpr uint16_t ESTABLISHED = 64;
  constexpr uint16_t FIRST_OF_FLOOD = 4'000;
  constexpr uint32_t SYNS = 100'000;
  // Two SYNs in three of the table's room come in between a new client's SYN and its answer.
  constexpr uint32_t ANSWER_AFTER = SIZE * 2 / 3;
  OnePod pod({.connectionsMax = SIZE});
  for (uint16_t port = 0; port < ESTABLISHED; ++port) {
    REQUIRE(begins(pod, port, 0) && completes(pod, port, 0));
  }
  uint32_t waiting = 0;
  uint16_t client = ESTABLISHED;
  uint32_t served = 0;
  std::vector<uint8_t> syn = fromFriend(0, TCP_SYN, 1);
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(syn.data());
  frame.length = static_cast<uint32_t>(syn.size());
  uint64_t allocations = 0;
  for (uint32_t sent = 0; sent < SYNS; ++sent) {
    const uint16_t port = static_cast<uint16_t>(FIRST_OF_FLOOD + sent % 60'000);
    syn[34] = static_cast<uint8_t>(port >> 8);
    syn[35] = static_cast<uint8_t>(port);
    // A checksum is none of the filter's concern.
    const uint64_t before = allocationsOfThread();
    const Judgement judgement = pod.filter->judge(frame, pod.outside, *pod.table, sent);
    allocations += allocationsOfThread() - before;
    CHECK(judgement.opened);
    if (waiting == 0 && client < ESTABLISHED + 128) {
      CHECK(begins(pod, client, sent));
      waiting = ANSWER_AFTER;
    } else if (waiting > 0 && --waiting == 0) {
      served += completes(pod, client++, sent) ? 1 : 0;
    }
  }
  CHECK(served == 128);
  CHECK(allocations == 0);
  CHECK(pod.filter->connectionCount() == SIZE);
  CHECK(pod.filter->evicted(ConnClass::Unanswered) >= SYNS - SIZE - 1'000);
  for (uint16_t port = 0; port < client; ++port) {
    CHECK(pod.fromNet(fromFriend(port, TCP_ACK, 101), SYNS).passes());
    CHECK(pod.fromPod(fromPod(port, TCP_ACK, 501), SYNS).passes());
  }
}

TEST("adversary: names chosen to collide under one secret do not under another") {
  constexpr uint32_t CHOSEN = 500;
  constexpr HashSecret GUESSED = {};
  constexpr HashSecret OURS = {0x0123456789abcdef, 0xfedcba9876543210};
  const ConnHash guessed(GUESSED);
  std::vector<ConnName> names;
  for (uint32_t number = 0; names.size() < CHOSEN; ++number) {
    FlowKey key;
    key.family = 4;
    key.protocol = PROTOCOL_UDP;
    key.source = {10, static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16), 1};
    key.destination = {10, 200, 0, 1};
    key.sourcePort = static_cast<uint16_t>(number);
    key.destinationPort = 53;
    const ConnName name = connNameOf(key, IcmpRole::None, 0, 0);
    // The bits that say where in the table a name stands: all of these in one place.
    if ((guessed.one(name.key) >> 22 & 0x3ff) == 0) names.push_back(name);
  }
  const auto kept = [&](const HashSecret& secret) {
    ConnTable table;
    if (!ConnTable::create(65'536, secret, &table).ok()) return uint32_t{0};
    for (const ConnName& name : names) {
      DropReason reason;
      ConnEntry* entry = table.insert(name, table.hintOf(name), {}, 1, &reason);
      if (entry == nullptr) continue;
      entry->state = ConnState::Unreplied;
      entry->expiresUs = 10;
    }
    return table.size();
  };
  // The choice was a good one: who knows the secret fills one neighbourhood. Nobody does.
  CHECK(kept(GUESSED) < CHOSEN);
  CHECK(kept(OURS) == CHOSEN);
}

TEST("adversary: a thousand swaps under fire, and each packet judged by one table or the other") {
  constexpr int SWAPS = 1'000;
  constexpr uint16_t LASTING = 60'000;  // the port of a connection that both policies allow
  OnePod pod;
  const std::array<Blob, 2> policies = {policyWith(ONLY_A), policyWith(ONLY_B)};
  const std::array<uint32_t, 1> links = {0};
  TableSlot slot{1};
  uint32_t generation = 0;
  REQUIRE(slot.publish(policies[0].bytes(), links, &generation).ok());

  std::atomic<bool> stop = false;
  std::atomic<uint64_t> wrong = 0;
  std::atomic<uint64_t> judgedByA = 0;
  std::atomic<uint64_t> judgedByB = 0;
  std::thread judge([&] {
    constexpr std::array<uint16_t, 5> PORTS = {BOTH, ONLY_A, ONLY_B, NEITHER, BOTH};
    std::array<std::vector<uint8_t>, PORTS.size()> bytes;
    std::array<Frame, PORTS.size()> frames;
    std::array<Judgement, PORTS.size()> judgements;
    for (size_t at = 0; at < PORTS.size(); ++at) {
      bytes[at] = udpFrame(4, FRIEND, LASTING, POD, PORTS[at]);
      frames[at].bytes = reinterpret_cast<std::byte*>(bytes[at].data());
      frames[at].length = static_cast<uint32_t>(bytes[at].size());
    }
    for (uint64_t round = 0; !stop.load(std::memory_order_relaxed); ++round) {
      // New connections each time, but for the last frame's.
      const uint16_t port = static_cast<uint16_t>(1 + round % 50'000);
      for (size_t at = 0; at + 1 < PORTS.size(); ++at) {
        bytes[at][34] = static_cast<uint8_t>(port >> 8);
        bytes[at][35] = static_cast<uint8_t>(port);
      }
      const TableInForce* table = slot.read(0);
      pod.filter->judgeBatch(frames, pod.outside, *table, round, judgements.data());
      pod.filter->forgetClosed();
      const bool byA = table->generation % 2 == 1;
      (byA ? judgedByA : judgedByB).fetch_add(1, std::memory_order_relaxed);
      const std::array<bool, PORTS.size()> want = {true, byA, !byA, false, true};
      for (size_t at = 0; at < PORTS.size(); ++at) {
        if (judgements[at].passes() != want[at]) ++wrong;
      }
    }
    slot.idle(0);
  });
  for (int swap = 1; swap <= SWAPS; ++swap) {
    if (!slot.publish(policies[static_cast<size_t>(swap % 2)].bytes(), links, &generation).ok()) {
      ++wrong;
    }
    // Whoever judges gets to judge by each.
    const std::atomic<uint64_t>& now = swap % 2 == 0 ? judgedByA : judgedByB;
    const uint64_t before = now.load();
    while (now.load() == before) std::this_thread::yield();
  }
  stop = true;
  judge.join();
  CHECK(wrong == 0);
  CHECK(generation == SWAPS + 1);
  CHECK(judgedByA >= SWAPS / 2 && judgedByB >= SWAPS / 2);
}

}  // namespace sluice::testing
