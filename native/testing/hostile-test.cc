// Goal: what a pod or a host that means harm sends past the policy does not get through.
// Method: one pod behind a wire that may not reach the stranger, nor be reached by it; messages
// that
//         no policy judges are bent until they carry data, or go where data would go.
#include <algorithm>
#include <functional>
#include <iterator>
#include <vector>

#include "native/packet/neighbor.h"
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
constexpr AddressBytes FAR = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

// A neighbour message with its link-layer address; the target is the receiver's address, or for an
// advertisement the sender's.
FrameBuilder neighbour(uint8_t type, uint8_t from, uint8_t to) {
  FrameBuilder frame(6, from, to, PROTOCOL_ICMPV6);
  frame.hopLimit = 255;
  frame.payload = {type, 0, 0, 0, 0, 0, 0, 0};
  if (type != ICMPV6_ROUTER_SOLICITATION) {
    const AddressBytes& target =
        type == ICMPV6_NEIGHBOR_ADVERTISEMENT ? frame.source : frame.destination;
    frame.payload.insert(frame.payload.end(), target.begin(), target.end());
  }
  const uint8_t option = type == ICMPV6_NEIGHBOR_ADVERTISEMENT ? 2 : 1;
  frame.payload.insert(frame.payload.end(), {option, 1});
  frame.payload.insert(frame.payload.end(), frame.sourceMac.begin(), frame.sourceMac.end());
  return frame;
}

void setTarget(FrameBuilder& frame, const AddressBytes& target) {
  std::copy(target.begin(), target.end(), frame.payload.begin() + 8);
}

// A version 2 report of one group, as a host sends it.
FrameBuilder listenerReport(uint8_t from) {
  FrameBuilder frame(6, from, STRANGER, PROTOCOL_ICMPV6);
  frame.hopLimit = 1;
  frame.source = linkLocalOf(frame.sourceMac);
  frame.destinationMac = {0x33, 0x33, 0, 0, 0, 0x16};
  frame.destination = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16};
  frame.payload = {ICMPV6_LISTENER_REPORT_2, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0};
  const AddressBytes group = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0x10};
  frame.payload.insert(frame.payload.end(), group.begin(), group.end());
  return frame;
}

void addBytes(std::vector<uint8_t>& bytes, size_t count) {
  bytes.resize(bytes.size() + count, 's');
}

void addOption(FrameBuilder& frame, uint8_t type, uint8_t words) {
  frame.payload.insert(frame.payload.end(), {type, words});
  addBytes(frame.payload, words * 8u - 2u);
}

}  // namespace

TEST("hostile: neighbour discovery as hosts send it passes in spite of the policy") {
  OnePod pod;
  FrameBuilder probe = neighbour(ICMPV6_NEIGHBOR_SOLICITATION, POD, STRANGER);
  CHECK(pod.fromPod(probe.build(), SECOND).kind == FrameKind::Neighbor);
  CHECK(pod.fromPod(probe.build(), SECOND).passes());
  addOption(probe, 14, 1);
  CHECK(pod.fromPod(probe.build(), SECOND).passes());
  CHECK(pod.fromPod(neighbour(ICMPV6_NEIGHBOR_ADVERTISEMENT, POD, STRANGER).build(), SECOND)
            .passes());
  CHECK(
      pod.fromNet(neighbour(ICMPV6_NEIGHBOR_SOLICITATION, STRANGER, POD).build(), SECOND).passes());
  CHECK(pod.fromNet(neighbour(ICMPV6_NEIGHBOR_ADVERTISEMENT, STRANGER, POD).build(), SECOND)
            .passes());
  CHECK(pod.fromPod(listenerReport(POD).build(), SECOND).passes());
  CHECK(pod.fromNet(listenerReport(STRANGER).build(), SECOND).passes());
}

