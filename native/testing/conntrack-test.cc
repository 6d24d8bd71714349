// Goal: the connection table finds one entry from both directions, gives way in the right order and
//       forgets in time; the TCP state machine is the documented one, step by step.
// Method: the whole state table written out a second time, in the notation of nf_conntrack's
//         documentation; entries by the thousand in small tables.
#include <array>
#include <string_view>
#include <vector>

#include "native/conntrack/conn-table.h"
#include "native/conntrack/tcp-track.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};

FlowKey flow(uint32_t number, uint8_t family = 4, uint8_t protocol = PROTOCOL_UDP) {
  FlowKey key;
  key.family = family;
  key.protocol = protocol;
  key.source = {10, 0, 0, 1};
  key.destination = {10, 1, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)};
  key.sourcePort = static_cast<uint16_t>(40'000 + (number >> 16));
  key.destinationPort = 53;
  return key;
}

FlowKey reversed(const FlowKey& key) {
  FlowKey back = key;
  std::swap(back.source, back.destination);
  std::swap(back.sourcePort, back.destinationPort);
  return back;
}

ConnName nameOf(const FlowKey& key) { return connNameOf(key, IcmpRole::None, 0, 0); }

ConnEntry* find(ConnTable& table, const ConnName& name, uint64_t nowUs) {
  return table.find(name, table.hintOf(name), nowUs);
}

ConnEntry* open(ConnTable& table, const FlowKey& key, uint64_t nowUs, uint64_t lifeUs) {
  const ConnName name = nameOf(key);
  DropReason reason;
  ConnEntry* entry = table.insert(name, table.hintOf(name), {}, nowUs, &reason);
  if (entry == nullptr) return nullptr;
  entry->state = ConnState::Unreplied;
  entry->expiresUs = nowUs + lifeUs;
  return entry;
}

TcpSegment segment(uint8_t flags, uint32_t sequence, uint32_t acknowledgement,
                   uint32_t payloadBytes = 0, uint16_t window = 1000) {
  TcpSegment made;
  made.flags = flags;
  made.sequence = sequence;
  made.acknowledgement = acknowledgement;
  made.payloadBytes = payloadBytes;
  made.window = window;
  return made;
}

// A connection whose handshake is done: end 0 opened it at `a`, end 1 answered at `b`.
ConnEntry established(uint32_t a, uint32_t b, uint16_t window = 1000) {
  ConnEntry entry;
  openTcp(entry, 0, segment(TCP_SYN, a, 0, 0, window));
  CHECK(trackTcp(entry, 1, segment(TCP_SYN | TCP_ACK, b, a + 1, 0, window)).fate ==
        TcpFate::Accepted);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, a + 1, b + 1, 0, window)).fate == TcpFate::Accepted);
  CHECK(entry.state == ConnState::Established);
  return entry;
}

constexpr std::array<std::string_view, TCP_STATE_COUNT> STATES = {"NO", "SS", "SR", "ES", "FW",
                                                                  "CW", "LA", "TW", "CL", "S2"};
constexpr std::array<std::string_view, TCP_EVENT_COUNT> OPENER_STEPS = {
    "SS SS IG IG IG IG IG SS SS S2", "IV IV SR IV IV IV IV IV IV SR",
    "IV IV FW FW LA LA LA TW CL IV", "IV IV ES ES CW CW TW TW CL IV",
    "IV CL CL CL CL CL CL CL CL CL"};
constexpr std::array<std::string_view, TCP_EVENT_COUNT> OTHER_STEPS = {
    "IV S2 IV IV IV IV IV SS IV S2", "IV SR IG IG IG IG IG IG IG SR",
    "IV IV FW FW LA LA LA TW CL IV", "IV IG SR ES CW CW TW TW CL IG",
    "IV CL CL CL CL CL CL CL CL CL"};

}  // namespace

