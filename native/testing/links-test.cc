#include <linux/filter.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "native/attach/steering-program.h"
#include "native/host/descriptor.h"
#include "native/io/memory-link.h"
#include "native/io/xdp-link.h"
#include "native/packet/finish-offload.h"
#include "native/packet/steering.h"
#include "native/testing/blob-builder.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"
#include "native/worker/handover.h"
#include "native/worker/wait-policy.h"
#include "native/worker/worker.h"

namespace sluice {
namespace {

using testing::BlobBuilder;
using testing::FrameBuilder;
using testing::tcpFrame;
using testing::udpFrame;

Frame frameOf(std::vector<uint8_t>& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  return frame;
}

uint32_t workerOf(const Steering& steering, std::vector<uint8_t> bytes, uint32_t own = 99) {
  return steering.workerOf(frameOf(bytes), own);
}

std::vector<uint8_t> errorAbout(uint8_t family, const std::vector<uint8_t>& quoted, uint8_t from) {
  FrameBuilder error(family, from, 10, family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  error.payload = {uint8_t(family == 4 ? 3 : 2), uint8_t(family == 4 ? 4 : 0), 0, 0, 0, 0, 5, 0};
  error.payload.insert(error.payload.end(), quoted.begin() + ETHERNET_HEADER_BYTES, quoted.end());
  return error.build();
}

constexpr Steering FOUR = {.workers = 4, .multiplier = 0x9e3779b1};

TEST("steering: both directions of a connection, and errors about it, meet one worker") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    std::array<int, 4> met = {};
    for (uint8_t peer = 11; peer < 111; ++peer) {
      const auto there = tcpFrame(family, 10, 40'000, peer, 80, {.flags = TCP_SYN});
      const uint32_t worker = workerOf(FOUR, there);
      REQUIRE(worker < 4);
      ++met[worker];
      CHECK(workerOf(FOUR, tcpFrame(family, peer, 80, 10, 40'000, {.flags = TCP_SYN})) == worker);
      CHECK(workerOf(FOUR, udpFrame(family, peer, 1, 10, 2)) == worker);
      CHECK(workerOf(FOUR, errorAbout(family, there, 200)) == worker);
    }
    for (const int count : met) CHECK(count > 5);
  }
}

TEST("steering: later fragments go where the first one went") {
  FrameBuilder later(4, 11, 10, PROTOCOL_UDP);
  later.fragment = 100;
  later.payload.assign(64, 0);
  CHECK(workerOf(FOUR, later.build()) == workerOf(FOUR, udpFrame(4, 11, 1, 10, 2)));
}

TEST("steering: what has no addresses stays where it is") {
  CHECK(workerOf(FOUR, {1, 2, 3}) == 99);
  std::vector<uint8_t> other(60, 0);
  other[12] = 0x88;
  other[13] = 0xcc;
  CHECK(workerOf(FOUR, other) == 99);
  std::vector<uint8_t> cut = udpFrame(6, 10, 1, 11, 2);
  cut.resize(ETHERNET_HEADER_BYTES + 30);
  CHECK(workerOf(FOUR, cut) == 99);
}

// An answer does not have the addresses of what it answers: the group of a solicitation is none of
// them.
TEST("steering: one worker has all that neighbours say to each other") {
  std::vector<uint8_t> arp(60, 0);
  arp[12] = 8;
  arp[13] = 6;
  CHECK(workerOf(FOUR, arp) == 0);
  for (const uint8_t type : {133, 134, 135, 136, 137, 130, 131, 132, 143}) {
    FrameBuilder message(6, 10, 11, PROTOCOL_ICMPV6);
    message.payload.assign(24, 0);
    message.payload[0] = type;
    for (uint8_t peer = 0; peer < 100; ++peer) {
      message.destination[15] = peer;
      CHECK(workerOf(FOUR, message.build()) == 0);
    }
    message.protocol = 0;
    message.options = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
    CHECK(workerOf(FOUR, message.build()) == 0);
  }
  FrameBuilder echo(6, 10, 11, PROTOCOL_ICMPV6);
  echo.payload = {128, 0, 0, 0, 0, 0, 0, 0};
  echo.destination[15] = 0x12;
  CHECK(workerOf(FOUR, echo.build()) == workerOf(FOUR, udpFrame(6, 10, 1, 12, 2)));
}

// As the kernel runs it, for the instructions that are in it.
uint32_t runFilter(const std::vector<sock_filter>& code, const std::vector<uint8_t>& frame) {
  uint32_t a = 0;
  uint32_t x = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& each = code[at];
    const auto value = static_cast<int32_t>(each.k);
    switch (each.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        a = value == SKF_AD_OFF + SKF_AD_PROTOCOL
                ? load16(frame.data() + 12)
                : load32(frame.data() + ETHERNET_HEADER_BYTES + (value - SKF_NET_OFF));
        break;
      case BPF_MISC | BPF_TAX:
        x = a;
        break;
      case BPF_ALU | BPF_XOR | BPF_X:
        a ^= x;
        break;
      case BPF_ALU | BPF_MUL | BPF_K:
        a *= each.k;
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        a >>= each.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += a == each.k ? each.jt : each.jf;
        break;
      case BPF_RET | BPF_A:
        return a;
      default:
        return each.k;
    }
  }
  return 0;
}

TEST("steering: the kernel is asked for the same") {
  const std::vector<sock_filter> code = steeringFilter(FOUR);
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (uint8_t peer = 11; peer < 111; ++peer) {
      const auto frame = udpFrame(family, 10, 1, peer, 2);
      CHECK(runFilter(code, frame) % FOUR.workers == workerOf(FOUR, frame));
    }
  }
}

// Goal: a signal does not keep a program out of the kernel.
// Method: a timer's signals, many of which come while the kernel checks; what it refuses otherwise,
// such as to who may load none, is no matter here.
TEST("programs: a signal during the kernel's check is no refusal") {
  struct sigaction quiet = {};
  struct sigaction before = {};
  quiet.sa_handler = [](int) {};
  quiet.sa_flags = SA_RESTART;
  REQUIRE(sigaction(SIGALRM, &quiet, &before) == 0);
  const itimerval often = {{0, 500}, {0, 500}};
  REQUIRE(setitimer(ITIMER_REAL, &often, nullptr) == 0);
  int interrupted = 0;
  for (int round = 0; round < 2'000; ++round) {
    Descriptor program;
    const Status status = loadSteeringProgram(FOUR, &program);
    interrupted += !status.ok() && status.error == EAGAIN ? 1 : 0;
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  CHECK(interrupted == 0);
}

TEST("handover: frames come out whole and in order, a link at a time, round after round") {
  std::unique_ptr<Handover> handover;
  REQUIRE(Handover::create(&handover).ok());
  CHECK(handover->empty());
  std::vector<uint8_t> bytes(60'000);
  std::array<Frame, BATCH_FRAMES_MAX> taken;
  uint8_t next = 0;
  for (int round = 0; round < 100; ++round) {
    const size_t lengths[] = {60, 1'514, 40'000 + static_cast<size_t>(round) * 7, 61};
    for (size_t each = 0; each < 4; ++each) {
      std::memset(bytes.data(), ++next, lengths[each]);
      Frame frame = frameOf(bytes);
      frame.length = static_cast<uint32_t>(lengths[each]);
      frame.offload.gsoSize = next;
      REQUIRE(handover->push(each < 2 ? 1 : 5, frame));
    }
    for (const uint32_t link : {1u, 5u}) {
      uint32_t from = NONE;
      const size_t count = handover->take(taken, &from);
      REQUIRE(count == 2);
      CHECK(from == link);
      for (size_t each = 0; each < 2; ++each) {
        const Frame& frame = taken[each];
        const auto number = static_cast<uint8_t>(next - 3 + (link == 5 ? 2 : 0) + each);
        CHECK(frame.length == lengths[each + (link == 5 ? 2 : 0)]);
        CHECK(frame.offload.gsoSize == number);
        CHECK(frame.bytes[0] == std::byte{number});
        CHECK(frame.bytes[frame.length - 1] == std::byte{number});
      }
      handover->release();
    }
    CHECK(handover->empty());
  }
}

TEST("handover: when it is full it takes no more, and what is taken stays until released") {
  std::unique_ptr<Handover> handover;
  REQUIRE(Handover::create(&handover).ok());
  std::vector<uint8_t> bytes(65'000, 7);
  size_t pushed = 0;
  while (handover->push(1, frameOf(bytes))) ++pushed;
  // What one link may take, and then another of the rest.
  CHECK(pushed >= 11 && pushed <= 12);
  while (handover->push(2, frameOf(bytes))) ++pushed;
  CHECK(pushed >= 13 && pushed <= 15);
  while (handover->push(3, frameOf(bytes))) ++pushed;
  CHECK(pushed <= Handover::RING_BYTES / bytes.size());
  std::array<Frame, 1> taken;
  uint32_t from = NONE;
  REQUIRE(handover->take(taken, &from) == 1);
  CHECK(!handover->push(1, frameOf(bytes)));
  handover->release();
  CHECK(handover->push(4, frameOf(bytes)));
  handover->clear();
  CHECK(handover->empty());
  CHECK(handover->take(taken, &from) == 0);
}

constexpr uint64_t US = 1'000;

TEST("waiting: sleeping workers sleep, spinning ones look") {
  CHECK(!WaitPolicy(PollMode::Sleep).lookAgain(1, 0));
  CHECK(WaitPolicy(PollMode::Spin).lookAgain(1'000'000, 10'000'000 * US));
}

TEST("waiting: looking on begins after a short sleep and ends after long ones") {
  WaitPolicy waiting;
  CHECK(waiting.lookAgain(1, 0));
  CHECK(!waiting.lookAgain(10, 1 * US));
  waiting.found(true, 30 * US);
  CHECK(waiting.lookAgain(1'000, 49 * US));
  CHECK(!waiting.lookAgain(1'000, 51 * US));
  waiting.found(false, 20 * US);
  CHECK(waiting.lookAgain(1'000, 49 * US));
  waiting.found(true, 10'000 * US);
  CHECK(!waiting.lookAgain(1'000, 26 * US));
  CHECK(waiting.lookAgain(1'000, 24 * US));
  for (int sleeps = 0; sleeps < 4; ++sleeps) waiting.found(true, 10'000 * US);
  CHECK(!waiting.lookAgain(10, 1 * US));
}

TEST("waiting: a window is as long as the sleep that it would have replaced") {
  WaitPolicy waiting;
  waiting.found(true, 120 * US);
  CHECK(waiting.lookAgain(1'000, 119 * US));
  CHECK(!waiting.lookAgain(1'000, 121 * US));
  // The next SYN is found so, again and again, without a sleep.
  for (uint32_t syns = 0; syns < 2 * WaitPolicy::VAIN_MAX; ++syns) {
    waiting.found(false, 96 * US);
    CHECK(waiting.lookAgain(1'000, 96 * US));
  }
  waiting.found(true, WaitPolicy::SHORT_SLEEP_NS);
  CHECK(waiting.lookAgain(1'000, WaitPolicy::SHORT_SLEEP_NS - 1));
  CHECK(!waiting.lookAgain(1'000, WaitPolicy::SHORT_SLEEP_NS));
  // A longer sleep opens none, and the next short one gives the window its own length.
  waiting.found(true, WaitPolicy::SHORT_SLEEP_NS + 1);
  CHECK(!waiting.lookAgain(1'000, WaitPolicy::SHORT_SLEEP_NS / 2));
  waiting.found(true, 1 * US);
  CHECK(waiting.lookAgain(1'000, 49 * US));
  CHECK(!waiting.lookAgain(1'000, 51 * US));
}

TEST("waiting: windows that never pay close, for a while") {
  WaitPolicy waiting;
  for (uint32_t sleeps = 0; sleeps <= WaitPolicy::VAIN_MAX; ++sleeps) waiting.found(true, 120 * US);
  CHECK(!waiting.lookAgain(1, 0));
  for (uint32_t sleeps = 0; sleeps < WaitPolicy::CLOSED_FOR; ++sleeps) {
    waiting.found(true, 120 * US);
  }
  CHECK(waiting.lookAgain(1'000, 49 * US));
}

TEST("waiting: whoever keeps the core gets it, and the worker goes to another one first") {
  WaitPolicy waiting;
  uint64_t nowNs = 1'000'000 * US;
  waiting.found(true, 80 * US);
  CHECK(!waiting.yielded(20 * US, nowNs));
  CHECK(waiting.lookAgain(1'000, 40 * US));
  CHECK(waiting.yielded(3'000 * US, nowNs));
  waiting.moved(nowNs);
  CHECK(waiting.lookAgain(1'000, 40 * US));
  // Much later it may go again; soon after, going has been of no use.
  nowNs += WaitPolicy::MOVED_NS + 3'000 * US;
  CHECK(waiting.yielded(3'000 * US, nowNs));
  waiting.moved(nowNs);
  CHECK(!waiting.yielded(3'000 * US, nowNs + 5'000 * US));
  CHECK(!waiting.lookAgain(1, 0));
}

TEST("waiting: where each core is wanted by many, going from one to the other has an end") {
  WaitPolicy waiting;
  uint64_t nowNs = 1'000'000 * US;
  waiting.found(true, 80 * US);
  CHECK(waiting.yielded(30'000 * US, nowNs));
  // The move waits for its turn on the other core, and so does the first yield there.
  nowNs += 30'000 * US;
  waiting.moved(nowNs);
  CHECK(!waiting.yielded(30'000 * US, nowNs + 30'010 * US));
  CHECK(!waiting.lookAgain(1, 0));
  // It did not help, so there is no other one for a while.
  CHECK(!waiting.yielded(30'000 * US, nowNs + 900'000 * US));
  CHECK(waiting.yielded(30'000 * US, nowNs + 1'100'000 * US));
}

TEST("waiting: whoever keeps the core gets it where there is no other one") {
  WaitPolicy nowhere;
  nowhere.found(true, 80 * US);
  CHECK(nowhere.yielded(3'000 * US, 1'000'000 * US));
  nowhere.stays();
  CHECK(!nowhere.lookAgain(1, 0));
  WaitPolicy crowded(PollMode::Adaptive, false);
  CHECK(!crowded.yielded(3'000 * US, 1'000'000 * US));
  CHECK(!crowded.lookAgain(1, 0));
}

TEST("waiting: gives way after single frames, where others share the core") {
  WaitPolicy waiting;
  CHECK(!waiting.givesWay(1));
  CHECK(!waiting.yielded(3 * US, 1'000 * US));
  CHECK(waiting.givesWay(1));
  CHECK(!waiting.givesWay(BATCH_FRAMES_MAX));
  CHECK(!waiting.yielded(WaitPolicy::SHARED_NS - 1, 2'000 * US));
  CHECK(!waiting.givesWay(1));
  WaitPolicy spinning(PollMode::Spin);
  CHECK(!spinning.yielded(3 * US, 1'000 * US));
  CHECK(!spinning.givesWay(1));
}

TEST("waiting: no window where no core is left for others") {
  WaitPolicy waiting(PollMode::Adaptive, false);
  waiting.found(true, 80 * US);
  CHECK(!waiting.lookAgain(10, 1 * US));
}

// The sum of the pseudo header, as a stack leaves it for the card.
void makePartial(std::vector<uint8_t>& frame, uint8_t family, uint32_t field) {
  const uint32_t ip = ETHERNET_HEADER_BYTES;
  const uint32_t l4 = ip + (family == 4 ? 20 : 40);
  uint32_t sum =
      (family == 4 ? frame[ip + 9] : frame[ip + 6]) + static_cast<uint32_t>(frame.size() - l4);
  for (uint32_t at = ip + (family == 4 ? 12 : 8); at < l4; at += 2) sum += load16(&frame[at]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  frame[l4 + field] = static_cast<uint8_t>(sum >> 8);
  frame[l4 + field + 1] = static_cast<uint8_t>(sum);
}

TEST("af-xdp: partial checksums are found and come out right, whole ones are left") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const bool tcp : {true, false}) {
      auto bytes = tcp ? tcpFrame(family, 10, 1, 11, 2, {.flags = TCP_ACK, .payloadBytes = 33})
                       : udpFrame(family, 10, 1, 11, 2, 33);
      const uint32_t field = tcp ? 16 : 6;
      const uint32_t l4 = ETHERNET_HEADER_BYTES + (family == 4 ? 20 : 40);
      makePartial(bytes, family, field);
      Frame frame = frameOf(bytes);
      findPartialChecksum(&frame);
      REQUIRE(frame.offload.flags == OFFLOAD_NEEDS_CHECKSUM);
      CHECK(frame.offload.checksumStart == l4);
      CHECK(frame.offload.checksumOffset == field);
      REQUIRE(completeChecksum(&frame));
      uint16_t got = 0;
      std::memcpy(&got, &bytes[l4 + field], 2);
      bytes[l4 + field] = bytes[l4 + field + 1] = 0;
      const uint16_t want = transportChecksum(&bytes[ETHERNET_HEADER_BYTES], family,
                                              tcp ? PROTOCOL_TCP : PROTOCOL_UDP, &bytes[l4],
                                              static_cast<uint32_t>(bytes.size() - l4));
      CHECK(got == want);
      std::memcpy(&bytes[l4 + field], &want, 2);
      frame.offload = {};
      findPartialChecksum(&frame);
      CHECK(frame.offload.flags == 0);
    }
  }
}

TEST("af-xdp: no checksum is looked for in fragments, behind the packet, or in a cut one") {
  auto bytes = udpFrame(4, 10, 1, 11, 2, 33);
  makePartial(bytes, 4, 6);
  auto padded = bytes;
  padded.push_back(1);
  auto fragment = bytes;
  fragment[ETHERNET_HEADER_BYTES + 6] = 0x20;
  auto cut = bytes;
  cut.resize(cut.size() - 1);
  for (auto* each : {&padded, &fragment, &cut}) {
    Frame frame = frameOf(*each);
    findPartialChecksum(&frame);
    CHECK(frame.offload.flags == 0);
  }
}

// Goal: of two workers, each tracks the connections that belong to it, wherever frames come in.
// Method: all frames come in by the first one's link; the rounds are ours.
TEST("workers: a frame is judged by the worker it belongs to, and leaves by that one's link") {
  TableSlot tables{2};
  BlobBuilder builder;
  const uint32_t open = builder.addPortSet({{ProtocolSlot::Tcp, 0, 65'535}});
  builder.setCells(1, 1, {open});
  builder.addEndpoint({.ingressRow = 0, .egressRow = 0});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  builder.mapV4({10, 10, 0, 10}, builder.addLeaf({0, 0, 0}));
  const auto blob = builder.build();
  const Steering steering = {.workers = 2, .multiplier = FOUR.multiplier};
  std::array<std::unique_ptr<EventRing>, 2> events;
  std::array<std::unique_ptr<Worker>, 2> workers;
  std::array<std::array<MemoryLink*, 2>, 2> links;
  for (size_t number = 0; number < 2; ++number) {
    REQUIRE(EventRing::create(64, &events[number]).ok());
    REQUIRE(Worker::create({.connectionsMax = 64, .fragmentsMax = 4}, &tables, number,
                           events[number].get(), &workers[number])
                .ok());
  }
  const std::array<Worker*, 2> all = {workers[0].get(), workers[1].get()};
  for (size_t number = 0; number < 2; ++number) {
    REQUIRE(all[number]->join(steering, all).ok());
    for (uint32_t side = 0; side < 2; ++side) {
      auto link = std::make_unique<MemoryLink>(80, true);
      links[number][side] = link.get();
      uint32_t id = NONE;
      REQUIRE(all[number]->addLink(std::move(link), std::nullopt, &id).ok());
      REQUIRE(id == side);
    }
    REQUIRE(all[number]->joinWire(0, 1, 0, false).ok());
  }

  uint32_t generation = 0;
  REQUIRE(tables.publish(blob.bytes(), std::vector<uint32_t>{0}, &generation).ok());

  std::array<size_t, 2> belong = {};
  for (uint8_t peer = 20; peer < 60; ++peer) {
    auto bytes = tcpFrame(4, 10, 40'000, peer, 80, {.flags = TCP_SYN, .sequence = 1});
    ++belong[steering.workerOf(frameOf(bytes), 0)];
    REQUIRE(links[0][0]->arrive(frameOf(bytes)));
  }
  REQUIRE(belong[0] > 0);
  REQUIRE(belong[1] > 0);
  all[0]->round(1'000'000);
  all[1]->round(1'000'000);
  for (size_t number = 0; number < 2; ++number) {
    CHECK(all[number]->connectionCount() == belong[number]);
    CHECK(links[number][1]->sent().size() == belong[number]);
    CHECK(all[number]->drops(DropReason::TransmitFull) == 0);
  }

  // A link that goes takes what was handed over with it: its number may become another's.
  auto late = tcpFrame(4, 10, 40'001, 20, 80, {.flags = TCP_SYN, .sequence = 1});
  for (uint8_t peer = 20; steering.workerOf(frameOf(late), 0) != 1; ++peer) {
    late = tcpFrame(4, 10, 40'001, peer, 80, {.flags = TCP_SYN, .sequence = 1});
  }
  REQUIRE(links[0][0]->arrive(frameOf(late)));
  all[0]->round(1'000'000);
  REQUIRE(all[1]->removeLink(0).ok());
  CHECK(all[1]->round(1'000'000) == 0);
}

}  // namespace
}  // namespace sluice