TEST("hostile: neighbour discovery carries no data out of a pod") {
  const std::vector<std::pair<uint8_t, std::function<void(FrameBuilder&)>>> tricks = {
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { frame.destination = FAR; }},
      {ICMPV6_ROUTER_SOLICITATION, [](FrameBuilder&) {}},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { addOption(frame, 200, 100); }},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { addOption(frame, 14, 100); }},
      {ICMPV6_NEIGHBOR_SOLICITATION,
       [](FrameBuilder& frame) {
         for (int each = 0; each < 50; ++each) addOption(frame, 14, 1);
       }},
      {ICMPV6_NEIGHBOR_ADVERTISEMENT, [](FrameBuilder& frame) { addOption(frame, 1, 100); }},
      {ICMPV6_NEIGHBOR_ADVERTISEMENT, [](FrameBuilder& frame) { frame.payload[7] = 's'; }},
      {ICMPV6_NEIGHBOR_SOLICITATION,
       [](FrameBuilder& frame) {
         frame.protocol = 60;  // destination options, all of it padding
         frame.options = {PROTOCOL_ICMPV6, 24, 1, 196};
         addBytes(frame.options, 196);
       }},
  };
  for (size_t index = 0; index < tricks.size(); ++index) {
    OnePod pod;
    const auto& [type, bend] = tricks[index];
    FrameBuilder frame = neighbour(type, POD, STRANGER);
    bend(frame);
    const DropReason reason = pod.fromPod(frame.build(), SECOND).reason;
    if (reason != DropReason::PolicyEgress) std::fprintf(stderr, "trick %zu\n", index);
    CHECK(reason == DropReason::PolicyEgress);
    // Nor from an address that no policy knows.
    frame.source = linkLocalOf(OnePod::POD_MAC);
    if (type == ICMPV6_NEIGHBOR_ADVERTISEMENT) setTarget(frame, frame.source);
    CHECK(pod.fromPod(frame.build(), SECOND).reason == DropReason::SpoofedSource);
  }
  // Where policy allows everything, odd is not forbidden.
  OnePod pod;
  FrameBuilder odd = neighbour(ICMPV6_NEIGHBOR_SOLICITATION, POD, FRIEND);
  addOption(odd, 200, 2);
  CHECK(pod.fromPod(odd.build(), SECOND).passes());
}

TEST("hostile: nothing rides behind the end of ARP or of a neighbour message") {
  OnePod pod;
  std::vector<uint8_t> frame = neighbour(ICMPV6_NEIGHBOR_SOLICITATION, POD, STRANGER).build();
  addBytes(frame, 500);
  CHECK(pod.fromPod(frame, SECOND).reason == DropReason::PolicyEgress);

  std::vector<uint8_t> arp(12, 0xff);
  std::copy(OnePod::POD_MAC.begin(), OnePod::POD_MAC.end(), arp.begin() + 6);
  arp.insert(arp.end(), {8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 10, 10, 0, 10});
  arp.insert(arp.end(), {0, 0, 0, 0, 0, 0, 10, 10, 0, 13});
  CHECK(pod.fromPod(arp, SECOND).passes());
  arp.resize(60);
  CHECK(pod.fromPod(arp, SECOND).passes());
  addBytes(arp, 500);
  CHECK(pod.fromPod(arp, SECOND).reason == DropReason::MalformedArp);
}

TEST("hostile: multicast listener messages carry no data, out or in") {
  OnePod pod;
  FrameBuilder report = listenerReport(POD);
  report.source = FrameBuilder(6, POD, STRANGER, 0).source;
  report.destination = FAR;
  CHECK(pod.fromPod(report.build(), SECOND).reason == DropReason::PolicyEgress);
  report = listenerReport(POD);
  addBytes(report.payload, 500);
  CHECK(pod.fromPod(report.build(), SECOND).reason == DropReason::SpoofedSource);
  report.payload[9] = 125;  // the record's auxiliary data
  CHECK(pod.fromPod(report.build(), SECOND).reason == DropReason::SpoofedSource);

  // A stranger far away counts the hops, so that the limit arrives as 1.
  for (const uint8_t type : {ICMPV6_LISTENER_QUERY, ICMPV6_LISTENER_REPORT_2}) {
    FrameBuilder far = listenerReport(STRANGER);
    far.source = FAR;
    far.destinationMac = OnePod::POD_MAC;
    far.destination = FrameBuilder(6, STRANGER, POD, 0).destination;
    far.payload[0] = type;
    CHECK(pod.fromNet(far.build(), SECOND).reason == DropReason::PolicyIngress);
  }
  FrameBuilder near = listenerReport(STRANGER);
  addBytes(near.payload, 500);
  CHECK(pod.fromNet(near.build(), SECOND).reason == DropReason::PolicyIngress);
}