TEST("conntrack: every step of the TCP state machine") {
  for (const bool opener : {true, false}) {
    for (size_t event = 0; event < TCP_EVENT_COUNT; ++event) {
      for (size_t state = 0; state < TCP_STATE_COUNT; ++state) {
        const std::string_view want =
            (opener ? OPENER_STEPS : OTHER_STEPS)[event].substr(state * 3, 2);
        const TcpStep step =
            tcpStep(opener, static_cast<TcpEvent>(event), static_cast<ConnState>(state));
        const std::string_view got = step.kind == TcpStep::Kind::Invalid ? "IV"
                                     : step.kind == TcpStep::Kind::Ignore
                                         ? "IG"
                                         : STATES[static_cast<size_t>(step.state)];
        CHECK(got == want);
      }
    }
  }
}

TEST("conntrack: both directions find one entry, other flows none") {
  ConnTable table;
  REQUIRE(ConnTable::create(64, SECRET, &table).ok());
  const FlowKey key = flow(7);
  ConnEntry* entry = open(table, key, 0, 100);
  REQUIRE(entry != nullptr);
  CHECK(find(table, nameOf(key), 1) == entry);
  CHECK(find(table, nameOf(reversed(key)), 1) == entry);
  CHECK(nameOf(key).sender == entry->opener());
  CHECK(nameOf(reversed(key)).sender != entry->opener());
  CHECK(originalKeyOf(*entry) == key);
  for (FlowKey other : {flow(8), flow(7, 6), flow(7, 4, PROTOCOL_TCP)}) {
    CHECK(find(table, nameOf(other), 1) == nullptr);
  }
  CHECK(find(table, connNameOf(key, IcmpRole::None, 0, 1), 1) == nullptr);
  CHECK(find(table, nameOf(key), 100) == nullptr);  // timed out
  CHECK(table.size() == 0);
}

TEST("conntrack: an ICMP query and one the other way have two names") {
  FlowKey ask = flow(1, 4, PROTOCOL_ICMP);
  ask.sourcePort = ask.destinationPort = 77;
  const ConnName request = connNameOf(ask, IcmpRole::Request, 8, 0);
  const ConnName reply = connNameOf(reversed(ask), IcmpRole::Reply, 0, 0);
  CHECK(request.key == reply.key && request.sender != reply.sender);
  CHECK(connNameOf(reversed(ask), IcmpRole::Request, 8, 0).key != request.key);
  CHECK(connNameOf(ask, IcmpRole::Reply, 0, 0).key != request.key);
  CHECK(connNameOf(ask, IcmpRole::Request, 13, 0).key != request.key);
  CHECK(connNameOf(reversed(ask), IcmpRole::Reply, 14, 0).key ==
        connNameOf(ask, IcmpRole::Request, 13, 0).key);
}

TEST("conntrack: a full table drops the oldest unreplied connection, never an answered one") {
  constexpr uint32_t SIZE = 100;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  for (uint32_t each = 0; each < SIZE; ++each) {
    ConnEntry* entry = open(table, flow(each), each, 1'000'000);
    REQUIRE(entry != nullptr);
    if (each % 2 == 0) table.settle(*entry, ConnClass::Assured);
  }
  for (uint32_t each = 0; each < SIZE / 2; ++each) {
    REQUIRE(open(table, flow(1000 + each), 200, 1'000'000) != nullptr);
    CHECK(find(table, nameOf(flow(2 * each + 1)), 200) == nullptr);
    if (each + 1 < SIZE / 2) CHECK(find(table, nameOf(flow(2 * each + 3)), 200) != nullptr);
    table.settle(*find(table, nameOf(flow(1000 + each)), 200), ConnClass::Assured);
  }
  CHECK(table.evicted(ConnClass::Unanswered) == SIZE / 2);
  CHECK(open(table, flow(5000), 200, 1) == nullptr);
  for (uint32_t each = 0; each < SIZE; each += 2) {
    CHECK(find(table, nameOf(flow(each)), 200) != nullptr);
  }
  CHECK(table.size() == SIZE);
  // What has timed out goes before anybody is refused.
  CHECK(open(table, flow(5000), 2'000'000, 1) != nullptr);
}

