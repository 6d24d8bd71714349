#include "native/worker/worker.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "native/io/memory-link.h"
#include "native/testing/allocations.h"
#include "native/testing/blob-builder.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

using testing::Blob;
using testing::BlobBuilder;
using testing::echoFrame;
using testing::FrameBuilder;
using testing::OnePod;
using testing::TcpFields;
using testing::tcpFrame;
using testing::udpFrame;

constexpr MacAddress GATEWAY = {2, 0, 0, 0, 0, 0xfe};
constexpr uint32_t SECOND_US = 1'000'000;

// Two pods, 10 and 11 of OnePod's addresses. 11 takes TCP to one port and UDP only; everything else
// goes.
Blob twoPods(uint16_t port = 8080) {
  BlobBuilder builder;
  const uint32_t everything = builder.addPortSet({{ProtocolSlot::Tcp, 0, 65'535},
                                                  {ProtocolSlot::Udp, 0, 65'535},
                                                  {ProtocolSlot::Other, 0, 0}});
  const uint32_t some =
      builder.addPortSet({{ProtocolSlot::Tcp, port, port}, {ProtocolSlot::Udp, 0, 65'535}});
  builder.setCells(2, 1, {everything, some});
  builder.addEndpoint({.ingressRow = 0, .egressRow = 0});
  builder.addEndpoint({.ingressRow = 1, .egressRow = 0});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  for (const uint8_t last : {uint8_t{10}, uint8_t{11}}) {
    const uint32_t leaf = builder.addLeaf({0, last - 10u, 0});
    const auto last6 = static_cast<uint8_t>(last + 6);
    builder.mapV4({10, 10, 0, last}, leaf);
    builder.mapV6({0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last6}, leaf);
  }
  return builder.build();
}

// A worker with two memory links, one for each pod.
struct Setting {
  enum class Way { Wire, Switch };

  explicit Setting(Way way, bool carriesOffload = true,
                   Established established = Established::Recheck) {
    const FilterOptions options = {
        .connectionsMax = 1'024, .fragmentsMax = 16, .established = established};
    bool ok = EventRing::create(64, &events).ok();
    ok = ok && Worker::create(options, &tables, 0, events.get(), &worker).ok();
    const MacAddress macs[2] = {OnePod::POD_MAC, OnePod::PEER_MAC};
    for (int each = 0; ok && each < 2; ++each) {
      auto link = std::make_unique<MemoryLink>(80, carriesOffload);
      links[each] = link.get();
      uint32_t id = NONE;
      ok = worker->addLink(std::move(link), macs[each], &id).ok() && id == links_++;
    }
    ok = ok &&
         (way == Way::Wire ? worker->joinWire(0, 1, 0, false) : worker->makeSwitch(GATEWAY, NONE))
             .ok();
    if (!ok) std::abort();
    if (way == Way::Wire) publish({0});
    if (way == Way::Switch) publish({0, 1});
  }

  void publish(const std::vector<uint32_t>& linkByEndpoint, uint16_t port = 8080) {
    uint32_t generation = 0;
    if (!tables.publish(twoPods(port).bytes(), linkByEndpoint, &generation).ok()) std::abort();
  }

  // Lets a frame arrive at a link and rounds once.
  void arrive(int link, std::vector<uint8_t> bytes, Offload offload = {}) {
    Frame frame;
    frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
    frame.length = static_cast<uint32_t>(bytes.size());
    frame.offload = offload;
    CHECK(links[link]->arrive(frame));
    worker->round(nowUs += 10);
  }

  // What has left by a link since it was last asked.
  std::vector<std::vector<uint8_t>> leave(int link) {
    std::vector<std::vector<uint8_t>> frames;
    for (const Frame& frame : links[link]->sent()) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(frame.bytes);
      frames.emplace_back(bytes, bytes + frame.length);
    }
    links[link]->clearSent();
    return frames;
  }

  std::vector<FlowEvent> drain() {
    std::vector<FlowEvent> out(64);
    out.resize(events->drain(out));
    return out;
  }

  TableSlot tables{1};
  std::unique_ptr<EventRing> events;
  std::unique_ptr<Worker> worker;
  MemoryLink* links[2] = {};
  uint64_t nowUs = SECOND_US;

 private:
  uint32_t links_ = 0;
};

std::vector<uint8_t> syn(uint8_t from, uint8_t to, uint16_t port) {
  return tcpFrame(4, from, 40'000, to, port, {.flags = TCP_SYN, .sequence = 100});
}

TEST("worker: a wire hands on what passes, unchanged, and drops the rest with an event") {
  Setting setting(Setting::Way::Wire);
  const std::vector<uint8_t> allowed = syn(10, 11, 8080);
  setting.arrive(0, allowed);
  const auto out = setting.leave(1);
  REQUIRE(out.size() == 1);
  CHECK(out[0] == allowed);
  setting.arrive(0, syn(10, 11, 22));
  CHECK(setting.leave(1).empty());
  CHECK(setting.leave(0).empty());
  CHECK(setting.worker->drops(DropReason::PolicyIngress) == 1);

  const auto events = setting.drain();
  REQUIRE(events.size() == 2);
  CHECK(events[0].kind == static_cast<uint8_t>(FlowEventKind::Opened));
  CHECK(events[0].destinationPort == 8080);
  CHECK(events[0].generation == 1);
  CHECK(events[1].kind == static_cast<uint8_t>(FlowEventKind::Dropped));
  CHECK(events[1].reason == static_cast<uint8_t>(DropReason::PolicyIngress));
  CHECK(events[1].deniedBy == DENIED_BY_INGRESS);
  CHECK(events[1].destinationPort == 22);
  CHECK(events[1].frameBytes == allowed.size());

  LinkCounters counters = {};
  REQUIRE(setting.worker->readLink(0, &counters).ok());
  CHECK(counters.receivedFrames == 2);
  CHECK(counters.droppedFrames == 1);
  CHECK(counters.sentFrames == 0);
  REQUIRE(setting.worker->readLink(1, &counters).ok());
  CHECK(counters.sentFrames == 1);
  CHECK(counters.sentBytes == allowed.size());
}

TEST("worker: without a table everything is dropped") {
  std::unique_ptr<EventRing> events;
  TableSlot tables{1};
  std::unique_ptr<Worker> worker;
  REQUIRE(EventRing::create(16, &events).ok());
  REQUIRE(Worker::create({.connectionsMax = 16}, &tables, 0, events.get(), &worker).ok());
  uint32_t id = NONE;
  auto inside = std::make_unique<MemoryLink>(4, true);
  auto outside = std::make_unique<MemoryLink>(4, true);
  MemoryLink* in = inside.get();
  const MemoryLink* out = outside.get();
  REQUIRE(worker->addLink(std::move(inside), std::nullopt, &id).ok());
  REQUIRE(worker->addLink(std::move(outside), std::nullopt, &id).ok());
  REQUIRE(worker->joinWire(0, 1, 0, false).ok());
  std::vector<uint8_t> bytes = syn(10, 11, 8080);
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  REQUIRE(in->arrive(frame));
  CHECK(worker->round(SECOND_US) == 1);
  CHECK(out->sent().empty());
  CHECK(worker->drops(DropReason::NoTable) == 1);
}

TEST("worker: a wire needs two links that are there") {
  Setting setting(Setting::Way::Wire);
  CHECK(setting.worker->joinWire(0, 0, 0, false).code == StatusCode::Argument);
  CHECK(setting.worker->joinWire(0, 2, 0, false).code == StatusCode::Argument);
  CHECK(setting.worker->removeLink(7).code == StatusCode::Argument);
  CHECK(setting.worker->removeLink(1).ok());
  setting.arrive(0, syn(10, 11, 8080));
  CHECK(setting.worker->drops(DropReason::NoDestination) == 1);
}

TEST(
    "worker: a link in whose place another is put keeps its wire, its connections and its counts") {
  Setting setting(Setting::Way::Wire);
  setting.arrive(0, syn(10, 11, 8080));
  CHECK(setting.leave(1).size() == 1);
  std::unique_ptr<Link> before;
  CHECK(setting.worker->closeLink(7, &before).code == StatusCode::Argument);
  REQUIRE(setting.worker->closeLink(1, &before).ok());
  CHECK(before.get() == setting.links[1]);
  CHECK(setting.worker->interfaceOf(1) == 0);
  setting.arrive(0, udpFrame(4, 10, 1'000, 11, 53));
  CHECK(setting.worker->drops(DropReason::TransmitFull) == 1);

  auto anew = std::make_unique<MemoryLink>(80, true);
  setting.links[1] = anew.get();
  before = std::move(anew);
  REQUIRE(setting.worker->replaceLink(1, &before, OnePod::PEER_MAC).ok());
  // The answer of a connection that began before, from where only that one may come.
  setting.arrive(1,
                 tcpFrame(4, 11, 8080, 10, 40'000,
                          {.flags = TCP_SYN | TCP_ACK, .sequence = 500, .acknowledgement = 101}));
  CHECK(setting.leave(0).size() == 1);
  setting.arrive(0, syn(10, 11, 8080));
  CHECK(setting.leave(1).size() == 1);
  LinkCounters counters = {};
  REQUIRE(setting.worker->readLink(1, &counters).ok());
  CHECK(counters.sentFrames == 2);
  CHECK(counters.receivedFrames == 1);
}

// Two wires in one worker: pod 10 behind the links 0 and 1, pod 11 behind 2 and 3, which lets
// router advertisements in.
struct TwoWires {
  TwoWires() {
    bool ok = EventRing::create(64, &events).ok();
    const FilterOptions options = {.connectionsMax = 64, .fragmentsMax = 16};
    ok = ok && Worker::create(options, &tables, 0, events.get(), &worker).ok();
    for (uint32_t each = 0; ok && each < 4; ++each) {
      auto link = std::make_unique<MemoryLink>(80, true);
      links[each] = link.get();
      std::optional<MacAddress> mac;
      if (each % 2 == 0) mac = each == 0 ? OnePod::POD_MAC : OnePod::PEER_MAC;
      uint32_t id = NONE;
      ok = worker->addLink(std::move(link), mac, &id).ok() && id == each;
    }
    ok = ok && worker->joinWire(0, 1, 0, false).ok() && worker->joinWire(2, 3, 1, true).ok();
    const std::vector<uint32_t> linkByEndpoint = {0, 2};
    uint32_t generation = 0;
    ok = ok && tables.publish(twoPods().bytes(), linkByEndpoint, &generation).ok();
    if (!ok) std::abort();
  }

  // The link by which a frame that arrives at `link` leaves; -1 when it does not. Resets about it
  // may leave in its stead.
  int pass(int link, std::vector<uint8_t> bytes) {
    Frame frame;
    frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
    frame.length = static_cast<uint32_t>(bytes.size());
    CHECK(links[link]->arrive(frame));
    worker->round(nowUs += 10);
    int left = -1;
    for (int each = 0; each < 4; ++each) {
      if (links[each] == nullptr || links[each]->sent().empty()) continue;
      CHECK(links[each]->sent().size() == 1);
      const Frame& out = links[each]->sent()[0];
      const auto* first = reinterpret_cast<const uint8_t*>(out.bytes);
      if (std::equal(first, first + out.length, bytes.begin(), bytes.end())) left = each;
      links[each]->clearSent();
    }
    return left;
  }

  TableSlot tables{1};
  std::unique_ptr<EventRing> events;
  std::unique_ptr<Worker> worker;
  MemoryLink* links[4] = {};
  uint64_t nowUs = SECOND_US;
};

TEST("worker: one connection crosses two wires, each of which follows it by itself") {
  TwoWires wires;
  const std::vector<uint8_t> open = syn(10, 11, 8080);
  const std::vector<uint8_t> accept =
      tcpFrame(4, 11, 8080, 10, 40'000,
               {.flags = TCP_SYN | TCP_ACK, .sequence = 500, .acknowledgement = 101});
  // Nobody has opened it there yet.
  CHECK(wires.pass(2, accept) == -1);
  CHECK(wires.pass(0, open) == 1);
  CHECK(wires.pass(2, accept) == -1);
  CHECK(wires.pass(3, open) == 2);
  CHECK(wires.worker->connectionCount() == 2);
  CHECK(wires.pass(2, accept) == 3);
  CHECK(wires.pass(1, accept) == 0);
  CHECK(wires.worker->connectionCount() == 2);
}

TEST("worker: a wire takes only its own pod's frames, and only its own pod gets them") {
  TwoWires wires;
  // What pod 11 does not take is denied on the way out of 10 already, and on the way in.
  CHECK(wires.pass(0, syn(10, 11, 22)) == -1);
  CHECK(wires.pass(3, syn(10, 11, 22)) == -1);
  CHECK(wires.worker->drops(DropReason::PolicyIngress) == 2);
  // Each pod with the other's address, and with its own MAC.
  std::vector<uint8_t> forged = syn(11, 10, 8080);
  std::copy(OnePod::POD_MAC.begin(), OnePod::POD_MAC.end(), forged.begin() + 6);
  CHECK(wires.pass(0, forged) == -1);
  CHECK(wires.worker->drops(DropReason::SpoofedSource) == 1);
  // A pod's own address comes back to it from the network.
  CHECK(wires.pass(3, syn(11, 12, 80)) == -1);
  CHECK(wires.worker->drops(DropReason::SpoofedMac) == 1);
  std::vector<uint8_t> stolen = syn(11, 12, 80);
  std::copy(GATEWAY.begin(), GATEWAY.end(), stolen.begin() + 6);
  std::copy(OnePod::PEER_MAC.begin(), OnePod::PEER_MAC.end(), stolen.begin());
  CHECK(wires.pass(3, stolen) == -1);
  CHECK(wires.worker->drops(DropReason::SpoofedSource) == 2);
  // The network brings one wire what is the other's.
  std::vector<uint8_t> astray = syn(12, 10, 80);
  std::copy(OnePod::PEER_MAC.begin(), OnePod::PEER_MAC.end(), astray.begin());
  std::copy(GATEWAY.begin(), GATEWAY.end(), astray.begin() + 6);
  CHECK(wires.pass(3, astray) == -1);
  CHECK(wires.worker->drops(DropReason::PolicyIngress) == 3);
}

TEST("worker: a wire that goes leaves the others as they are") {
  TwoWires wires;
  CHECK(wires.pass(0, syn(10, 12, 80)) == 1);
  CHECK(wires.worker->joinWire(0, 3, 2, false).code == StatusCode::Argument);
  REQUIRE(wires.worker->removeLink(3).ok());
  wires.links[3] = nullptr;
  CHECK(wires.pass(2, syn(11, 12, 80)) == -1);
  CHECK(wires.worker->drops(DropReason::NoDestination) == 1);
  CHECK(wires.pass(0, syn(10, 12, 81)) == 1);
  uint32_t id = NONE;
  auto link = std::make_unique<MemoryLink>(80, true);
  wires.links[3] = link.get();
  REQUIRE(wires.worker->addLink(std::move(link), std::nullopt, &id).ok());
  CHECK(id == 3);
  // A zone is one wire's at a time.
  CHECK(wires.worker->joinWire(2, 3, 0, false).code == StatusCode::Argument);
  REQUIRE(wires.worker->joinWire(2, 3, 1, false).ok());
  CHECK(wires.pass(2, syn(11, 12, 80)) == 3);
}

TEST("worker: a wire that goes leaves its share of the fragmented datagrams to the others") {
  constexpr uint16_t SHARE = 8;  // of the 16 that there are
  TwoWires wires;
  const auto begins = [&wires](int inside, uint8_t pod, uint16_t count) {
    static uint16_t id = 0;
    for (uint16_t each = 0; each < count; ++each) {
      FrameBuilder frame(4, pod, 12, PROTOCOL_UDP);
      frame.identification = ++id;
      frame.fragment = 0x2000;
      frame.payload.assign(64, 0);
      frame.payload[4] = 0x10;  // the datagram's length
      CHECK(wires.pass(inside, frame.build()) == inside + 1);
    }
  };
  begins(2, 11, SHARE);
  begins(0, 10, SHARE);
  CHECK(wires.worker->fragmentsEvicted() == 0);
  begins(0, 10, 1);
  CHECK(wires.worker->fragmentsEvicted() == 1);
  const auto isUsed = [&wires](uint32_t link, uint64_t share, uint64_t evicted) {
    LinkCounters counters = {};
    return wires.worker->readLink(link, &counters).ok() && counters.fragments == SHARE &&
           counters.fragmentShare == share && counters.evictedFragments == evicted;
  };
  CHECK(isUsed(0, SHARE, 1) && isUsed(2, SHARE, 0));
  REQUIRE(wires.worker->removeLink(3).ok());
  CHECK(isUsed(0, 2 * SHARE, 1));
  wires.links[3] = nullptr;
  begins(0, 10, SHARE);
  CHECK(wires.worker->fragmentsEvicted() == 1);
  begins(0, 10, 1);
  CHECK(wires.worker->fragmentsEvicted() == 2);
}

TEST("worker: a new link is nobody's until a table says whose") {
  Setting setting(Setting::Way::Switch);
  CHECK(setting.worker->removeLink(1).ok());
  auto link = std::make_unique<MemoryLink>(80, true);
  const MemoryLink* sent = link.get();
  uint32_t id = NONE;
  REQUIRE(setting.worker->addLink(std::move(link), MacAddress{2, 0, 0, 0, 0, 0x77}, &id).ok());
  CHECK(id == 2);
  setting.arrive(0, syn(10, 11, 8080));
  CHECK(sent->sent().empty());
  CHECK(setting.worker->drops(DropReason::NoDestination) == 1);
  // Once no table binds it, the place is free.
  setting.publish({0});
  REQUIRE(
      setting.worker->addLink(std::make_unique<MemoryLink>(80, true), OnePod::PEER_MAC, &id).ok());
  CHECK(id == 1);
}

TEST("worker: a switch leads to the destination's link, from the gateway's MAC") {
  Setting setting(Setting::Way::Switch);
  setting.arrive(0, syn(10, 11, 8080));
  const auto out = setting.leave(1);
  REQUIRE(out.size() == 1);
  CHECK(std::memcmp(out[0].data(), OnePod::PEER_MAC.data(), 6) == 0);
  CHECK(std::memcmp(out[0].data() + 6, GATEWAY.data(), 6) == 0);
  // Replies pass without a rule.
  setting.arrive(1, tcpFrame(4, 11, 8080, 10, 40'000,
                             {.flags = TCP_SYN | TCP_ACK, .sequence = 7, .acknowledgement = 101}));
  CHECK(setting.leave(0).size() == 1);
  // Nobody here has the address, and there is no uplink.
  setting.arrive(0, udpFrame(4, 10, 40'000, 77, 53));
  CHECK(setting.worker->drops(DropReason::NoDestination) == 1);
  // Nobody's link, after a table that binds one pod only.
  setting.publish({0});
  setting.arrive(0, udpFrame(4, 10, 40'000, 11, 53));
  CHECK(setting.leave(1).empty());
  CHECK(setting.worker->drops(DropReason::NoDestination) == 2);
}

std::vector<uint8_t> arpRequest(uint8_t senderLast, uint8_t targetLast) {
  std::vector<uint8_t> bytes(6, 0xff);
  bytes.insert(bytes.end(), OnePod::POD_MAC.begin(), OnePod::POD_MAC.end());
  for (const uint16_t each : {0x0806, 0x0001, 0x0800, 0x0604, 0x0001}) {
    testing::append16(bytes, each);
  }
  bytes.insert(bytes.end(), OnePod::POD_MAC.begin(), OnePod::POD_MAC.end());
  if (senderLast == 0) {
    testing::append32(bytes, 0);
  } else {
    testing::append32(bytes, 0x0a0a0000u + senderLast);
  }
  bytes.insert(bytes.end(), 6, 0);
  testing::append32(bytes, 0x0a0a0000u + targetLast);
  return bytes;
}

TEST("worker: the gateway of a switch answers ARP for everybody but the asker") {
  Setting setting(Setting::Way::Switch);
  for (const uint8_t target : {uint8_t{1}, uint8_t{11}, uint8_t{200}}) {
    setting.arrive(0, arpRequest(10, target));
    const auto out = setting.leave(0);
    REQUIRE(out.size() == 1);
    const std::vector<uint8_t>& reply = out[0];
    REQUIRE(reply.size() == 42);
    CHECK(std::memcmp(&reply[0], OnePod::POD_MAC.data(), 6) == 0);
    CHECK(std::memcmp(&reply[6], GATEWAY.data(), 6) == 0);
    CHECK(load16(&reply[20]) == 2);
    CHECK(std::memcmp(&reply[22], GATEWAY.data(), 6) == 0);
    CHECK(load32(&reply[28]) == 0x0a0a0000u + target);
    CHECK(std::memcmp(&reply[32], OnePod::POD_MAC.data(), 6) == 0);
    CHECK(load32(&reply[38]) == 0x0a0a000au);
  }
  setting.arrive(0, arpRequest(10, 10));  // announcement
  setting.arrive(0, arpRequest(0, 10));   // probe
  CHECK(setting.leave(0).empty());
  CHECK(setting.leave(1).empty());
}

std::vector<uint8_t> solicitation(uint8_t targetLast) {
  FrameBuilder frame(6, 10, 10, PROTOCOL_ICMPV6);
  frame.destination = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, targetLast};
  frame.destinationMac = {0x33, 0x33, 0xff, 0, 0, targetLast};
  frame.hopLimit = 255;
  frame.payload = {135, 0, 0, 0, 0, 0, 0, 0};
  const uint8_t target[16] = {0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, targetLast};
  frame.payload.insert(frame.payload.end(), target, target + 16);
  frame.payload.insert(frame.payload.end(), {1, 1});
  frame.payload.insert(frame.payload.end(), OnePod::POD_MAC.begin(), OnePod::POD_MAC.end());
  return frame.build();
}

TEST("worker: the gateway of a switch answers neighbour solicitations") {
  Setting setting(Setting::Way::Switch);
  setting.arrive(0, solicitation(0x11));
  const auto out = setting.leave(0);
  REQUIRE(out.size() == 1);
  const std::vector<uint8_t>& reply = out[0];
  REQUIRE(reply.size() == 86);
  CHECK(reply[21] == 255);
  CHECK(reply[37] == 0x11);  // from the target
  CHECK(reply[53] == 0x10);  // to the asker
  CHECK(reply[54] == 136);
  CHECK((reply[58] & 0x60) == 0x60);  // solicited, override
  CHECK(reply[77] == 0x11);
  CHECK(reply[78] == 2 && reply[79] == 1);
  CHECK(std::memcmp(&reply[80], GATEWAY.data(), 6) == 0);
  uint32_t sum = 32 + PROTOCOL_ICMPV6;
  for (size_t at = 22; at < reply.size(); at += 2) sum += load16(&reply[at]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  CHECK(sum == 0xffff);
  setting.arrive(0, solicitation(0x10));  // its own address
  CHECK(setting.leave(0).empty());
}

TEST("worker: of what no policy judges, a sample is told, and nothing rides behind it") {
  Setting setting(Setting::Way::Wire);
  const auto told = [&setting] {
    const auto events = setting.drain();
    for (const FlowEvent& event : events) {
      CHECK(event.kind == static_cast<uint8_t>(FlowEventKind::Exempt));
    }
    return events.size();
  };
  std::vector<uint8_t> padded = arpRequest(10, 11);
  padded.resize(60, 's');
  setting.arrive(0, padded);
  auto out = setting.leave(1);
  REQUIRE(out.size() == 1);
  CHECK(out[0].size() == 60);
  CHECK(std::equal(out[0].begin(), out[0].begin() + 42, padded.begin()));
  CHECK(std::all_of(out[0].begin() + 42, out[0].end(), [](uint8_t byte) { return byte == 0; }));
  const auto events = setting.drain();
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == static_cast<uint8_t>(FlowEventKind::Exempt));
  CHECK(events[0].reason == static_cast<uint8_t>(ExemptKind::Arp));
  CHECK(events[0].linkId == 0);
  // The first of another kind, then one a second of any.
  setting.arrive(0, solicitation(0x11));
  CHECK(setting.leave(1).size() == 1);
  CHECK(told() == 1);
  for (int each = 0; each < 20; ++each) setting.arrive(0, arpRequest(10, 11));
  CHECK(told() == 0);
  setting.nowUs += 1'000'000;
  for (int each = 0; each < 20; ++each) setting.arrive(0, arpRequest(10, 11));
  CHECK(told() == 1);
  CHECK(setting.leave(1).size() == 40);
}

TEST("worker: a wire takes router advertisements where it was joined to take them") {
  TwoWires wires;
  FrameBuilder frame(6, 12, 10, PROTOCOL_ICMPV6);
  frame.sourceMac = GATEWAY;
  frame.source = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  frame.destination = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  frame.destinationMac = {0x33, 0x33, 0, 0, 0, 1};
  frame.hopLimit = 255;
  frame.payload = {134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0};
  CHECK(wires.pass(1, frame.build()) == -1);
  CHECK(wires.worker->drops(DropReason::RouterAdvertisement) == 1);
  CHECK(wires.pass(3, frame.build()) == 2);
}

TEST("worker: a superframe is cut for a link that cannot carry it") {
  for (const bool carries : {true, false}) {
    Setting setting(Setting::Way::Wire, carries);
    setting.arrive(0, syn(10, 11, 8080));
    setting.arrive(1,
                   tcpFrame(4, 11, 8080, 10, 40'000,
                            {.flags = TCP_SYN | TCP_ACK, .sequence = 7, .acknowledgement = 101}));
    (void)setting.leave(1);
    Offload offload = {};
    offload.flags = OFFLOAD_NEEDS_CHECKSUM;
    offload.gsoType = 1;
    offload.gsoSize = 1'000;
    offload.checksumStart = 34;
    offload.checksumOffset = 16;
    setting.arrive(
        0,
        tcpFrame(4, 10, 40'000, 11, 8080,
                 {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 8, .payloadBytes = 20'500}),
        offload);
    const auto out = setting.leave(1);
    CHECK(out.size() == (carries ? 1 : 21));
    CHECK(setting.worker->drops(DropReason::TransmitFull) == 0);
  }
}

// A link to which the kernel has room for frames at the third call only.
class FullLink final : public Link {
 public:
  size_t receive(std::span<Frame>) noexcept override { return 0; }
  void release() noexcept override {}
  bool transmit(const Frame&) noexcept override {
    calls = 0;
    return true;
  }
  size_t flush() noexcept override {
    ++calls;
    return 0;
  }
  [[nodiscard]] bool hasUnsent() const noexcept override { return calls < 3; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return false; }

  int calls = 3;
};

TEST("worker: the last frames of all are handed over when the kernel has room, and then no more") {
  Setting setting(Setting::Way::Wire);
  auto made = std::make_unique<FullLink>();
  const FullLink& full = *made;
  uint32_t id = NONE;
  REQUIRE(setting.worker->removeLink(1).ok());
  REQUIRE(setting.worker->addLink(std::move(made), OnePod::PEER_MAC, &id).ok() && id == 1);
  REQUIRE(setting.worker->joinWire(0, 1, 0, false).ok());
  setting.publish({0});
  setting.arrive(0, udpFrame(4, 10, 1'000, 11, 53));
  for (int round = 0; round < 5; ++round) setting.worker->round(setting.nowUs += 10);
  CHECK(full.calls == 3);
}

TEST("worker: what the outgoing link cannot take is dropped and counted") {
  Setting setting(Setting::Way::Wire);
  for (int each = 0; each < 100; ++each) {
    setting.arrive(0, udpFrame(4, 10, static_cast<uint16_t>(1'000 + each), 11, 53));
  }
  CHECK(setting.leave(1).size() == 80);
  CHECK(setting.worker->drops(DropReason::TransmitFull) == 20);
  LinkCounters counters = {};
  REQUIRE(setting.worker->readLink(1, &counters).ok());
  CHECK(counters.refusedFrames == 20);
}

// A connection's life over a wire: what it carried is in the list while it lives, and in the event
// of its end, whatever ended it.
TEST("worker: connections are listed, forgotten, and told of when they end") {
  Setting setting(Setting::Way::Switch);
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);  // a job reads the clock itself
  setting.nowUs = static_cast<uint64_t>(now.tv_sec) * SECOND_US;
  const auto ask = udpFrame(4, 10, 4'000, 11, 53);
  for (uint16_t port = 4'000; port < 4'003; ++port) {
    setting.arrive(0, udpFrame(4, 10, port, 11, 53));
  }
  setting.arrive(1, udpFrame(4, 11, 53, 10, 4'000, 100));
  for (const FlowEvent& event : setting.drain()) {
    CHECK(event.kind == static_cast<uint8_t>(FlowEventKind::Opened));
  }

  ConnJob list;
  list.records.resize(8);
  setting.worker->send(&list);
  while (setting.worker->serveJob()) continue;
  CHECK(list.done.load());
  REQUIRE(list.count == 3);
  const ConnectionRecord* answered = nullptr;
  for (size_t each = 0; each < list.count; ++each) {
    if (list.records[each].sourcePort == 4'000) answered = &list.records[each];
  }
  REQUIRE(answered != nullptr);
  const uint64_t bytes = ask.size() + udpFrame(4, 11, 53, 10, 4'000, 100).size();
  CHECK(answered->assured == 1 && answered->totalPackets == 2 && answered->totalBytes == bytes);
  CHECK(answered->destinationPort == 53 && answered->protocol == PROTOCOL_UDP);
  CHECK(answered->state == static_cast<uint8_t>(ConnState::Replied));
  CHECK(answered->expiresInMs > 20'000 && answered->expiresInMs <= 30'000);

  // In pieces: each goes on where the one before was full, and all together are the same.
  size_t piecewise = 0;
  uint32_t place = 0;
  for (size_t pieces = 0; pieces < 4; ++pieces) {
    ConnJob piece;
    piece.records.resize(2);
    piece.place = place;
    setting.worker->send(&piece);
    while (setting.worker->serveJob()) continue;
    piecewise += piece.count;
    place = piece.place;
    CHECK(piece.full() == (pieces == 0));
  }
  CHECK(piecewise == 3);

  ConnJob forget;
  forget.kind = ConnJob::Kind::Forget;
  ConnKey key;
  std::memcpy(key.words.data(), answered->key, sizeof key.words);
  forget.keys = {key, key};
  setting.worker->send(&forget);
  while (setting.worker->serveJob()) continue;
  CHECK(forget.count == 1);
  CHECK(setting.worker->connectionCount() == 2);
  auto events = setting.drain();
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == static_cast<uint8_t>(FlowEventKind::Closed));
  CHECK(events[0].sourcePort == 4'000 && events[0].totalPackets == 2);
  CHECK(events[0].totalBytes == bytes);

  // The others time out, as the worker comes by.
  setting.nowUs += 60 * SECOND_US;
  for (int round = 0; round < 1'024 / 64; ++round) setting.worker->round(setting.nowUs);
  events = setting.drain();
  CHECK(events.size() == 2);
  for (const FlowEvent& event : events) {
    CHECK(event.kind == static_cast<uint8_t>(FlowEventKind::Closed));
    CHECK(event.totalPackets == 1 && event.totalBytes == ask.size());
  }
}

// A TCP segment that left, as its receiver reads it.
PacketView segmentOf(std::vector<uint8_t>& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  PacketView view;
  if (parsePacket(frame, &view) != DropReason::None) std::abort();
  if (parseTransport(&view) != DropReason::None) std::abort();
  return view;
}

// Goal: connections saved for a later process are those that it can continue.
TEST("worker: connections that both ends use are kept, and taken up where they were") {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);  // a job reads the clock itself
  Setting setting(Setting::Way::Wire);
  setting.nowUs = static_cast<uint64_t>(now.tv_sec) * SECOND_US;
  const auto both = [&](std::vector<uint8_t> from, std::vector<uint8_t> to) {
    setting.arrive(0, std::move(from));
    setting.arrive(1, std::move(to));
  };
  both(syn(10, 11, 8080),
       tcpFrame(4, 11, 8080, 10, 40'000,
                {.flags = TCP_SYN | TCP_ACK, .sequence = 700, .acknowledgement = 101}));
  const auto data = tcpFrame(4, 10, 40'000, 11, 8080,
                             {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 701});
  setting.arrive(0, data);
  both(udpFrame(6, 10, 5'000, 11, 53), udpFrame(6, 11, 53, 10, 5'000));
  // Neither what nobody has answered, nor what is asked once, nor what is over.
  setting.arrive(0, udpFrame(4, 10, 5'001, 11, 53));
  setting.arrive(0, tcpFrame(4, 10, 40'001, 11, 8080, {.flags = TCP_SYN, .sequence = 1}));
  both(echoFrame(4, 11, 10, false, 7), echoFrame(4, 10, 11, true, 7));
  both(tcpFrame(4, 10, 40'002, 11, 8080, {.flags = TCP_SYN, .sequence = 100}),
       tcpFrame(4, 11, 8080, 10, 40'002, {.flags = TCP_RST | TCP_ACK, .acknowledgement = 101}));
  setting.leave(0);
  setting.leave(1);

  ConnJob keep;
  keep.kind = ConnJob::Kind::Keep;
  keep.saved.resize(8);
  setting.worker->send(&keep);
  while (setting.worker->serveJob()) continue;
  REQUIRE(keep.done.load() && keep.count == 2);

  Setting next(Setting::Way::Wire);
  next.nowUs = setting.nowUs;
  for (size_t each = 0; each < keep.count; ++each) {
    CHECK(next.worker->loadConnection(keep.saved[each], 0));
  }
  // Where the windows are by now is not known: whatever comes next goes on.
  for (const uint32_t sequence : {101U, 0x7000'0000U}) {
    next.arrive(0, tcpFrame(4, 10, 40'000, 11, 8080,
                            {.flags = TCP_ACK, .sequence = sequence, .acknowledgement = 701}));
    CHECK(next.leave(1).size() == 1 && next.leave(0).empty());
  }
  next.arrive(1, udpFrame(6, 11, 53, 10, 5'000));
  CHECK(next.leave(0).size() == 1);
  CHECK(next.worker->resets() == 0);
  // Room for one is room for one.
  ConnJob few;
  few.kind = ConnJob::Kind::Keep;
  few.saved.resize(1);
  setting.worker->send(&few);
  while (setting.worker->serveJob()) continue;
  CHECK(few.done.load() && few.count == 1);
}

TEST("worker: whoever sends what policy denies is told, and nobody else hears of it") {
  for (const auto way : {Setting::Way::Wire, Setting::Way::Switch}) {
    Setting silent(way);
    silent.arrive(0, syn(10, 11, 22));
    CHECK(silent.leave(0).empty() && silent.worker->rejects() == 0);

    Setting setting(way);
    setting.worker->setRejecting(true);
    setting.arrive(0, syn(10, 11, 22));
    auto back = setting.leave(0);
    REQUIRE(back.size() == 1);
    const PacketView reset = segmentOf(back[0]);
    CHECK(reset.tcp.flags == (TCP_RST | TCP_ACK) && reset.tcp.acknowledgement == 101);
    setting.arrive(0, echoFrame(4, 10, 11, false, 7));
    CHECK(setting.leave(0).size() == 1);
    // Nor is there an answer to what is dropped for another cause.
    setting.arrive(0, syn(11, 10, 22));
    CHECK(setting.leave(0).empty());
    CHECK(setting.leave(1).empty());
    CHECK(setting.worker->rejects() == 2);
    CHECK(setting.worker->drops(DropReason::PolicyIngress) == 2);
  }
}

TEST("worker: a flood of denied packets is answered so far and no further") {
  Setting setting(Setting::Way::Wire);
  setting.worker->setRejecting(true);
  size_t answers = 0;
  for (uint16_t port = 1; port <= 2'000; ++port) {
    setting.arrive(0, tcpFrame(4, 10, port, 11, 22, {.flags = TCP_SYN}));
    answers += setting.leave(0).size();
    CHECK(setting.leave(1).empty());
  }
  CHECK(answers == setting.worker->rejects());
  CHECK(answers >= RejectLimit::AT_ONCE && answers <= RejectLimit::AT_ONCE + 20);
  CHECK(setting.worker->drops(DropReason::PolicyIngress) == 2'000);
}

// Goal: neither end of a connection that is not known waits for the other.
TEST("worker: both ends of an unknown connection that policy allows get a reset") {
  for (const auto way : {Setting::Way::Wire, Setting::Way::Switch}) {
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      Setting setting(way);
      const auto stray =
          tcpFrame(family, 10, 40'000, 11, 8080,
                   {.flags = TCP_ACK, .sequence = 500, .acknowledgement = 900, .payloadBytes = 7});
      setting.arrive(0, stray);
      auto back = setting.leave(0);
      auto on = setting.leave(1);
      REQUIRE(back.size() == 1 && on.size() == 1);
      const PacketView toSender = segmentOf(back[0]);
      CHECK(toSender.tcp.flags == TCP_RST && toSender.tcp.sequence == 900);
      CHECK(toSender.key.sourcePort == 8080 && toSender.key.destinationPort == 40'000);
      CHECK(std::equal(back[0].begin(), back[0].begin() + 6, stray.begin() + 6));
      const PacketView toReceiver = segmentOf(on[0]);
      CHECK(toReceiver.tcp.flags == (TCP_RST | TCP_ACK) && toReceiver.tcp.sequence == 500);
      CHECK(toReceiver.tcp.acknowledgement == 900 && toReceiver.tcp.payloadBytes == 0);
      CHECK(toReceiver.key.sourcePort == 40'000 && toReceiver.key.destinationPort == 8080);
      CHECK(std::equal(on[0].begin(), on[0].begin() + 6, OnePod::PEER_MAC.begin()));
      CHECK(setting.worker->drops(DropReason::NoConnection) == 1);
      CHECK(setting.worker->resets() == 1 && setting.worker->rejects() == 0);

      // Nor are resets answered, or what policy denies; that goes nowhere.
      setting.arrive(0, tcpFrame(family, 10, 40'000, 11, 8080, {.flags = TCP_RST, .sequence = 1}));
      setting.arrive(1, tcpFrame(family, 10, 40'000, 11, 22, {.flags = TCP_ACK}));
      CHECK(setting.leave(0).empty() && setting.leave(1).empty());
      // An answer alone is for its sender.
      setting.publish(way == Setting::Way::Wire ? std::vector<uint32_t>{0}
                                                : std::vector<uint32_t>{0, 1});
      setting.arrive(0, tcpFrame(family, 10, 40'000, 11, 22, {.flags = TCP_ACK}));
      CHECK(setting.leave(0).size() == 1 && setting.leave(1).empty());
      CHECK(setting.worker->resets() == 2);
    }
  }
}

TEST("worker: a flood of segments of unknown connections is answered so far and no further") {
  Setting setting(Setting::Way::Wire);
  size_t answers = 0;
  for (uint16_t port = 1; port <= 5'000; ++port) {
    setting.arrive(0, tcpFrame(4, 10, port, 11, 8080, {.flags = TCP_ACK}));
    answers += setting.leave(0).size();
    CHECK(setting.leave(1).size() <= 1);
  }
  CHECK(answers == setting.worker->resets());
  const uint64_t during = 5'000 * 10 / ResetLimit::EACH_US;
  CHECK(answers >= ResetLimit::AT_ONCE && answers <= ResetLimit::AT_ONCE + during + 1);
  CHECK(setting.worker->drops(DropReason::NoConnection) == 5'000);
}

// Goal: both ends of a connection that a swap denies get a reset that they accept, after a packet
//       or, with Cut, without one; without rejecting they get none.
TEST("worker: both ends of a connection that is cut are told, if senders are told") {
  for (const auto way : {Setting::Way::Wire, Setting::Way::Switch}) {
    for (const bool rejecting : {true, false}) {
      for (const auto established : {Established::Cut, Established::Recheck}) {
        Setting setting(way, true, established);
        setting.worker->setRejecting(rejecting);
        setting.arrive(0, syn(10, 11, 8080));
        setting.arrive(
            1, tcpFrame(4, 11, 8080, 10, 40'000,
                        {.flags = TCP_SYN | TCP_ACK, .sequence = 700, .acknowledgement = 101}));
        const TcpFields asks = {
            .flags = TCP_ACK, .sequence = 101, .acknowledgement = 701, .payloadBytes = 20};
        setting.arrive(0, tcpFrame(4, 10, 40'000, 11, 8080, asks));
        CHECK(setting.leave(0).size() == 1 && setting.leave(1).size() == 2);
        (void)setting.drain();
        setting.publish(
            way == Setting::Way::Wire ? std::vector<uint32_t>{0} : std::vector<uint32_t>{0, 1},
            8081);
        if (established == Established::Cut) {
          setting.worker->round(setting.nowUs += 10);
          setting.worker->round(setting.nowUs += 10);
        } else {
          TcpFields more = asks;
          more.sequence = 121;
          setting.arrive(0, tcpFrame(4, 10, 40'000, 11, 8080, more));
        }
        CHECK(setting.worker->connectionCount() == 0);
        const auto events = setting.drain();
        REQUIRE(events.size() == 2);
        const size_t cut = events[0].kind == static_cast<uint8_t>(FlowEventKind::Cut) ? 0 : 1;
        CHECK(events[cut].kind == static_cast<uint8_t>(FlowEventKind::Cut));
        CHECK(events[cut].deniedBy == DENIED_BY_INGRESS && events[cut].destinationPort == 8080);
        CHECK(events[1 - cut].kind == static_cast<uint8_t>(FlowEventKind::Closed));
        auto toClient = setting.leave(0);
        auto toServer = setting.leave(1);
        CHECK(toClient.size() == (rejecting ? 1 : 0) && toServer.size() == (rejecting ? 1 : 0));
        if (!rejecting) continue;
        REQUIRE(toClient.size() == 1 && toServer.size() == 1);
        const PacketView client = segmentOf(toClient[0]);
        CHECK(client.key.sourcePort == 8080 && client.tcp.flags == (TCP_RST | TCP_ACK));
        CHECK(client.tcp.sequence == 701 && client.tcp.acknowledgement == 121);
        const PacketView server = segmentOf(toServer[0]);
        CHECK(server.key.destinationPort == 8080 && server.tcp.flags == (TCP_RST | TCP_ACK));
        CHECK(server.tcp.sequence == 121 && server.tcp.acknowledgement == 701);
        CHECK(std::equal(toServer[0].begin(), toServer[0].begin() + 6, OnePod::PEER_MAC.begin()));
        CHECK(std::equal(toClient[0].begin(), toClient[0].begin() + 6, OnePod::POD_MAC.begin()));
      }
    }
  }
}

TEST("worker: the allocation count counts") {
  const uint64_t before = testing::allocationsOfThread();
  const std::vector<int> some(3);
  CHECK(some.size() == 3);
  CHECK(testing::allocationsOfThread() == before + 1);
}

// Goal: rounds allocate nothing, whatever the frames.
// Method: count operator new on this thread over connections opened, answered, refused, cut by a
// swap, timed out, and neighbour questions.
TEST("worker: a round allocates nothing") {
  for (const auto way : {Setting::Way::Wire, Setting::Way::Switch}) {
    Setting setting(way, true, Established::Cut);
    setting.worker->setRejecting(true);
    uint64_t allocations = 0;
    for (int turn = 0; turn < 200; ++turn) {
      const auto port = static_cast<uint16_t>(1'000 + turn);
      std::vector<std::vector<uint8_t>> frames = {
          udpFrame(4, 10, port, 11, 53),
          udpFrame(6, 10, port, 11, 53),
          tcpFrame(4, 10, port, 11, 8080, {.flags = TCP_ACK}),
          tcpFrame(4, 10, port, 11, 8080, {.flags = TCP_SYN}),
          tcpFrame(4, 10, port, 11, 22, {.flags = TCP_SYN}),
          arpRequest(10, 1),
          solicitation(0x11),
          {1, 2, 3},
      };
      if (turn % 50 == 0)
        setting.publish(
            way == Setting::Way::Wire ? std::vector<uint32_t>{0} : std::vector<uint32_t>{0, 1},
            turn == 100 ? 8081 : 8080);
      const uint64_t before = testing::allocationsOfThread();
      for (std::vector<uint8_t>& bytes : frames) {
        Frame frame;
        frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
        frame.length = static_cast<uint32_t>(bytes.size());
        CHECK(setting.links[0]->arrive(frame));
      }
      setting.worker->round(setting.nowUs += SECOND_US);
      allocations += testing::allocationsOfThread() - before;
      setting.links[0]->clearSent();
      setting.links[1]->clearSent();
    }
    CHECK(allocations == 0);
    // One a turn, and while the port is another, two.
    CHECK(setting.worker->drops(DropReason::PolicyIngress) == 250);
    CHECK(setting.worker->rejects() > 200);
  }
}

// Goal: a table may be swapped under a running worker, and frames are judged by one or the other.
TEST("worker: tables are swapped while it runs") {
  Setting setting(Setting::Way::Wire);
  struct Run {
    Worker* worker;
    std::atomic<bool> stop = false;
  } run = {setting.worker.get()};
  pthread_t thread;
  const auto body = [](void* context) -> void* {
    auto* each = static_cast<Run*>(context);
    each->worker->run(each->stop);
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, nullptr, body, &run) == 0);
  for (int swap = 0; swap < 200; ++swap) setting.publish({0});
  run.stop.store(true);
  setting.worker->wake();
  pthread_join(thread, nullptr);
  setting.arrive(0, syn(10, 11, 8080));
  CHECK(setting.leave(1).size() == 1);
  const auto events = setting.drain();
  REQUIRE(events.size() == 1);
  CHECK(events[0].generation == 201);
}

}  // namespace
}  // namespace sluice