TEST("hostile: one side alone makes no connection that may not give way, not in a loose start") {
  OnePod pod({.connectionsMax = 8, .loose = true});
  for (uint16_t port = 1; port <= 8; ++port) {
    for (uint32_t each = 0; each < 3; ++each) {
      CHECK(pod.fromPod(tcpFrame(4, POD, port, SERVER, 5432, {.flags = TCP_ACK, .sequence = each}),
                        SECOND)
                .passes());
    }
  }
  CHECK(pod.fromPod(udpFrame(4, POD, 4000, SERVER, 53), SECOND).opened);
  // What the other side answers stays.
  const auto ack = TcpFields{.flags = TCP_ACK, .sequence = 7};
  for (uint16_t port = 11; port <= 18; ++port) {
    CHECK(pod.fromPod(tcpFrame(4, POD, port, SERVER, 5432, ack), SECOND).opened);
    CHECK(pod.fromNet(tcpFrame(4, SERVER, 5432, POD, port, ack), SECOND).passes());
  }
  CHECK(pod.fromPod(udpFrame(4, POD, 4001, SERVER, 53), SECOND).reason ==
        DropReason::ConntrackFull);
}

TEST("hostile: a superframe is cut by the header that was judged") {
  OnePod pod;
  const auto frame = udpFrame(4, POD, 4000, SERVER, 53, 4000);
  CHECK(pod.fromPod(frame, SECOND, {1, 5, 42, 1400, 34, 6}).passes());
  CHECK(pod.fromPod(frame, SECOND, {1, 5, 92, 1400, 84, 6}).reason == DropReason::OffloadInvalid);
  CHECK(pod.fromPod(frame, SECOND, {1, 3, 92, 1400, 84, 6}).reason == DropReason::OffloadInvalid);
}

// The connections of a batch are looked for before any of its frames is judged; a frame may then
// end, push out or begin anew what a later one has been promised.
TEST("hostile: a batch is judged as its frames would be, one after the other") {
  constexpr uint64_t ROUNDS = 1'000;
  constexpr uint8_t FLAGS[] = {TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST};
  OnePod together({.connectionsMax = 4, .fragmentsMax = 8});
  OnePod alone({.connectionsMax = 4, .fragmentsMax = 8});
  uint64_t random = 0x9e3779b97f4a7c15;
  const auto below = [&random](uint64_t limit) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return (random >> 32) % limit;
  };
  uint32_t opened = 0;
  uint64_t nowUs = SECOND;
  for (uint64_t round = 0; round < ROUNDS; ++round) {
    const bool out = below(2) == 0;
    const auto family = static_cast<uint8_t>(below(2) == 0 ? 4 : 6);
    std::vector<std::vector<uint8_t>> bytes;
    for (uint64_t count = 1 + below(BATCH_FRAMES_MAX); count > 0; --count) {
      const auto port = static_cast<uint16_t>(1 + below(3));
      const auto from = out ? POD : SERVER;
      const auto to = out ? SERVER : POD;
      if (below(3) == 0) {
        bytes.push_back(udpFrame(family, from, out ? port : 53, to, out ? 53 : port));
      } else {
        const auto sequence = static_cast<uint32_t>(below(3));
        bytes.push_back(tcpFrame(family, from, out ? port : 5432, to, out ? 5432 : port,
                                 {.flags = FLAGS[below(std::size(FLAGS))],
                                  .sequence = sequence,
                                  .acknowledgement = sequence + 1}));
      }
    }
    std::vector<Frame> frames(bytes.size());
    for (size_t at = 0; at < frames.size(); ++at) {
      frames[at].bytes = reinterpret_cast<std::byte*>(bytes[at].data());
      frames[at].length = static_cast<uint32_t>(bytes[at].size());
    }
    if (below(50) == 0) {
      using Policy = OnePod::Policy;
      const Policy policies[] = {Policy::Usual, Policy::DenyAll, Policy::AllowAll, Policy::Audited};
      const Policy policy = policies[below(4)];
      together.publish(policy);
      alone.publish(policy);
    }
    nowUs += below(3) * SECOND;
    std::vector<Judgement> judgements(frames.size());
    together.filter->judgeBatch(frames, out ? together.inside : together.outside, *together.table,
                                nowUs, judgements.data());
    for (size_t at = 0; at < frames.size(); ++at) {
      const Judgement one =
          alone.filter->judge(frames[at], out ? alone.inside : alone.outside, *alone.table, nowUs);
      CHECK(one.reason == judgements[at].reason);
      CHECK(one.opened == judgements[at].opened && one.cut == judgements[at].cut);
      CHECK(one.destinationEndpoint == judgements[at].destinationEndpoint);
      opened += one.opened ? 1 : 0;
    }
    REQUIRE(together.filter->connectionCount() == alone.filter->connectionCount());
  }
  CHECK(opened > 300);
  CHECK(alone.filter->counters().evicted.read() > 30);
  CHECK(alone.filter->counters().cut.read() > 3);
}
