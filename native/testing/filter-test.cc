// Goal: timers, table swaps, related errors, a full table and wild bytes, through the whole filter.
// Method: one pod behind a wire; time is a number. The wild bytes are frames with a few bits
//         changed, from a fixed seed.
#include <array>
#include <vector>

#include "native/testing/blob-builder.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr uint64_t SECOND = 1'000'000;
constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint8_t SERVER = 12;
constexpr uint8_t STRANGER = 13;

// Opens TCP from the pod (port 40000, sequence 100) to the server (5432, sequence 900).
void handshake(OnePod& pod, uint64_t nowUs, uint8_t family = 4) {
  CHECK(
      pod.fromPod(tcpFrame(family, POD, 40'000, SERVER, 5432, {.flags = TCP_SYN, .sequence = 100}),
                  nowUs)
          .opened);
  CHECK(pod.fromNet(tcpFrame(family, SERVER, 5432, POD, 40'000,
                             {.flags = TCP_SYN | TCP_ACK, .sequence = 900, .acknowledgement = 101}),
                    nowUs)
            .passes());
  CHECK(pod.fromPod(tcpFrame(family, POD, 40'000, SERVER, 5432,
                             {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 901}),
                    nowUs)
            .passes());
}

Judgement serverData(OnePod& pod, uint64_t nowUs, uint8_t family = 4) {
  return pod.fromNet(
      tcpFrame(family, SERVER, 5432, POD, 40'000,
               {.flags = TCP_ACK, .sequence = 901, .acknowledgement = 101, .payloadBytes = 10}),
      nowUs);
}

// An ICMP error towards the pod that quotes a whole frame.
std::vector<uint8_t> errorAbout(const std::vector<uint8_t>& quoted, uint8_t family, uint8_t from,
                                uint8_t to, uint8_t type = 0) {
  FrameBuilder error(family, from, to, family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  if (type == 0) type = family == 4 ? 3 : 1;
  error.payload = {type, 1, 0, 0, 0, 0, 0, 0};
  error.payload.insert(error.payload.end(), quoted.begin() + ETHERNET_HEADER_BYTES, quoted.end());
  return error.build();
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint32_t below(uint32_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32) % limit;
  }

 private:
  uint64_t state_;
};

}  // namespace

