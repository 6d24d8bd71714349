#include "native/packet/reject.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "native/packet/finish-offload.h"
#include "native/packet/quote.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

using testing::echoFrame;
using testing::TcpFields;
using testing::tcpFrame;
using testing::udpFrame;

constexpr uint8_t POD = 10;
constexpr uint8_t STRANGER = 13;

Frame frameOf(std::vector<uint8_t>& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  return frame;
}

// An answer that was read back: what a receiver would see of it.
struct Answer {
  explicit Answer(std::vector<uint8_t> denied) {
    bytes.resize(REJECT_BYTES_MAX);
    Frame frame;
    written = writeReject(frameOf(denied), std::as_writable_bytes(std::span(bytes)), &frame);
    if (!written) return;
    bytes.resize(frame.length);
    read();
  }
  explicit Answer(const Reset& reset) {
    bytes.resize(RESET_BYTES_MAX);
    Frame frame;
    writeReset(reset, std::as_writable_bytes(std::span(bytes)), &frame);
    bytes.resize(frame.length);
    written = true;
    read();
  }

  void read() {
    parsed = parsePacket(frameOf(bytes), &view) == DropReason::None &&
             parseTransport(&view) == DropReason::None;
  }

  // Whether the checksums fit the bytes, by other code than the writer's.
  [[nodiscard]] bool isSound() const {
    const uint8_t* ip = bytes.data() + ETHERNET_HEADER_BYTES;
    const uint32_t headerBytes = view.key.family == 4 ? 20 : 40;
    if (view.key.family == 4 && sum(ip, headerBytes, 0) != 0xffff) return false;
    const uint32_t length =
        static_cast<uint32_t>(bytes.size()) - ETHERNET_HEADER_BYTES - headerBytes;
    const bool pseudo = view.key.protocol != PROTOCOL_ICMP;
    uint32_t start = 0;
    if (pseudo) {
      start = sum(ip + (view.key.family == 4 ? 12 : 8), view.key.family == 4 ? 8 : 32, 0);
      start += view.key.protocol + length;
    }
    return sum(ip + headerBytes, length, start) == 0xffff;
  }

  static uint32_t sum(const uint8_t* from, uint32_t length, uint32_t start) {
    uint64_t total = start;
    for (uint32_t at = 0; at < length; ++at) total += from[at] * (at % 2 == 0 ? 256U : 1U);
    while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
    return static_cast<uint32_t>(total);
  }

  std::vector<uint8_t> bytes;
  PacketView view;
  bool written = false;
  bool parsed = false;
};

bool goesBack(const std::vector<uint8_t>& answer, const std::vector<uint8_t>& denied) {
  return std::equal(answer.begin(), answer.begin() + 6, denied.begin() + 6) &&
         std::equal(answer.begin() + 6, answer.begin() + 12, denied.begin());
}