TEST("conntrack: thousands of entries come, go and are found") {
  constexpr uint32_t SIZE = 4096;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t each = 0; each < SIZE; ++each) {
      const FlowKey key = flow(round * SIZE + each, each % 2 == 0 ? 4 : 6);
      ConnEntry* entry = open(table, key, round, 100);
      REQUIRE(entry != nullptr);
      table.settle(*entry, ConnClass::Assured);
    }
    CHECK(table.size() == SIZE);
    for (uint32_t each = 0; each < SIZE; ++each) {
      const FlowKey key = flow(round * SIZE + each, each % 2 == 0 ? 4 : 6);
      ConnEntry* entry = find(table, nameOf(reversed(key)), round);
      REQUIRE(entry != nullptr);
      CHECK(originalKeyOf(*entry) == key);
      if (each % 3 == 0) table.remove(*entry);
    }
    size_t count = 0;
    for (uint32_t step = 0; step < SIZE / 64; ++step) count += table.expire(1000, 64);
    CHECK(count == SIZE - (SIZE + 2) / 3);
    CHECK(table.size() == 0);
  }
}

TEST("conntrack: sizes that cannot be are refused") {
  ConnTable table;
  CHECK(ConnTable::create(0, SECRET, &table).code == StatusCode::Argument);
  CHECK(ConnTable::create(UINT32_MAX, SECRET, &table).code == StatusCode::Argument);
  CHECK(ConnTable::create(64, SECRET, &table, 65).code == StatusCode::Argument);
  CHECK(ConnTable::create(64, SECRET, &table, 64).ok());
}

TEST("conntrack: data inside the windows passes, outside it does not and changes nothing") {
  constexpr uint32_t A = 0xffffff00;  // wraps on the way
  constexpr uint32_t B = 5000;
  ConnEntry entry = established(A, B);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, A + 1, B + 1, 500)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, A + 501, B + 1, 500)).fate == TcpFate::Accepted);
  const ConnEntry before = entry;
  for (const TcpSegment& wild : {
           segment(TCP_ACK, A + 100'000, B + 1, 10),       // ahead of the window
           segment(TCP_ACK, A - 100'000, B + 1, 10),       // long past
           segment(TCP_ACK, A + 1001, B + 900, 0),         // acknowledges what was never sent
           segment(TCP_ACK, A + 1001, B - 200'000, 0),     // acknowledges from long ago
           segment(TCP_FIN | TCP_ACK, A + 90'000, B + 1),  //
       }) {
    const TcpOutcome outcome = trackTcp(entry, 0, wild);
    CHECK(outcome.fate == TcpFate::Dropped && outcome.reason == DropReason::OutOfWindow);
    CHECK(entry.ends[0].tcp.sentEnd == before.ends[0].tcp.sentEnd && entry.state == before.state &&
          entry.ends[0].tcp.peerLimit == before.ends[0].tcp.peerLimit &&
          entry.ends[0].tcp.ackMax == before.ends[0].tcp.ackMax);
  }
  CHECK(trackTcp(entry, 1, segment(TCP_ACK, B + 1, A + 1001)).fate == TcpFate::Accepted);
}

TEST("conntrack: windows are scaled only when both ends offer it") {
  for (const bool both : {true, false}) {
    ConnEntry entry;
    TcpSegment syn = segment(TCP_SYN, 100, 0);
    syn.windowScale = 7;
    TcpSegment answer = segment(TCP_SYN | TCP_ACK, 900, 101);
    answer.windowScale = both ? 7 : WINDOW_SCALE_ABSENT;
    openTcp(entry, 0, syn);
    CHECK(trackTcp(entry, 1, answer).fate == TcpFate::Accepted);
    CHECK(trackTcp(entry, 0, segment(TCP_ACK, 101, 901)).fate == TcpFate::Accepted);
    const TcpOutcome far = trackTcp(entry, 1, segment(TCP_ACK, 901 + 100'000, 101, 100));
    CHECK((far.fate == TcpFate::Accepted) == both);
  }
}

TEST("conntrack: a reset ends a connection only at the exact sequence number") {
  ConnEntry entry = established(100, 900);
  const auto reset = [&entry](uint32_t sequence) {
    return trackTcp(entry, 1, segment(TCP_RST, sequence, 0)).fate;
  };
  CHECK(reset(901 + 50'000) == TcpFate::Dropped);
  CHECK(reset(901 - 50'000) == TcpFate::Dropped);
  CHECK(entry.state == ConnState::Established);
  CHECK(reset(901 + 10) == TcpFate::Ignored);
  CHECK(entry.state == ConnState::Established);
  CHECK(reset(901) == TcpFate::Accepted);
  CHECK(entry.state == ConnState::Close);
}

TEST("conntrack: a refusal must acknowledge the SYN") {
  ConnEntry entry;
  openTcp(entry, 0, segment(TCP_SYN, 100, 0));
  CHECK(trackTcp(entry, 1, segment(TCP_RST, 101, 0)).fate == TcpFate::Dropped);
  CHECK(trackTcp(entry, 1, segment(TCP_RST | TCP_ACK, 0, 100)).fate == TcpFate::Dropped);
  CHECK(trackTcp(entry, 1, segment(TCP_RST | TCP_ACK, 0, 102)).fate == TcpFate::Dropped);
  CHECK(trackTcp(entry, 1, segment(TCP_SYN | TCP_ACK, 900, 105)).fate == TcpFate::Dropped);
  CHECK(entry.state == ConnState::SynSent);
  CHECK(trackTcp(entry, 1, segment(TCP_RST | TCP_ACK, 0, 101)).fate == TcpFate::Accepted);
  CHECK(entry.state == ConnState::Close);
}

TEST("conntrack: ends that both lost their state agree on a new connection") {
  ConnEntry entry = established(100, 900);
  CHECK(trackTcp(entry, 0, segment(TCP_SYN, 7'000'000, 0)).fate == TcpFate::Ignored);
  CHECK(entry.state == ConnState::Established);
  CHECK(trackTcp(entry, 1, segment(TCP_SYN | TCP_ACK, 3'000'000, 55)).fate == TcpFate::Ignored);
  CHECK(entry.state == ConnState::Established);
  CHECK(trackTcp(entry, 1, segment(TCP_SYN | TCP_ACK, 3'000'000, 7'000'001)).fate ==
        TcpFate::Accepted);
  CHECK(entry.state == ConnState::SynReceived);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, 7'000'001, 3'000'001)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 1, segment(TCP_ACK, 3'000'001, 7'000'001, 100)).fate == TcpFate::Accepted);
}

TEST("conntrack: a closed window lets a probe through and opens again") {
  ConnEntry entry = established(100, 900, 100);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, 101, 901, 100)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 1, segment(TCP_ACK, 901, 201, 0, 0)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, 201, 901, 1)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 1, segment(TCP_ACK, 901, 201, 0, 0)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 1, segment(TCP_ACK, 901, 201, 0, 100)).fate == TcpFate::Accepted);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, 201, 901, 100)).fate == TcpFate::Accepted);
}