TEST("filter: each TCP state lives as long as its timer") {
  struct Stage {
    ConnState state;
    uint64_t seconds;
  };
  const std::vector<Stage> stages = {
      {ConnState::SynSent, 120},  {ConnState::SynReceived, 60}, {ConnState::Established, 432'000},
      {ConnState::FinWait, 120},  {ConnState::CloseWait, 60},   {ConnState::LastAck, 30},
      {ConnState::TimeWait, 120},
  };
  const std::vector<std::pair<bool, TcpFields>> course = {
      {true, {.flags = TCP_SYN, .sequence = 100}},
      {false, {.flags = TCP_SYN | TCP_ACK, .sequence = 900, .acknowledgement = 101}},
      {true, {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 901}},
      {true, {.flags = TCP_FIN | TCP_ACK, .sequence = 101, .acknowledgement = 901}},
      {false, {.flags = TCP_ACK, .sequence = 901, .acknowledgement = 102}},
      {false, {.flags = TCP_FIN | TCP_ACK, .sequence = 901, .acknowledgement = 102}},
      {true, {.flags = TCP_ACK, .sequence = 102, .acknowledgement = 902}},
  };
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    for (const bool late : {false, true}) {
      OnePod pod;
      for (size_t step = 0; step <= stage; ++step) {
        const auto& [fromPod, fields] = course[step];
        const auto frame = fromPod ? tcpFrame(4, POD, 40'000, SERVER, 5432, fields)
                                   : tcpFrame(4, SERVER, 5432, POD, 40'000, fields);
        CHECK((fromPod ? pod.fromPod(frame, SECOND) : pod.fromNet(frame, SECOND)).passes());
      }
      const uint64_t end = SECOND + stages[stage].seconds * SECOND;
      const size_t count = pod.filter->expire(late ? end : end - 1, 262'144);
      CHECK(count == (late ? 1 : 0));
      CHECK(pod.filter->connectionCount() == (late ? 0u : 1u));
    }
  }
}

TEST("filter: UDP and ICMP timers, and only packets that pass refresh them") {
  const auto ask = udpFrame(4, POD, 4000, SERVER, 53);
  const auto answer = udpFrame(4, SERVER, 53, POD, 4000);
  {
    OnePod pod;
    CHECK(pod.fromPod(ask, 0).opened);
    CHECK(pod.fromNet(answer, 30 * SECOND).reason == DropReason::PolicyIngress);
    CHECK(pod.fromNet(answer, 31 * SECOND).reason == DropReason::PolicyIngress);
  }
  OnePod pod;
  CHECK(pod.fromPod(ask, 0).opened);
  CHECK(pod.fromNet(answer, 29 * SECOND).passes());
  // Answered, it has no more time than before; it has when it goes on.
  CHECK(pod.fromNet(answer, 59 * SECOND).reason == DropReason::PolicyIngress);
  CHECK(pod.fromPod(ask, 60 * SECOND).opened);
  CHECK(pod.fromNet(answer, 61 * SECOND).passes());
  CHECK(!pod.fromPod(ask, 90 * SECOND).opened);
  CHECK(!pod.fromPod(ask, 209 * SECOND).opened);
  CHECK(pod.fromNet(answer, 328 * SECOND).passes());
  CHECK(pod.fromNet(answer, 448 * SECOND).reason == DropReason::PolicyIngress);

  CHECK(pod.fromPod(echoFrame(4, POD, FRIEND, false, 9), 0).opened);
  CHECK(pod.fromNet(echoFrame(4, FRIEND, POD, true, 9), 29 * SECOND).passes());
  CHECK(pod.fromNet(echoFrame(4, FRIEND, POD, true, 9), 60 * SECOND).reason ==
        DropReason::NoConnection);
}

// Goal:   an end of an unknown connection gets a reset only if policy allows it, and the verdict
//         does not change.
// Method: segments from the middle of connections in each direction, as they come after a restart.
TEST("filter: the ends of an unknown connection are told as far as policy allows it") {
  struct Case {
    bool isFromPod;
    uint8_t peer;
    uint16_t podPort;
    uint16_t peerPort;
    bool resetsSender;
    bool resetsReceiver;
  };
  const std::vector<Case> cases = {
      {true, SERVER, 40'000, 5432, true, true},     // what the pod may open
      {false, FRIEND, 8080, 40'000, true, true},    // what is open to the friend
      {true, FRIEND, 8080, 40'000, true, true},     // an answer, where the pod may open it as well
      {false, SERVER, 40'000, 5432, false, false},  // an answer to the pod, as a stranger could
                                                    // forge
      {false, FRIEND, 22, 40'000, false, false},    // what policy denies, though the pod may go out
      {true, SERVER, 40'000, 22, false, false},     // what policy denies to the pod
      {true, STRANGER, 8080, 40'000, false, false},
      {false, STRANGER, 8080, 40'000, false, false},
  };
  const std::vector<uint8_t> kinds = {TCP_ACK, TCP_ACK | TCP_FIN, TCP_SYN | TCP_ACK, TCP_RST,
                                      TCP_RST | TCP_ACK};
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const Case& each : cases) {
      for (const uint8_t flags : kinds) {
        OnePod pod;
        const TcpFields fields = {.flags = flags, .sequence = 500, .acknowledgement = 900};
        const Judgement judgement =
            each.isFromPod
                ? pod.fromPod(tcpFrame(family, POD, each.podPort, each.peer, each.peerPort, fields),
                              0)
                : pod.fromNet(tcpFrame(family, each.peer, each.peerPort, POD, each.podPort, fields),
                              0);
        CHECK(judgement.reason == DropReason::NoConnection);
        // An opener that waits for its answer sends its SYN again.
        const bool told = (flags & (TCP_RST | TCP_SYN)) == 0;
        CHECK(judgement.resetsSender == (each.resetsSender && told));
        CHECK(judgement.resetsReceiver == (each.resetsReceiver && told));
        CHECK(pod.filter->connectionCount() == 0);
      }
    }
    // What went to many is answered by nobody.
    OnePod pod;
    auto group = tcpFrame(family, POD, 40'000, SERVER, 5432, {.flags = TCP_ACK});
    group[0] |= 1;
    CHECK(!pod.fromPod(group, 0).resetsSender);
    // Whoever is known is told by nobody: its connection is there.
    handshake(pod, 0, family);
    CHECK(serverData(pod, 1, family).passes());
    const Judgement blind = pod.fromNet(
        tcpFrame(family, SERVER, 5432, POD, 40'000,
                 {.flags = TCP_ACK, .sequence = 0x4000'0000, .acknowledgement = 0x4000'0000}),
        2);
    CHECK(blind.reason == DropReason::OutOfWindow && !blind.resetsSender && !blind.resetsReceiver);
  }
}

TEST("filter: a swap cuts what the new table denies, on its next packet, unless told to keep") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    OnePod pod;
    handshake(pod, 0, family);
    pod.publish();
    CHECK(serverData(pod, 1, family).passes());
    pod.publish(OnePod::Policy::DenyAll);
    const Judgement cut = serverData(pod, 2, family);
    CHECK(cut.cut && cut.reason == DropReason::PolicyEgress && cut.deniedBy == DENIED_BY_EGRESS);
    CHECK(pod.filter->connectionCount() == 0);
    CHECK(serverData(pod, 3, family).reason == DropReason::NoConnection);
    CHECK(pod.filter->counters().cut.read() == 1);
  }
  OnePod pod({.established = Established::Keep});
  handshake(pod, 0);
  pod.publish(OnePod::Policy::DenyAll);
  CHECK(serverData(pod, 1).passes());
  CHECK(serverData(pod, 2).passes());
}

TEST("filter: with Cut a swap ends what the new table denies without waiting for packets") {
  for (const auto established : {Established::Recheck, Established::Cut}) {
    OnePod pod({.established = established});
    handshake(pod, 0);
    CHECK(pod.fromPod(udpFrame(4, POD, 4000, SERVER, 53), 1).opened);
    const uint32_t before = pod.table->generation;
    pod.publish();
    while (pod.filter->sweep(*pod.table, 2)) CHECK(pod.table->generation > before);
    CHECK(pod.filter->connectionCount() == 2 && pod.filter->cut().empty());
    pod.publish(OnePod::Policy::DenyAll);
    while (pod.filter->sweep(*pod.table, 3)) CHECK(pod.filter->connectionCount() <= 2);
    if (established == Established::Recheck) {
      CHECK(pod.filter->connectionCount() == 2);
      continue;
    }
    CHECK(pod.filter->connectionCount() == 0);
    CHECK(pod.filter->counters().cut.read() == 2);
    REQUIRE(pod.filter->cut().size() == 2);
    for (const CutConn& cut : pod.filter->cut()) {
      CHECK(cut.swept && cut.deniedBy == DENIED_BY_EGRESS && cut.endpoint[cut.opener] == 0);
    }
  }
}

TEST("filter: what audited policies alone deny passes, and is told from what is allowed") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    OnePod pod;
    pod.publish(OnePod::Policy::Audited);
    const auto allowed = pod.fromPod(udpFrame(family, POD, 4000, SERVER, 53), 0);
    CHECK(allowed.opened && allowed.auditedBy == 0);
    const auto audited = pod.fromPod(udpFrame(family, POD, 4000, STRANGER, 53), 0);
    CHECK(audited.opened && audited.passes() && audited.auditedBy == DENIED_BY_EGRESS);
    CHECK(audited.deniedBy == 0);
    const auto inward = tcpFrame(family, STRANGER, 4000, POD, 22, {.flags = TCP_SYN});
    CHECK(pod.fromNet(inward, 0).auditedBy == DENIED_BY_INGRESS);
    // Once for a connection, not for each of its packets.
    CHECK(pod.fromPod(udpFrame(family, POD, 4000, STRANGER, 53), 1).auditedBy == 0);
    CHECK(pod.filter->counters().audited.read() == 2);
    CHECK(pod.filter->counters().opened.read() == 3);

    // Only policy is audited: who sends by another's name is still dropped.
    FrameBuilder forged(family, STRANGER, SERVER, PROTOCOL_UDP);
    forged.sourceMac = OnePod::POD_MAC;
    forged.payload.resize(16);
    CHECK(pod.fromPod(forged.build(), 2).reason == DropReason::SpoofedSource);

    // A table that enforces cuts it; one that audits less tells once and forgets.
    pod.publish(OnePod::Policy::Audited);
    CHECK(pod.fromPod(udpFrame(family, POD, 4000, STRANGER, 53), 3).auditedBy == 0);
    pod.publish();
    const auto cut = pod.fromPod(udpFrame(family, POD, 4000, STRANGER, 53), 4);
    CHECK(cut.cut && cut.reason == DropReason::PolicyEgress);
    bool told = false;
    for (const ClosedConn& closed : pod.filter->closed()) {
      told = told || closed.auditedBy == DENIED_BY_EGRESS;
    }
    CHECK(told);
  }
}

TEST("filter: a connection that a newer table audits is told of once, by its first packet's key") {
  OnePod pod;
  pod.publish(OnePod::Policy::AllowAll);
  CHECK(pod.fromNet(udpFrame(4, STRANGER, 9000, POD, 4000), 0).auditedBy == 0);
  pod.publish(OnePod::Policy::Audited);
  const auto answer = pod.fromPod(udpFrame(4, POD, 4000, STRANGER, 9000), 1);
  CHECK(answer.passes() && answer.auditedBy == DENIED_BY_INGRESS);
  CHECK(answer.key.destinationPort == 4000 && answer.key.sourcePort == 9000);
  CHECK(pod.fromPod(udpFrame(4, POD, 4000, STRANGER, 9000), 2).auditedBy == 0);
  CHECK(pod.fromNet(udpFrame(4, STRANGER, 9000, POD, 4000), 2).auditedBy == 0);
}

TEST("filter: what a newer table audits is told of on a packet that passes, swept before or not") {
  for (const auto established : {Established::Recheck, Established::Cut}) {
    OnePod pod({.established = established});
    pod.publish(OnePod::Policy::AllowAll);
    const auto fromStranger = [](uint8_t flags, uint32_t sequence) {
      return tcpFrame(4, STRANGER, 22, POD, 4000,
                      {.flags = flags, .sequence = sequence, .acknowledgement = 1001});
    };
    const auto ack = tcpFrame(4, POD, 4000, STRANGER, 22,
                              {.flags = TCP_ACK, .sequence = 1001, .acknowledgement = 5001});
    CHECK(pod.fromPod(tcpFrame(4, POD, 4000, STRANGER, 22, {.flags = TCP_SYN, .sequence = 1000}), 0)
              .opened);
    CHECK(pod.fromNet(fromStranger(TCP_SYN | TCP_ACK, 5000), 0).passes());
    CHECK(pod.fromPod(ack, 0).passes());
    const auto synOf = [](uint32_t sequence) {
      return tcpFrame(4, POD, 4001, STRANGER, 22, {.flags = TCP_SYN, .sequence = sequence});
    };
    CHECK(pod.fromPod(synOf(1000), 0).opened);
    pod.publish(OnePod::Policy::Audited);
    while (pod.filter->sweep(*pod.table, 1)) {
    }
    // A segment that is dropped takes nothing away: the connection is judged anew on it.
    const auto stray = pod.fromNet(fromStranger(TCP_ACK, 900'000'000), 1);
    CHECK(stray.reason == DropReason::OutOfWindow);
    CHECK(stray.auditedBy == 0 && stray.key.sourcePort == 22);
    const auto told = pod.fromNet(fromStranger(TCP_ACK, 5001), 2);
    CHECK(told.passes() && told.auditedBy == DENIED_BY_EGRESS && told.key.sourcePort == 4000);
    CHECK(pod.filter->counters().audited.read() == 1);
    const auto again = pod.fromPod(ack, 3);
    CHECK(again.passes() && again.auditedBy == 0);
    // Sent again with another number, a SYN begins the tracking anew, not the connection.
    CHECK(pod.fromPod(synOf(2000), 4).auditedBy == DENIED_BY_EGRESS);
    CHECK(pod.fromPod(synOf(3000), 5).auditedBy == 0);
  }
}

TEST("filter: the sender may be told of what policy denies, and of nothing else") {
  OnePod pod;
  const auto syn = tcpFrame(4, POD, 4000, STRANGER, 22, {.flags = TCP_SYN});
  CHECK(pod.fromPod(syn, 0).rejectable);
  CHECK(pod.fromPod(udpFrame(6, POD, 4000, STRANGER, 9), 0).rejectable);
  CHECK(pod.fromPod(echoFrame(4, POD, STRANGER, false, 1), 0).rejectable);
  // Without a connection, a reset or an answer is no policy's business.
  const auto reset = tcpFrame(4, POD, 4000, STRANGER, 22, {.flags = TCP_RST});
  CHECK(!pod.fromPod(reset, 0).rejectable);
  CHECK(!pod.fromPod(echoFrame(4, POD, STRANGER, true, 1), 0).rejectable);
  FrameBuilder forged(4, STRANGER, POD, PROTOCOL_UDP);
  forged.sourceMac = OnePod::POD_MAC;
  forged.destinationMac = OnePod::PEER_MAC;
  forged.payload.resize(16);
  const Judgement spoofed = pod.fromPod(forged.build(), 0);
  CHECK(!spoofed.passes() && !spoofed.rejectable);
  FrameBuilder group(4, POD, STRANGER, PROTOCOL_UDP);
  group.destination = {239, 1, 2, 3};
  group.destinationMac = {1, 0, 0x5e, 1, 2, 3};
  group.payload.resize(16);
  append16(group.payload, 0);
  const Judgement many = pod.fromPod(group.build(), 0);
  CHECK(!many.passes() && !many.rejectable);
  FrameBuilder wide(4, POD, STRANGER, PROTOCOL_UDP);
  wide.destinationMac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  wide.payload = {0, 9, 0, 9, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const Judgement toAll = pod.fromPod(wide.build(), 0);
  CHECK(toAll.reason == DropReason::PolicyEgress && !toAll.rejectable);
  FrameBuilder part(4, POD, STRANGER, PROTOCOL_UDP);
  part.fragment = 0x2000;
  part.payload = {0, 9, 0, 9, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const Judgement first = pod.fromPod(part.build(), 0);
  CHECK(first.reason == DropReason::PolicyEgress && !first.rejectable);

  // A connection that a swap cuts tells both ends, but not in answer to a reset.
  handshake(pod, 0);
  pod.publish(OnePod::Policy::DenyAll);
  const Judgement cut = serverData(pod, 1);
  CHECK(cut.cut && cut.rejectable && pod.filter->cut().size() == 1);
}

TEST("filter: a dropped packet of a connection changes nothing") {
  OnePod pod;
  handshake(pod, 0);
  CHECK(pod.fromNet(
               tcpFrame(4, SERVER, 5432, POD, 40'000, {.flags = TCP_RST, .sequence = 5'000'000}), 1)
            .reason == DropReason::OutOfWindow);
  CHECK(pod.fromPod(tcpFrame(4, SERVER, 5432, POD, 40'000, {.flags = TCP_RST, .sequence = 901}), 1)
            .reason == DropReason::SpoofedMac);
  CHECK(pod.fromNet(tcpFrame(4, POD, 40'000, SERVER, 5432, {.flags = TCP_RST, .sequence = 101}), 1)
            .reason == DropReason::SpoofedMac);
  CHECK(serverData(pod, 2).passes());
}

TEST("filter: strict start refuses what does not begin with a SYN; loose start takes an ACK") {
  const auto middle = tcpFrame(4, POD, 40'000, SERVER, 5432,
                               {.flags = TCP_ACK, .sequence = 77, .acknowledgement = 88});
  const auto denied = tcpFrame(4, POD, 40'000, STRANGER, 5432,
                               {.flags = TCP_ACK, .sequence = 77, .acknowledgement = 88});
  OnePod strict;
  CHECK(strict.fromPod(middle, 0).reason == DropReason::NoConnection);
  OnePod loose({.loose = true});
  CHECK(loose.fromPod(denied, 0).reason == DropReason::PolicyEgress);
  CHECK(loose.fromPod(middle, 0).opened);
  CHECK(serverData(loose, 1).passes());
}

TEST("filter: an error about a tracked packet passes, others do not") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    OnePod pod;
    const auto ask = udpFrame(family, POD, 4000, SERVER, 53);
    const auto other = udpFrame(family, POD, 4001, SERVER, 53);
    const auto answer = udpFrame(family, SERVER, 53, POD, 4000);
    CHECK(pod.fromPod(ask, 0).opened);
    CHECK(pod.fromNet(errorAbout(ask, family, STRANGER, POD), 1).passes());
    CHECK(pod.fromNet(errorAbout(other, family, SERVER, POD), 1).reason ==
          DropReason::RelatedUnknown);
    CHECK(pod.fromNet(errorAbout(answer, family, SERVER, POD), 1).reason ==
          DropReason::RelatedMismatch);
    CHECK(pod.fromNet(errorAbout(ask, family, SERVER, POD, family == 4 ? 5 : 100), 1).reason ==
          DropReason::RelatedUnknown);
    // The pod reports of what was sent to it, to who sent it.
    CHECK(pod.fromPod(errorAbout(answer, family, POD, SERVER), 1).passes());
    CHECK(pod.fromPod(errorAbout(answer, family, POD, STRANGER), 1).reason ==
          DropReason::RelatedMismatch);
    // An error refreshes nothing.
    CHECK(pod.fromNet(errorAbout(ask, family, SERVER, POD), 30 * SECOND).reason ==
          DropReason::RelatedUnknown);
  }
}

TEST("filter: an error that quotes TCP must quote what was sent lately") {
  OnePod pod;
  handshake(pod, 0);
  const auto quoting = [](uint32_t sequence) {
    return errorAbout(tcpFrame(4, POD, 40'000, SERVER, 5432,
                               {.flags = TCP_ACK, .sequence = sequence, .acknowledgement = 901}),
                      4, SERVER, POD);
  };
  CHECK(pod.fromNet(quoting(101), 1).passes());
  CHECK(pod.fromNet(quoting(101 + 70'000), 1).reason == DropReason::OutOfWindow);
  CHECK(pod.fromNet(quoting(101 - 700'000), 1).reason == DropReason::OutOfWindow);
}

TEST("filter: when the table is full, connections that go on stay and new ones are refused") {
  constexpr uint32_t SIZE = 16;
  constexpr uint64_t LATER = 3 * SECOND;
  OnePod pod({.connectionsMax = SIZE});
  for (uint16_t port = 0; port < SIZE; ++port) {
    CHECK(pod.fromPod(udpFrame(4, POD, port, SERVER, 53), 0).opened);
  }
  CHECK(pod.fromPod(udpFrame(4, POD, 99, SERVER, 53), 0).opened);
  CHECK(pod.filter->evicted(ConnClass::Unanswered) == 1);
  for (uint16_t port = 1; port < SIZE; ++port) {
    CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, port), 0).passes());
  }
  CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, 99), 0).passes());
  // One question and its answer may be all that there is to it.
  CHECK(pod.fromPod(udpFrame(4, POD, 500, SERVER, 53), LATER).opened);
  CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, 500), LATER).passes());
  CHECK(pod.filter->evicted(ConnClass::Unassured) == 1);
  CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, 1), LATER).reason == DropReason::PolicyIngress);
  for (uint16_t port = 2; port < SIZE; ++port) {
    CHECK(pod.fromPod(udpFrame(4, POD, port, SERVER, 53), LATER).passes());
  }
  CHECK(pod.fromPod(udpFrame(4, POD, 99, SERVER, 53), LATER).passes());
  CHECK(pod.fromPod(udpFrame(4, POD, 500, SERVER, 53), 2 * LATER).passes());
  CHECK(pod.fromPod(udpFrame(4, POD, 501, SERVER, 53), LATER).reason == DropReason::ConntrackFull);
  CHECK(pod.filter->counters().dropped[static_cast<size_t>(DropReason::ConntrackFull)].read() == 1);
}

TEST("filter: a superframe counts with all its bytes") {
  OnePod pod;
  handshake(pod, 0);
  const Offload offload = {1, 1, 54, 1448, 34, 16};
  const auto bulk =
      tcpFrame(4, POD, 40'000, SERVER, 5432,
               {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 901, .payloadBytes = 60'000});
  CHECK(pod.fromPod(bulk, 1, offload).passes());
  CHECK(pod.fromNet(tcpFrame(4, SERVER, 5432, POD, 40'000,
                             {.flags = TCP_ACK, .sequence = 901, .acknowledgement = 60'101}),
                    2)
            .passes());
}

TEST("filter: in a switch the sender's egress and the receiver's ingress are both judged") {
  // Endpoint 0 (.10) may send TCP anywhere, endpoint 1 (.11) may be reached on port 8080 only.
  BlobBuilder builder;
  const uint32_t nothing = builder.addPortSet({});
  const uint32_t tcp = builder.addPortSet({{ProtocolSlot::Tcp, 0, 65'535}});
  const uint32_t http =
      builder.addPortSet({{ProtocolSlot::Tcp, 8080, 8080}, {ProtocolSlot::Udp, 53, 53}});
  builder.setCells(4, 1, {nothing, tcp, http, nothing});
  builder.addEndpoint({.ingressRow = 0, .egressRow = 1});
  builder.addEndpoint({.ingressRow = 2, .egressRow = 3});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  builder.mapV4({10, 10, 0, POD}, builder.addLeaf({0, 0, 0}));
  builder.mapV4({10, 10, 0, FRIEND}, builder.addLeaf({0, 1, 0}));
  const Blob blob = builder.build();
  TableSlot slot(1);
  uint32_t generation = 0;
  REQUIRE(slot.publish(blob.bytes(), std::array<uint32_t, 2>{5, 6}, &generation).ok());
  std::unique_ptr<Filter> filter;
  REQUIRE(Filter::create({}, &filter).ok());
  const LinkContext zero = {.linkId = 5, .endpointId = 0};
  const LinkContext one = {.linkId = 6, .endpointId = 1};
  const LinkContext uplink = {.linkId = 7, .role = LinkRole::Uplink};
  const LinkContext unbound = {.linkId = 8};
  const auto judge = [&](std::vector<uint8_t> bytes, const LinkContext& from) {
    Frame frame;
    frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
    frame.length = static_cast<uint32_t>(bytes.size());
    return filter->judge(frame, from, *slot.read(0), 0);
  };
  const auto syn = [](uint8_t from, uint8_t to, uint16_t port) {
    return tcpFrame(4, from, 5000, to, port, {.flags = TCP_SYN, .sequence = 1});
  };

  const Judgement first = judge(syn(POD, FRIEND, 8080), zero);
  CHECK(first.opened && first.destinationEndpoint == 1 && first.key.destinationPort == 8080);
  const Judgement answer =
      judge(tcpFrame(4, FRIEND, 8080, POD, 5000,
                     {.flags = TCP_SYN | TCP_ACK, .sequence = 9, .acknowledgement = 2}),
            one);
  CHECK(answer.passes() && !answer.opened && answer.destinationEndpoint == 0);
  CHECK(filter->connectionCount() == 1);

  CHECK(judge(syn(POD, FRIEND, 8081), zero).deniedBy == DENIED_BY_INGRESS);
  CHECK(judge(udpFrame(4, POD, 1, FRIEND, 53), zero).deniedBy == DENIED_BY_EGRESS);
  CHECK(judge(udpFrame(4, POD, 1, FRIEND, 54), zero).deniedBy ==
        (DENIED_BY_EGRESS | DENIED_BY_INGRESS));
  CHECK(judge(syn(FRIEND, STRANGER, 80), one).reason == DropReason::PolicyEgress);
  const Judgement away = judge(syn(POD, STRANGER, 80), zero);
  CHECK(away.opened && away.destinationEndpoint == NONE);

  CHECK(judge(syn(POD, FRIEND, 8080), one).reason == DropReason::SpoofedSource);
  CHECK(judge(syn(STRANGER, FRIEND, 8080), zero).reason == DropReason::SpoofedSource);
  CHECK(judge(syn(STRANGER, FRIEND, 8080), unbound).reason == DropReason::SpoofedSource);
  CHECK(judge(syn(POD, POD, 8080), zero).reason == DropReason::MartianSource);
  CHECK(judge(syn(POD, FRIEND, 8080), uplink).reason == DropReason::SpoofedSource);
  CHECK(judge(syn(STRANGER, FRIEND, 8080), uplink).opened);
  CHECK(judge(syn(STRANGER, SERVER, 8080), uplink).reason == DropReason::NoDestination);
  // Only the endpoint that a packet went to may report of it.
  const auto report = [&](uint8_t by) {
    return errorAbout(tcpFrame(4, POD, 5000, FRIEND, 8080, {.flags = TCP_SYN, .sequence = 1}), 4,
                      by, POD);
  };
  CHECK(judge(report(FRIEND), one).passes());
  CHECK(judge(report(STRANGER), uplink).reason == DropReason::RelatedMismatch);
}

TEST("filter: wild frames neither crash it nor leave state behind when dropped") {
  OnePod pod({.connectionsMax = 256, .fragmentsMax = 16});
  FrameBuilder part(4, POD, FRIEND, PROTOCOL_UDP);
  part.fragment = 0x2000;
  part.payload.assign(64, 1);
  FrameBuilder chain(6, POD, FRIEND, 0);
  chain.options = {60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
  chain.payload.assign(16, 0);
  chain.payload[5] = 16;
  FrameBuilder solicitation(6, FRIEND, POD, PROTOCOL_ICMPV6);
  solicitation.hopLimit = 255;
  solicitation.payload.assign(32, 0);
  solicitation.payload[0] = 135;
  std::copy(solicitation.destination.begin(), solicitation.destination.end(),
            solicitation.payload.begin() + 8);
  solicitation.payload[24] = solicitation.payload[25] = 1;
  const std::vector<std::vector<uint8_t>> seeds = {
      tcpFrame(4, POD, 1, FRIEND, 2, {.flags = TCP_SYN, .options = {3, 3, 7, 0, 4, 2, 1, 1}}),
      tcpFrame(6, FRIEND, 1, POD, 8080, {.flags = TCP_SYN}),
      udpFrame(4, POD, 1, SERVER, 53),
      echoFrame(6, POD, FRIEND, false, 3),
      errorAbout(udpFrame(6, POD, 1, FRIEND, 53), 6, STRANGER, POD),
      errorAbout(tcpFrame(4, POD, 1, FRIEND, 2, {.flags = TCP_SYN}), 4, STRANGER, POD),
      part.build(),
      chain.build(),
      solicitation.build(),
  };
  constexpr uint64_t SEED = 20261121;
  Random random(SEED);
  uint32_t passed = 0;
  for (uint32_t round = 0; round < 60'000; ++round) {
    std::vector<uint8_t> bytes = seeds[random.below(static_cast<uint32_t>(seeds.size()))];
    for (uint32_t change = random.below(4); change > 0; --change) {
      bytes[12 + random.below(static_cast<uint32_t>(bytes.size() - 12))] ^=
          static_cast<uint8_t>(1u << random.below(8));
    }
    if (random.below(4) == 0) bytes.resize(random.below(static_cast<uint32_t>(bytes.size()) + 1));
    bytes.shrink_to_fit();
    Offload offload = {};
    if (random.below(4) == 0) {
      offload = {1,
                 static_cast<uint8_t>(random.below(6)),
                 54,
                 static_cast<uint16_t>(random.below(2000)),
                 static_cast<uint16_t>(random.below(80)),
                 static_cast<uint16_t>(random.below(20))};
    }
    const uint32_t before = pod.filter->connectionCount();
    const bool inside = random.below(2) == 0;
    const uint64_t nowUs = round * SECOND / 100;
    const Judgement judgement =
        inside ? pod.fromPod(bytes, nowUs, offload) : pod.fromNet(bytes, nowUs, offload);
    if (judgement.passes()) {
      ++passed;
    } else {
      CHECK(!judgement.opened && pod.filter->connectionCount() <= before);
    }
  }
  CHECK(passed > 1000);
  // Every connection that was opened is there, or is counted as gone.
  pod.filter->expire(600 * SECOND, 64);
  const FilterCounters& counters = pod.filter->counters();
  uint64_t evicted = 0;
  for (const auto each : {ConnClass::Closing, ConnClass::Unanswered, ConnClass::Unassured}) {
    evicted += pod.filter->evicted(each);
  }
  CHECK(counters.opened.read() ==
        pod.filter->connectionCount() + counters.closed.read() + counters.cut.read() + evicted);
}
