#include "native/attach/forward-answers.h"

#include <cstring>
#include <memory>
#include <vector>

#include "native/packet/quote.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

using testing::echoFrame;
using testing::FrameBuilder;
using testing::tcpFrame;
using testing::udpFrame;

constexpr uint8_t POD = 10;
constexpr uint8_t STRANGER = 13;
constexpr uint8_t SERVICE = 99;

AddressBytes addressOf(uint8_t family, uint8_t last) {
  return FrameBuilder(family, last, last, PROTOCOL_UDP).source;
}

// A frame as the program hands it over: behind the Ethernet header, as far as there is room.
RefusedPacket refusedOf(const std::vector<uint8_t>& frame, const AddressBytes& sentTo,
                        uint16_t port) {
  RefusedPacket refused = {};
  std::memcpy(refused.destination, sentTo.data(), sentTo.size());
  refused.destinationPortBe = __builtin_bswap16(port);
  const size_t bytes = std::min(frame.size() - ETHERNET_HEADER_BYTES, sizeof refused.packet);
  refused.packetBytes = static_cast<uint16_t>(bytes);
  std::memcpy(refused.packet, frame.data() + ETHERNET_HEADER_BYTES, bytes);
  return refused;
}

struct Answered {
  explicit Answered(const RefusedPacket& refused) {
    Frame frame;
    written = writer->write(refused, &frame);
    if (!written) return;
    sound =
        parsePacket(frame, &view) == DropReason::None && parseTransport(&view) == DropReason::None;
    bytes = frame.length;
  }

  std::unique_ptr<ForwardAnswerWriter> writer = std::make_unique<ForwardAnswerWriter>();
  PacketView view;
  uint32_t bytes = 0;
  bool written = false;
  bool sound = false;
};

TEST("forward answers: a segment to a Service is reset from the Service's address and port") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const AddressBytes service = addressOf(family, SERVICE);
    const auto syn =
        tcpFrame(family, POD, 40'000, STRANGER, 8'080, {.flags = TCP_SYN, .sequence = 100});
    const Answered answer(refusedOf(syn, service, 80));
    REQUIRE(answer.sound);
    const FlowKey& key = answer.view.key;
    CHECK(key.source == service && key.sourcePort == 80);
    CHECK(key.destination == addressOf(family, POD) && key.destinationPort == 40'000);
    CHECK(answer.view.tcp.flags == (TCP_RST | TCP_ACK));
    CHECK(answer.view.tcp.acknowledgement == 101);
  }
}

TEST("forward answers: an error quotes the packet as its sender has sent it, also a long one") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const AddressBytes service = addressOf(family, SERVICE);
    auto writer = std::make_unique<ForwardAnswerWriter>();
    // The long one first: nothing of it is in the answers to the others.
    for (const size_t payload : {60'000, 1'400, 8}) {
      const auto datagram = udpFrame(family, POD, 4'000, STRANGER, 5'353, payload);
      Frame answer;
      REQUIRE(writer->write(refusedOf(datagram, service, 53), &answer));
      PacketView view;
      REQUIRE(parsePacket(answer, &view) == DropReason::None);
      REQUIRE(parseTransport(&view) == DropReason::None);
      CHECK(view.key.source == service && view.key.destination == addressOf(family, POD));
      CHECK(view.icmpType == (family == 4 ? 3 : 1) && view.icmpCode == (family == 4 ? 13 : 1));
      const size_t most = ETHERNET_HEADER_BYTES + (family == 4 ? 576 : 1'280);
      CHECK(answer.length == std::min(most, datagram.size() + (family == 4 ? 28 : 48)));
      Quote quote;
      CHECK(parseQuote(view, &quote) == DropReason::None);
      CHECK(quote.key.source == addressOf(family, POD) && quote.key.destination == service);
      CHECK(quote.key.sourcePort == 4'000 && quote.key.destinationPort == 53);
    }
    const Answered echo(refusedOf(echoFrame(family, POD, STRANGER, false, 77), service, 0));
    CHECK(echo.sound && echo.view.icmpRole == IcmpRole::Error);
  }
}

TEST("forward answers: what may have no answer, or cannot be read, has none") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const AddressBytes sentTo = addressOf(family, STRANGER);
    const auto hasAnswer = [&](const std::vector<uint8_t>& frame, const AddressBytes& to) {
      return Answered(refusedOf(frame, to, 80)).written;
    };
    const auto segment = [&](uint8_t flags) {
      return tcpFrame(family, POD, 40'000, STRANGER, 80, {.flags = flags});
    };
    CHECK(hasAnswer(segment(TCP_SYN), sentTo));
    CHECK(!hasAnswer(segment(TCP_RST), sentTo));
    CHECK(!hasAnswer(segment(TCP_RST | TCP_ACK), sentTo));

    // Errors, whoever has sent them.
    FrameBuilder error(family, POD, STRANGER, family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
    error.payload = {static_cast<uint8_t>(family == 4 ? 3 : 1), 1, 0, 0, 0, 0, 0, 0};
    error.payload.resize(64);
    CHECK(!hasAnswer(error.build(), sentTo));

    AddressBytes group = {};
    group[0] = family == 4 ? 224 : 0xff;
    group[15] = 1;
    if (family == 4) group = {224, 0, 0, 1};
    const auto datagram = udpFrame(family, POD, 4'000, STRANGER, 53, 8);
    CHECK(hasAnswer(datagram, sentTo));
    CHECK(!hasAnswer(datagram, group));
    if (family == 4) CHECK(!hasAnswer(datagram, {255, 255, 255, 255}));

    // Cut off anywhere before the end of what an answer needs.
    for (size_t bytes = 0; bytes < (family == 4 ? 20 : 40) + 4; ++bytes) {
      RefusedPacket refused = refusedOf(datagram, sentTo, 53);
      refused.packetBytes = static_cast<uint16_t>(bytes);
      CHECK(!Answered(refused).written);
    }
  }
  FrameBuilder part(4, POD, STRANGER, PROTOCOL_UDP);
  part.payload.resize(64);
  for (const uint16_t place : {0x2000, 0x0008}) {  // the first part, and a later one
    part.fragment = place;
    CHECK(!Answered(refusedOf(part.build(), addressOf(4, STRANGER), 53)).written);
  }
}

}  // namespace
}  // namespace sluice
