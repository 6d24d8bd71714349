// Goal: connections of this process pass whatever policy says, exactly these, and only as long as
//       they are said to be its own.
// Method: one pod behind a wire; segments that differ from an own one in one thing each.
#include <algorithm>
#include <vector>

#include "native/testing/one-pod.h"
#include "native/testing/test.h"
#include "native/worker/own-connections.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr uint8_t POD = 10;
constexpr uint8_t SERVER = 12;
constexpr uint8_t STRANGER = 13;
constexpr uint16_t OWN = 41'000;
constexpr TcpFields SYN = {.flags = TCP_SYN, .sequence = 100};
constexpr TcpFields ACK = {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 901};

std::vector<uint8_t> goes(uint8_t family, const TcpFields& fields, uint16_t from = OWN,
                          uint8_t to = STRANGER, uint16_t toPort = 6443) {
  return tcpFrame(family, POD, from, to, toPort, fields);
}

std::vector<uint8_t> comes(uint8_t family, const TcpFields& fields, uint16_t to = OWN) {
  return tcpFrame(family, STRANGER, 6443, POD, to, fields);
}

// The way from the pod to the port 6443 of `to`.
OwnWay wayTo(uint8_t family, uint8_t to, uint16_t port = 6443) {
  const FrameBuilder frame(family, POD, to, PROTOCOL_TCP);
  return {frame.source, frame.destination, port, family};
}

}  // namespace

TEST("own connections: they pass both ways and leave nothing, and no others do") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    OwnConnections own;
    OnePod pod({.own = &own});
    CHECK(pod.fromPod(goes(family, SYN), 0).reason == DropReason::PolicyEgress);
    own.set(wayTo(family, STRANGER));
    CHECK(pod.fromPod(goes(family, SYN), 0).reason == DropReason::PolicyEgress);
    REQUIRE(own.add(OWN));
    for (const TcpFields& fields : {SYN, ACK}) {
      const Judgement out = pod.fromPod(goes(family, fields), 1);
      CHECK(out.passes() && !out.opened && !out.rejectable && out.deniedBy == 0);
      CHECK(!out.resetsSender && !out.resetsReceiver);
      CHECK(pod.fromNet(comes(family, fields), 1).passes());
    }
    CHECK(pod.filter->connectionCount() == 0);

    // Another port at either end, another server, another protocol, another sender.
    CHECK(!pod.fromPod(goes(family, SYN, OWN + 1), 2).passes());
    CHECK(!pod.fromPod(goes(family, SYN, OWN, STRANGER, 6444), 2).passes());
    CHECK(!pod.fromPod(goes(family, SYN, OWN, SERVER), 2).passes());
    CHECK(!pod.fromPod(goes(family, SYN, 0), 2).passes());
    CHECK(!pod.fromNet(comes(family, SYN, OWN + 1), 2).passes());
    CHECK(!pod.fromPod(udpFrame(family, POD, OWN, STRANGER, 6443), 2).passes());
    auto spoofed = comes(family, ACK);  // by the pod itself
    std::copy(OnePod::POD_MAC.begin(), OnePod::POD_MAC.end(), spoofed.begin() + 6);
    CHECK(pod.fromPod(spoofed, 2).reason == DropReason::SpoofedSource);

    own.remove(OWN);
    CHECK(pod.fromPod(goes(family, ACK), 3).reason == DropReason::NoConnection);
    CHECK(!pod.fromPod(goes(family, SYN), 3).passes());
  }
}

TEST("own connections: one that policy allowed goes on when a newer table denies it") {
  for (const auto established : {Established::Recheck, Established::Cut}) {
    OwnConnections own;
    own.set(wayTo(4, SERVER, 5432));
    REQUIRE(own.add(OWN));
    OnePod pod({.established = established, .own = &own});
    CHECK(pod.fromPod(tcpFrame(4, POD, OWN, SERVER, 5432, SYN), 0).opened);
    pod.publish(OnePod::Policy::DenyAll);
    while (pod.filter->sweep(*pod.table, 1)) CHECK(pod.filter->cut().empty());
    const Judgement next = pod.fromPod(tcpFrame(4, POD, OWN, SERVER, 5432, ACK), 2);
    CHECK(next.passes() && !next.cut);
    CHECK(pod.filter->cut().empty() && pod.filter->counters().cut.read() == 0);
    own.remove(OWN);
    CHECK(!pod.fromPod(tcpFrame(4, POD, OWN, SERVER, 5432, ACK), 3).passes());
  }
}

TEST("own connections: there is room for some, and room again when they are gone") {
  OwnConnections own;
  for (size_t at = 0; at < OwnConnections::PORTS_MAX; ++at) {
    CHECK(own.add(static_cast<uint16_t>(OWN + at)));
  }
  CHECK(!own.add(1));
  own.remove(OWN);
  CHECK(own.add(1));
}