// Source: RFC 9293 section 3.10.7.1, for a connection that is not there.
TEST("reject: a segment is answered by the reset that its numbers ask for") {
  struct Case {
    TcpFields sent;
    uint8_t flags;
    uint32_t sequence;
    uint32_t acknowledgement;
  };
  const std::vector<Case> cases = {
      {{.flags = TCP_SYN, .sequence = 100}, TCP_RST | TCP_ACK, 0, 101},
      {{.flags = TCP_SYN, .sequence = 0xffff'ffff}, TCP_RST | TCP_ACK, 0, 0},
      {{.flags = TCP_SYN, .sequence = 100, .payloadBytes = 7}, TCP_RST | TCP_ACK, 0, 108},
      {{.flags = TCP_FIN | TCP_ACK, .acknowledgement = 900}, TCP_RST, 900, 0},
      {{.flags = TCP_ACK, .sequence = 100, .acknowledgement = 900}, TCP_RST, 900, 0},
      {{.flags = TCP_SYN | TCP_ACK, .sequence = 100, .acknowledgement = 900}, TCP_RST, 900, 0},
  };
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const Case& each : cases) {
      const auto denied = tcpFrame(family, POD, 40'000, STRANGER, 22, each.sent);
      const Answer answer(denied);
      REQUIRE(answer.parsed);
      CHECK(answer.isSound());
      CHECK(goesBack(answer.bytes, denied));
      const PacketView& view = answer.view;
      CHECK(view.key.protocol == PROTOCOL_TCP && view.key.family == family);
      CHECK(view.key.sourcePort == 22 && view.key.destinationPort == 40'000);
      CHECK(view.tcp.flags == each.flags && view.tcp.sequence == each.sequence);
      CHECK(view.tcp.acknowledgement == each.acknowledgement && view.tcp.payloadBytes == 0);
    }
  }
}

TEST("reject: what is no TCP is answered by the error that quotes it, as far as it may") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const size_t most = ETHERNET_HEADER_BYTES + (family == 4 ? 576 : 1'280);
    for (const size_t payload : {8, 1'000, 1'400, 60'000}) {
      const auto denied = udpFrame(family, POD, 4'000, STRANGER, 53, payload);
      const Answer answer(denied);
      REQUIRE(answer.parsed);
      CHECK(answer.isSound());
      CHECK(goesBack(answer.bytes, denied));
      const size_t whole = denied.size() + (family == 4 ? 28 : 48);
      CHECK(answer.bytes.size() == std::min(most, whole));
      CHECK(answer.view.icmpRole == IcmpRole::Error);
      CHECK(answer.view.icmpType == (family == 4 ? 3 : 1));
      CHECK(answer.view.icmpCode == (family == 4 ? 13 : 1));
      Quote quote;
      CHECK(parseQuote(answer.view, &quote) == DropReason::None);
      CHECK(quote.key.source == answer.view.key.destination);
      CHECK(quote.key.destination == answer.view.key.source);
      CHECK(quote.key.sourcePort == 4'000 && quote.key.destinationPort == 53);
    }
    const Answer echo(echoFrame(family, POD, STRANGER, false, 77));
    REQUIRE(echo.parsed);
    CHECK(echo.isSound() && echo.view.icmpRole == IcmpRole::Error);
  }
}

TEST("reject: what cannot be read has no answer") {
  auto whole = udpFrame(4, POD, 4'000, STRANGER, 53);
  for (size_t length = 0; length < whole.size() - 8; ++length) {
    CHECK(!Answer(std::vector<uint8_t>(whole.begin(), whole.begin() + static_cast<long>(length)))
               .written);
  }
  whole[12] = 0x12;
  CHECK(!Answer(whole).written);
}

TEST("reject: a reset that answers nothing says what it was told to") {
  Reset reset;
  reset.sourceMac = {2, 0, 0, 0, 0, 1};
  reset.destinationMac = {2, 0, 0, 0, 0, 2};
  reset.key = {.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}};
  reset.key.family = 4;
  reset.key.protocol = PROTOCOL_TCP;
  reset.key.sourcePort = 80;
  reset.key.destinationPort = 40'000;
  reset.sequence = 0xdead'beef;
  reset.acknowledgement = 0xcafe'f00d;
  reset.acknowledges = true;
  const Answer segment(reset);
  REQUIRE(segment.parsed);
  CHECK(segment.isSound() && segment.bytes[5] == 2 && segment.bytes[11] == 1);
  CHECK(segment.view.key == reset.key && segment.view.tcp.flags == (TCP_RST | TCP_ACK));
  CHECK(segment.view.tcp.sequence == 0xdead'beef);
  CHECK(segment.view.tcp.acknowledgement == 0xcafe'f00d);
}

TEST("reject: answers are so many a second, and a number at once after a pause") {
  RejectLimit limit;
  const auto taken = [&limit](uint64_t nowUs, size_t tries) {
    size_t count = 0;
    for (size_t each = 0; each < tries; ++each) count += limit.take(nowUs) ? 1 : 0;
    return count;
  };
  uint64_t now = 1'000'000'000;
  CHECK(taken(now, 10'000) == RejectLimit::AT_ONCE);
  CHECK(taken(now, 1) == 0);
  CHECK(taken(now + RejectLimit::EACH_US, 10) == 1);
  now += 1'000'000;
  size_t within = 0;
  for (uint64_t us = 0; us < 1'000'000; us += 100) within += taken(now + us, 5);
  CHECK(within >= 1'000 && within <= 1'000 + RejectLimit::AT_ONCE);
  CHECK(taken(now + 3'600'000'000, 10'000) == RejectLimit::AT_ONCE);
}

}  // namespace
}  // namespace sluice
