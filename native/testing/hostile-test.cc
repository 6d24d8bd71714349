// Goal:   a malicious pod or host gets no packet past the policy.
// Method: one pod behind a wire that may not reach the stranger, nor be reached by it; messages
//         that no policy judges are bent until they carry data, or go where data would go.
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

// A neighbour message with its link-layer address, to the receiver's own address; the target is
// that address, or for an advertisement the sender's.
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

FrameBuilder& toGroup(FrameBuilder& frame, const AddressBytes& group) {
  frame.destination = group;
  frame.destinationMac = {0x33, 0x33, group[12], group[13], group[14], group[15]};
  return frame;
}

// A solicitation as it first goes out: to the group of its target.
FrameBuilder solicitation(uint8_t from, uint8_t to) {
  FrameBuilder frame = neighbour(ICMPV6_NEIGHBOR_SOLICITATION, from, to);
  return toGroup(frame, solicitedNodeOf(frame.destination));
}

// Duplicate address detection by the pod for its own address.
FrameBuilder detection() {
  FrameBuilder frame = solicitation(POD, POD);
  frame.source = {};
  frame.payload.resize(24);
  return frame;
}

// A version 2 report of one group, as a host sends it.
FrameBuilder listenerReport(uint8_t from) {
  FrameBuilder frame(6, from, STRANGER, PROTOCOL_ICMPV6);
  frame.hopLimit = 1;
  frame.source = linkLocalOf(frame.sourceMac);
  toGroup(frame, linkGroup(0x16));
  frame.payload = {ICMPV6_LISTENER_REPORT_2, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0};
  const AddressBytes group = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0x10};
  frame.payload.insert(frame.payload.end(), group.begin(), group.end());
  return frame;
}

// A router advertisement without options.
FrameBuilder routerAdvertisement() {
  FrameBuilder frame(6, STRANGER, POD, PROTOCOL_ICMPV6);
  frame.hopLimit = 255;
  frame.source = linkLocalOf(OnePod::PEER_MAC);
  toGroup(frame, linkGroup(1));
  frame.payload = {ICMPV6_ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0};
  return frame;
}