TEST("conntrack: a connection that is over is begun anew by a SYN, which is judged") {
  for (const uint8_t ender : {uint8_t{0}, uint8_t{1}}) {
    ConnEntry entry = established(100, 900);
    CHECK(trackTcp(entry, 1, segment(TCP_FIN | TCP_ACK, 901, 101)).fate == TcpFate::Accepted);
    CHECK(trackTcp(entry, 0, segment(TCP_FIN | TCP_ACK, 101, 902)).fate == TcpFate::Accepted);
    CHECK(trackTcp(entry, 1, segment(TCP_ACK, 902, 102)).fate == TcpFate::Accepted);
    CHECK(entry.state == ConnState::TimeWait);
    CHECK(trackTcp(entry, ender, segment(TCP_SYN, 50'000, 0)).fate == TcpFate::Reopens);
    CHECK(entry.state == ConnState::TimeWait);
  }
}

TEST("conntrack: quoted sequence numbers") {
  ConnEntry entry = established(100, 900);
  CHECK(trackTcp(entry, 0, segment(TCP_ACK, 101, 901, 1000)).fate == TcpFate::Accepted);
  CHECK(quotedSequenceFits(entry, 0, 101));
  CHECK(quotedSequenceFits(entry, 0, 1101));
  CHECK(!quotedSequenceFits(entry, 0, 1102));
  CHECK(!quotedSequenceFits(entry, 0, 101 - 500'000));
  CHECK(quotedSequenceFits(entry, 1, 900));
  CHECK(!quotedSequenceFits(entry, 1, 5000));
}