// ARP from the pod for the stranger's address.
std::vector<uint8_t> arpRequest() {
  std::vector<uint8_t> arp(12, 0xff);
  std::copy(OnePod::POD_MAC.begin(), OnePod::POD_MAC.end(), arp.begin() + 6);
  arp.insert(arp.end(), {8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 10, 10, 0, 10});
  arp.insert(arp.end(), {0, 0, 0, 0, 0, 0, 10, 10, 0, 13});
  return arp;
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
  const auto answer = [](uint8_t from, uint8_t to) {
    FrameBuilder frame = neighbour(ICMPV6_NEIGHBOR_ADVERTISEMENT, from, to);
    frame.payload[4] = 0x60;
    return frame.build();
  };
  const auto ask = [](uint8_t from, uint8_t to) {
    return neighbour(ICMPV6_NEIGHBOR_SOLICITATION, from, to).build();
  };
  // Resolution, and hours later the question whether the neighbour is still there.
  CHECK(pod.fromPod(solicitation(POD, STRANGER).build(), SECOND).exempt == ExemptKind::Neighbor);
  CHECK(pod.fromNet(answer(STRANGER, POD), SECOND).passes());
  CHECK(pod.fromPod(ask(POD, STRANGER), 3'000 * SECOND).passes());
  CHECK(pod.fromNet(answer(STRANGER, POD), 3'001 * SECOND).passes());
  // The other way; whoever asks is known from then on.
  CHECK(pod.fromNet(solicitation(FRIEND, POD).build(), 4'000 * SECOND).passes());
  CHECK(pod.fromPod(answer(POD, FRIEND), 4'000 * SECOND).exempt == ExemptKind::Neighbor);
  CHECK(pod.fromNet(ask(FRIEND, POD), 4'100 * SECOND).passes());
  CHECK(pod.fromPod(answer(POD, FRIEND), 4'101 * SECOND).exempt == ExemptKind::Neighbor);
  CHECK(pod.fromPod(ask(POD, FRIEND), 4'200 * SECOND).exempt == ExemptKind::Neighbor);
  // A router's link-local address is on the link, whether it has been seen or not.
  FrameBuilder near = neighbour(ICMPV6_NEIGHBOR_SOLICITATION, POD, SERVER);
  near.destination = linkLocalOf(OnePod::PEER_MAC);
  setTarget(near, near.destination);
  CHECK(pod.fromPod(near.build(), 5'000 * SECOND).passes());
  // Duplicate address detection, with and without a nonce; an announcement; a router's
  // solicitation.
  FrameBuilder detects = detection();
  CHECK(pod.fromPod(detects.build(), 5'000 * SECOND).passes());
  addOption(detects, 14, 1);
  CHECK(pod.fromPod(detects.build(), 5'000 * SECOND).passes());
  FrameBuilder announcement = neighbour(ICMPV6_NEIGHBOR_ADVERTISEMENT, POD, STRANGER);
  announcement.payload[4] = 0x20;
  CHECK(pod.fromPod(toGroup(announcement, linkGroup(1)).build(), 5'000 * SECOND).passes());
  FrameBuilder router = neighbour(ICMPV6_ROUTER_SOLICITATION, POD, STRANGER);
  CHECK(pod.fromPod(toGroup(router, linkGroup(2)).build(), 5'000 * SECOND).passes());
  router.source = {};
  router.payload.resize(8);
  CHECK(pod.fromPod(router.build(), 5'000 * SECOND).passes());
  CHECK(pod.fromPod(listenerReport(POD).build(), 5'000 * SECOND).exempt == ExemptKind::Listener);
  CHECK(pod.fromNet(listenerReport(STRANGER).build(), 5'000 * SECOND).passes());
  CHECK(pod.filter->counters().exempt[static_cast<size_t>(ExemptKind::Neighbor)].read() == 15);
  CHECK(pod.filter->counters().exempt[static_cast<size_t>(ExemptKind::Listener)].read() == 2);
}

TEST("hostile: neighbour discovery carries no data out of a pod") {
  const std::vector<std::pair<uint8_t, std::function<void(FrameBuilder&)>>> tricks = {
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { frame.destination = FAR; }},
      {ICMPV6_ROUTER_SOLICITATION, [](FrameBuilder&) {}},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { addOption(frame, 200, 100); }},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { addOption(frame, 14, 100); }},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { addOption(frame, 14, 1); }},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { addOption(frame, 2, 1); }},
      {ICMPV6_NEIGHBOR_ADVERTISEMENT, [](FrameBuilder& frame) { addOption(frame, 1, 1); }},
      {ICMPV6_NEIGHBOR_ADVERTISEMENT, [](FrameBuilder& frame) { frame.payload[7] = 's'; }},
      {ICMPV6_NEIGHBOR_SOLICITATION,
       [](FrameBuilder& frame) {
         frame.protocol = 60;  // destination options, all of it padding
         frame.options = {PROTOCOL_ICMPV6, 24, 1, 196};
         addBytes(frame.options, 196);
       }},
      // A group that is another's, and MACs and flow labels that say something.
      {ICMPV6_NEIGHBOR_SOLICITATION,
       [](FrameBuilder& frame) { toGroup(frame, solicitedNodeOf(FAR)); }},
      {ICMPV6_NEIGHBOR_ADVERTISEMENT, [](FrameBuilder& frame) { toGroup(frame, linkGroup(9)); }},
      {ICMPV6_NEIGHBOR_SOLICITATION,
       [](FrameBuilder& frame) {
         toGroup(frame, solicitedNodeOf(frame.destination));
         frame.destinationMac[2] = 's';
       }},
      {ICMPV6_NEIGHBOR_SOLICITATION, [](FrameBuilder& frame) { frame.flowLabel = 's'; }},
  };
  for (size_t index = 0; index < tricks.size(); ++index) {
    OnePod pod;
    // Both have heard of each other: only the trick is in the way.
    (void)pod.fromPod(solicitation(POD, STRANGER).build(), SECOND);
    (void)pod.fromNet(solicitation(STRANGER, POD).build(), SECOND);
    const auto& [type, bend] = tricks[index];
    FrameBuilder frame = neighbour(type, POD, STRANGER);
    if (type != ICMPV6_ROUTER_SOLICITATION) CHECK(pod.fromPod(frame.build(), SECOND).passes());
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

TEST("hostile: a neighbour message to one host passes only where something has led to it") {
  OnePod pod;
  const auto fromPod = [&pod](FrameBuilder frame, const AddressBytes& to, uint64_t nowUs) {
    frame.destination = to;
    if (frame.payload[0] == ICMPV6_NEIGHBOR_SOLICITATION) setTarget(frame, to);
    return pod.fromPod(frame.build(), nowUs).reason;
  };
  const FrameBuilder asks = neighbour(ICMPV6_NEIGHBOR_SOLICITATION, POD, STRANGER);
  const FrameBuilder tells = neighbour(ICMPV6_NEIGHBOR_ADVERTISEMENT, POD, STRANGER);
  CHECK(fromPod(asks, FAR, SECOND) == DropReason::PolicyEgress);
  CHECK(fromPod(tells, FAR, SECOND) == DropReason::PolicyEgress);
  // What a far host sends has lost a hop on its way: it makes itself no neighbour.
  FrameBuilder far = solicitation(STRANGER, POD);
  far.source = FAR;
  far.hopLimit = 254;
  CHECK(pod.fromNet(far.build(), SECOND).reason == DropReason::MalformedNdp);
  CHECK(fromPod(tells, FAR, SECOND) == DropReason::PolicyEgress);
  // An answer is one for some seconds, to who has asked, about what was asked for.
  CHECK(pod.fromNet(solicitation(STRANGER, POD).build(), SECOND).passes());
  CHECK(fromPod(tells, tells.destination, 2 * SECOND) == DropReason::None);
  CHECK(fromPod(tells, FAR, 2 * SECOND) == DropReason::PolicyEgress);
  FrameBuilder ofLinkLocal = tells;
  ofLinkLocal.source = linkLocalOf(OnePod::POD_MAC);
  setTarget(ofLinkLocal, ofLinkLocal.source);
  CHECK(fromPod(ofLinkLocal, tells.destination, 2 * SECOND) == DropReason::PolicyEgress);
  CHECK(fromPod(tells, tells.destination, 8 * SECOND) == DropReason::PolicyEgress);
  // From the network too: an answer that nobody waits for carries its target's address in.
  const FrameBuilder unasked = neighbour(ICMPV6_NEIGHBOR_ADVERTISEMENT, FRIEND, POD);
  CHECK(pod.fromNet(unasked.build(), 9 * SECOND).reason == DropReason::PolicyIngress);
  CHECK(pod.fromPod(solicitation(POD, FRIEND).build(), 9 * SECOND).passes());
  CHECK(pod.fromNet(unasked.build(), 9 * SECOND).passes());
  // What is asked on one wire is no answer's cause on another.
  CHECK(pod.fromNet(solicitation(STRANGER, POD).build(), 10 * SECOND).passes());
  pod.inside.zone = 1;
  CHECK(fromPod(tells, tells.destination, 10 * SECOND) == DropReason::PolicyEgress);
}

TEST("hostile: what no policy judges is so much a second, for each link") {
  OnePod pod;
  constexpr uint32_t TARGET_BYTES = 16;
  const auto passed = [&pod](uint64_t nowUs) {
    uint32_t count = 0;
    for (uint8_t target = 0; target < 250; ++target) {
      for (uint8_t each = 0; each < 4; ++each) {
        FrameBuilder frame = solicitation(POD, STRANGER);
        frame.payload[22] = each;
        frame.payload[23] = target;
        frame.destination = {};
        toGroup(frame, {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, each, target});
        const DropReason reason = pod.fromPod(frame.build(), nowUs).reason;
        CHECK(reason == DropReason::None || reason == DropReason::ExemptLimit);
        count += reason == DropReason::None ? 1 : 0;
      }
    }
    return count;
  };
  CHECK(passed(SECOND) == EXEMPT_POD_BYTES_AT_ONCE / TARGET_BYTES);
  CHECK(passed(2 * SECOND) == EXEMPT_POD_BYTES_PER_SECOND / TARGET_BYTES);
  CHECK(pod.fromPod(arpRequest(), 2 * SECOND).reason == DropReason::ExemptLimit);
  // The other side has its own, and more of it.
  CHECK(pod.fromNet(solicitation(STRANGER, POD).build(), 2 * SECOND).passes());
  uint32_t asked = 0;
  for (uint32_t each = 0; each < 10'000; ++each) {
    asked += pod.fromNet(solicitation(STRANGER, POD).build(), 3 * SECOND).passes() ? 1 : 0;
  }
  CHECK(asked == EXEMPT_NETWORK_BYTES_AT_ONCE / 32);
  CHECK(pod.fromPod(arpRequest(), 3 * SECOND).exempt == ExemptKind::Arp);
}

TEST("hostile: nothing rides in or behind ARP and neighbour messages") {
  OnePod pod;
  std::vector<uint8_t> frame = solicitation(POD, STRANGER).build();
  CHECK(pod.fromPod(frame, SECOND).passes());
  addBytes(frame, 500);
  CHECK(pod.fromPod(frame, SECOND).reason == DropReason::PolicyEgress);

  std::vector<uint8_t> arp = arpRequest();
  CHECK(pod.fromPod(arp, SECOND).exempt == ExemptKind::Arp);
  arp.resize(60);
  CHECK(pod.fromPod(arp, SECOND).passes());
  addBytes(arp, 500);
  CHECK(pod.fromPod(arp, SECOND).reason == DropReason::MalformedArp);
  // The MAC that is asked for is nothing yet, everybody's, the sender's own or the receiver's.
  const MacAddress sound[] = {{}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, OnePod::POD_MAC};
  for (const MacAddress& mac : sound) {
    std::vector<uint8_t> request = arpRequest();
    std::copy(mac.begin(), mac.end(), request.begin() + 32);
    CHECK(pod.fromPod(request, SECOND).passes());
  }
  std::vector<uint8_t> request = arpRequest();
  std::copy_n("secret", 6, request.begin() + 32);
  CHECK(pod.fromPod(request, SECOND).reason == DropReason::MalformedArp);
  std::copy_n("tecret", 6, request.begin());  // 't': no group
  std::copy_n("tecret", 6, request.begin() + 32);
  CHECK(pod.fromPod(request, SECOND).passes());
  request[0] = 's';
  CHECK(pod.fromPod(request, SECOND).reason == DropReason::MalformedArp);
}

TEST("hostile: multicast listener messages carry no data, out or in") {
  OnePod pod;
  FrameBuilder report = listenerReport(POD);
  report.source = FrameBuilder(6, POD, STRANGER, 0).source;
  report.destination = FAR;
  report.destinationMac = OnePod::PEER_MAC;
  CHECK(pod.fromPod(report.build(), SECOND).reason == DropReason::PolicyEgress);
  const std::vector<std::function<void(FrameBuilder&)>> tricks = {
      [](FrameBuilder& frame) { addBytes(frame.payload, 500); },
      [](FrameBuilder& frame) {  // the record's auxiliary data
        addBytes(frame.payload, 500);
        frame.payload[9] = 125;
      },
      [](FrameBuilder& frame) {  // a record's sources
        addBytes(frame.payload, 17 * 16);
        frame.payload[11] = 17;
      },
      [](FrameBuilder& frame) {  // many records
        const std::vector<uint8_t> record(frame.payload.begin() + 8, frame.payload.end());
        frame.payload[7] = LISTENER_RECORDS_MAX + 1;
        for (uint32_t each = 0; each < LISTENER_RECORDS_MAX; ++each) {
          frame.payload.insert(frame.payload.end(), record.begin(), record.end());
        }
      },
      [](FrameBuilder& frame) { frame.payload[5] = 's'; },
      [](FrameBuilder& frame) { frame.payload[8] = 's'; },
      [](FrameBuilder& frame) { toGroup(frame, linkGroup(0x17)); },
      [](FrameBuilder& frame) {
        frame.protocol = 60;  // six bytes of padding
        frame.options = {PROTOCOL_ICMPV6, 0, 1, 4, 's', 's', 's', 's'};
      },
  };
  for (const auto& bend : tricks) {
    FrameBuilder bent = listenerReport(POD);
    bend(bent);
    CHECK(pod.fromPod(bent.build(), SECOND).reason == DropReason::SpoofedSource);
    bent = listenerReport(STRANGER);
    bend(bent);
    CHECK(pod.fromNet(bent.build(), SECOND).reason == DropReason::PolicyIngress);
  }

  // A stranger far away counts the hops, so that the limit arrives as 1.
  for (const uint8_t type : {ICMPV6_LISTENER_QUERY, ICMPV6_LISTENER_REPORT_2}) {
    FrameBuilder far = listenerReport(STRANGER);
    far.source = FAR;
    far.destinationMac = OnePod::POD_MAC;
    far.destination = FrameBuilder(6, STRANGER, POD, 0).destination;
    far.payload[0] = type;
    CHECK(pod.fromNet(far.build(), SECOND).reason == DropReason::PolicyIngress);
  }
}

TEST("hostile: nobody redirects the pod, not under a policy that allows everything") {
  for (const auto policy : {OnePod::Policy::Usual, OnePod::Policy::AllowAll}) {
    OnePod pod;
    pod.publish(policy);
    FrameBuilder redirect(6, FRIEND, POD, PROTOCOL_ICMPV6);
    redirect.source = linkLocalOf(OnePod::PEER_MAC);
    redirect.hopLimit = 255;
    redirect.payload.assign(40, 0);
    redirect.payload[0] = ICMPV6_REDIRECT;
    setTarget(redirect, redirect.source);
    CHECK(pod.fromNet(redirect.build(), SECOND).reason == DropReason::SpoofedNdp);
    redirect.source = linkLocalOf(OnePod::POD_MAC);
    redirect.sourceMac = OnePod::POD_MAC;
    redirect.destinationMac = OnePod::PEER_MAC;
    redirect.destination = FrameBuilder(6, POD, FRIEND, 0).destination;
    CHECK(pod.fromPod(redirect.build(), SECOND).reason == DropReason::SpoofedNdp);
  }
}

TEST("hostile: a router advertisement passes where it may, with options of their sizes") {
  OnePod pod;
  CHECK(pod.fromNet(routerAdvertisement().build(), SECOND).reason ==
        DropReason::RouterAdvertisement);
  pod.publish(OnePod::Policy::AllowAll);
  CHECK(pod.fromNet(routerAdvertisement().build(), SECOND).reason ==
        DropReason::RouterAdvertisement);
  pod.publish(OnePod::Policy::DenyAll);
  pod.outside.routerAdvertisements = true;
  FrameBuilder whole = routerAdvertisement();
  CHECK(pod.fromNet(whole.build(), SECOND).exempt == ExemptKind::RouterAdvertisement);
  const std::pair<uint8_t, uint8_t> known[] = {{1, 1},  {5, 1},  {3, 4},  {3, 4}, {24, 2},
                                               {25, 5}, {31, 4}, {38, 2}, {7, 1}, {26, 1}};
  for (const auto& [type, words] : known) addOption(whole, type, words);
  CHECK(pod.fromNet(whole.build(), SECOND).exempt == ExemptKind::RouterAdvertisement);
  FrameBuilder toPod = whole;
  toPod.destination = FrameBuilder(6, STRANGER, POD, 0).destination;
  toPod.destinationMac = OnePod::POD_MAC;
  CHECK(pod.fromNet(toPod.build(), SECOND).passes());
  toPod.destination = FAR;
  CHECK(pod.fromNet(toPod.build(), SECOND).reason == DropReason::PolicyIngress);

  std::vector<uint8_t> trailing = routerAdvertisement().build();
  addBytes(trailing, 1'200);
  CHECK(pod.fromNet(trailing, SECOND).reason == DropReason::PolicyIngress);
  const std::pair<uint8_t, uint8_t> wrong[] = {{1, 2},   {5, 2},  {3, 5},  {24, 4},  {25, 4},
                                               {31, 17}, {38, 3}, {14, 1}, {200, 1}, {2, 1}};
  for (const auto& [type, words] : wrong) {
    FrameBuilder odd = routerAdvertisement();
    addOption(odd, type, words);
    CHECK(pod.fromNet(odd.build(), SECOND).reason == DropReason::PolicyIngress);
  }
  FrameBuilder twice = routerAdvertisement();
  addOption(twice, 5, 1);
  addOption(twice, 5, 1);
  CHECK(pod.fromNet(twice.build(), SECOND).reason == DropReason::PolicyIngress);
  FrameBuilder many = routerAdvertisement();
  for (int each = 0; each < 16; ++each) addOption(many, 3, 4);
  CHECK(pod.fromNet(many.build(), SECOND).reason == DropReason::PolicyIngress);
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
  CHECK(alone.filter->evicted(ConnClass::Unanswered) > 30);
  CHECK(alone.filter->counters().cut.read() > 3);
}
