// Goal: the parser accepts what the RFCs allow, names what is wrong with the rest, and reads no
// byte
//       outside the frame.
// Method: whole frames built by hand and spoilt in one way each; every cut of every frame; all
//         under AddressSanitizer.
#include <algorithm>
#include <cstring>
#include <vector>

#include "native/packet/packet-view.h"
#include "native/packet/quote.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr size_t L3 = ETHERNET_HEADER_BYTES;

Frame frameOf(std::vector<uint8_t>& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  return frame;
}

DropReason parse(std::vector<uint8_t> bytes, PacketView* out = nullptr) {
  // A copy of just its size, so that a read past the end is found.
  std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  exact.shrink_to_fit();
  PacketView view;
  DropReason reason = parsePacket(frameOf(exact), &view);
  if (reason == DropReason::None && view.kind == PacketKind::Ip && !view.laterFragment()) {
    reason = parseTransport(&view);
  }
  if (out != nullptr) {
    *out = view;
    out->bytes = nullptr;
  }
  return reason;
}

FrameBuilder udpBuilder(uint8_t family) {
  FrameBuilder frame(family, 10, 12, PROTOCOL_UDP);
  append16(frame.payload, 4000);
  append16(frame.payload, 53);
  append16(frame.payload, 16);
  append16(frame.payload, 0);
  frame.payload.resize(16);
  return frame;
}

// An IPv6 UDP packet behind these extension headers; `first` is the first one's number.
DropReason parseChain(uint8_t first, std::vector<uint8_t> chain) {
  FrameBuilder frame = udpBuilder(6);
  frame.protocol = first;
  frame.options = std::move(chain);
  return parse(frame.build());
}

std::vector<uint8_t> fragmentHeader(uint8_t next, uint16_t place) {
  std::vector<uint8_t> header = {next, 0};
  append16(header, place);
  append32(header, 7);
  return header;
}

}  // namespace

TEST("packet: ports, addresses and lengths of whole packets") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    PacketView view;
    CHECK(parse(udpFrame(family, 10, 4000, 12, 53), &view) == DropReason::None);
    CHECK(view.key.family == family && view.key.protocol == PROTOCOL_UDP);
    CHECK(view.key.sourcePort == 4000 && view.key.destinationPort == 53);
    CHECK(view.key.destination[family == 4 ? 3 : 15] == (family == 4 ? 12 : 0x12));
    CHECK(view.l4Bytes == 16);
    CHECK(parse(tcpFrame(family, 10, 1, 12, 2,
                         {.flags = TCP_SYN, .sequence = 9, .options = {3, 3, 7, 0}}),
                &view) == DropReason::None);
    CHECK(view.tcp.sequence == 9 && view.tcp.windowScale == 7 && view.tcp.payloadBytes == 0);
    CHECK(parse(echoFrame(family, 10, 12, false, 0x1234), &view) == DropReason::None);
    CHECK(view.icmpRole == IcmpRole::Request && view.key.sourcePort == 0x1234);
  }
}

TEST("packet: every cut of a frame is refused") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const std::vector<uint8_t> whole = tcpFrame(family, 11, 1, 10, 2, {.flags = TCP_SYN});
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      const DropReason reason = parse({whole.begin(), whole.begin() + static_cast<long>(bytes)});
      const DropReason wanted = bytes < L3    ? DropReason::MalformedEthernet
                                : family == 4 ? DropReason::MalformedIpv4
                                              : DropReason::MalformedIpv6;
      CHECK(reason == wanted);
    }
  }
}

TEST("packet: padding is no part of the packet") {
  std::vector<uint8_t> bytes = udpFrame(4, 10, 4000, 12, 53, 0);
  bytes.resize(60, 0xee);
  PacketView view;
  CHECK(parse(bytes, &view) == DropReason::None);
  CHECK(view.l4Bytes == 8);
}

TEST("packet: Ethernet that is not judged") {
  const auto typed = [](uint16_t type) {
    std::vector<uint8_t> bytes = udpFrame(4, 10, 1, 12, 53);
    bytes[12] = static_cast<uint8_t>(type >> 8);
    bytes[13] = static_cast<uint8_t>(type);
    return parse(bytes);
  };
  for (const uint16_t tag : {0x8100, 0x88a8, 0x9100}) CHECK(typed(tag) == DropReason::VlanTag);
  for (const uint16_t type : {0, 100, 0x5dc, 0x5ff, 0x88cc, 0xffff}) {
    CHECK(typed(type) == DropReason::L2Protocol);
  }
  std::vector<uint8_t> group = udpFrame(4, 10, 1, 12, 53);
  group[6] |= 1;
  CHECK(parse(group) == DropReason::MalformedEthernet);

  std::vector<uint8_t> bytes = udpFrame(4, 10, 1, 12, 53);
  Frame frame = frameOf(bytes);
  PacketView view;
  frame.vlanTagged = true;
  CHECK(parsePacket(frame, &view) == DropReason::VlanTag);
  frame.vlanTagged = false;
  frame.truncated = true;
  CHECK(parsePacket(frame, &view) == DropReason::FrameTruncated);
}

TEST("packet: a hop limit of 0 has ended its way, 1 has not") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    FrameBuilder frame = udpBuilder(family);
    frame.hopLimit = 0;
    CHECK(parse(frame.build()) == DropReason::TtlExpired);
    frame.hopLimit = 1;
    CHECK(parse(frame.build()) == DropReason::None);
  }
}

TEST("packet: IPv4 header checks") {
  const auto spoilt = [](size_t at, uint8_t value) {
    std::vector<uint8_t> bytes = udpFrame(4, 10, 1, 12, 53);
    bytes[L3 + at] = value;
    return parse(bytes);
  };
  CHECK(spoilt(0, 0x65) == DropReason::MalformedIpv4);
  CHECK(spoilt(0, 0x44) == DropReason::MalformedIpv4);
  CHECK(spoilt(0, 0x4f) == DropReason::MalformedIpv4);
  CHECK(spoilt(3, 19) == DropReason::MalformedIpv4);
  CHECK(spoilt(3, 200) == DropReason::MalformedIpv4);
  CHECK(spoilt(10, 0x12) == DropReason::BadChecksum);

  const auto withOptions = [](std::vector<uint8_t> options) {
    FrameBuilder frame = udpBuilder(4);
    frame.options = std::move(options);
    return parse(frame.build());
  };
  CHECK(withOptions({1, 1, 1, 0}) == DropReason::None);
  CHECK(withOptions({148, 4, 0, 0}) == DropReason::None);
  CHECK(withOptions({131, 4, 4, 0}) == DropReason::ForbiddenIpOption);
  CHECK(withOptions({1, 137, 3, 4}) == DropReason::ForbiddenIpOption);
  CHECK(withOptions({7, 1, 0, 0}) == DropReason::MalformedIpv4);
  CHECK(withOptions({7, 5, 0, 0}) == DropReason::MalformedIpv4);
  CHECK(withOptions({1, 1, 1, 7}) == DropReason::MalformedIpv4);
  CHECK(withOptions({0, 7, 200, 0}) == DropReason::None);  // nothing counts behind the end
}

TEST("packet: IPv6 extension headers") {
  const std::vector<uint8_t> padded = {17, 0, 1, 4, 0, 0, 0, 0};
  CHECK(parseChain(0, padded) == DropReason::None);
  CHECK(parseChain(60, padded) == DropReason::None);
  CHECK(parseChain(43, padded) == DropReason::ForbiddenExtHeader);
  CHECK(parseChain(60, {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0}) ==
        DropReason::MalformedIpv6);
  CHECK(parseChain(60, {17, 0, 1, 5, 0, 0, 0, 0}) == DropReason::MalformedIpv6);
  CHECK(parseChain(0, {17, 0, 0xc2, 4, 0, 1, 0, 0}) == DropReason::MalformedIpv6);
  CHECK(parseChain(60, {17, 200, 1, 4, 0, 0, 0, 0}) == DropReason::MalformedIpv6);

  for (const size_t headers : {size_t{EXTENSION_HEADERS_MAX}, size_t{EXTENSION_HEADERS_MAX} + 1}) {
    std::vector<uint8_t> chain;
    for (size_t each = 0; each < headers; ++each) {
      const bool last = each + 1 == headers;
      const std::vector<uint8_t> header = {
          static_cast<uint8_t>(last ? 17 : 60), 0, 1, 4, 0, 0, 0, 0};
      chain.insert(chain.end(), header.begin(), header.end());
    }
    CHECK(parseChain(60, chain) ==
          (headers > EXTENSION_HEADERS_MAX ? DropReason::ExtHeaderLimit : DropReason::None));
  }
}

TEST("packet: fragments") {
  const auto v4 = [](uint16_t place, size_t payloadBytes, uint8_t protocol = PROTOCOL_UDP) {
    FrameBuilder frame(4, 10, 12, protocol);
    frame.fragment = place;
    frame.payload.assign(payloadBytes, 0);
    if (payloadBytes > 5) frame.payload[5] = 200;
    return parse(frame.build());
  };
  CHECK(v4(0x2000, 16) == DropReason::None);
  CHECK(v4(0x2000, 15) == DropReason::MalformedFragment);
  CHECK(v4(0x2000, 0) == DropReason::MalformedFragment);
  CHECK(v4(0x0002, 0) == DropReason::MalformedFragment);
  CHECK(v4(0x0002, 3) == DropReason::None);
  CHECK(v4(0x1fff, 100) == DropReason::FragmentOversize);
  CHECK(v4(0x2000, 16, PROTOCOL_TCP) == DropReason::FragmentTiny);
  CHECK(v4(0x2000, 8, PROTOCOL_SCTP) == DropReason::FragmentTiny);

  CHECK(parseChain(44, fragmentHeader(17, 0x0001)) == DropReason::None);
  CHECK(parseChain(44, fragmentHeader(17, 0xfff8)) == DropReason::FragmentOversize);
  CHECK(parseChain(44, fragmentHeader(60, 0x0001)) == DropReason::FragmentIncompleteChain);
  std::vector<uint8_t> twice = fragmentHeader(44, 0);
  const std::vector<uint8_t> second = fragmentHeader(17, 0);
  twice.insert(twice.end(), second.begin(), second.end());
  CHECK(parseChain(44, twice) == DropReason::ForbiddenExtHeader);

  FrameBuilder atomic = udpBuilder(6);
  atomic.protocol = 44;
  atomic.options = fragmentHeader(17, 0);
  PacketView view;
  CHECK(parse(atomic.build(), &view) == DropReason::None);
  CHECK(!view.fragmented && view.hasFragmentHeader && view.key.destinationPort == 53);
}

TEST("packet: exactly nine combinations of TCP flags are valid") {
  const std::vector<uint8_t> valid = {0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30};
  for (int flags = 0; flags < 256; ++flags) {
    const auto judged = static_cast<uint8_t>(flags & 0x37);
    const bool known = std::find(valid.begin(), valid.end(), judged) != valid.end();
    const DropReason reason =
        parse(tcpFrame(4, 10, 1, 12, 2, {.flags = static_cast<uint8_t>(flags)}));
    CHECK(reason == (known ? DropReason::None : DropReason::InvalidTcpFlags));
  }
}

TEST("packet: layer-4 headers that do not fit") {
  const auto shortened = [](uint8_t family, uint8_t protocol, size_t bytes) {
    FrameBuilder frame(family, 10, 12, protocol);
    frame.payload.assign(bytes, 0);
    if (bytes > 0 && protocol == PROTOCOL_ICMPV6) frame.payload[0] = 128;
    if (bytes > 0 && protocol == PROTOCOL_ICMP) frame.payload[0] = 8;
    return parse(frame.build());
  };
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (size_t bytes = 0; bytes < 20; ++bytes) {
      CHECK(shortened(family, PROTOCOL_TCP, bytes) == DropReason::MalformedTcp);
      CHECK(bytes >= 8 || shortened(family, PROTOCOL_UDP, bytes) == DropReason::MalformedUdp);
      CHECK(bytes >= 12 || shortened(family, PROTOCOL_SCTP, bytes) == DropReason::MalformedSctp);
      const uint8_t icmp = family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
      CHECK(bytes >= 8 || shortened(family, icmp, bytes) == DropReason::MalformedIcmp);
    }
  }
  FrameBuilder udp = udpBuilder(4);
  udp.payload[5] = 17;
  CHECK(parse(udp.build()) == DropReason::MalformedUdp);
  udp.payload[5] = 7;
  CHECK(parse(udp.build()) == DropReason::MalformedUdp);

  FrameBuilder sctp(4, 10, 12, PROTOCOL_SCTP);
  sctp.payload.assign(16, 0);
  sctp.payload[15] = 4;
  CHECK(parse(sctp.build()) == DropReason::None);
  sctp.payload[15] = 5;
  CHECK(parse(sctp.build()) == DropReason::MalformedSctp);
  sctp.payload[15] = 3;
  CHECK(parse(sctp.build()) == DropReason::MalformedSctp);

  CHECK(parse(tcpFrame(4, 10, 1, 12, 2, {.flags = TCP_SYN, .options = {3, 9, 7, 0}})) ==
        DropReason::MalformedTcp);
  CHECK(parse(tcpFrame(4, 10, 1, 12, 2, {.flags = TCP_SYN, .options = {8, 0, 0, 0}})) ==
        DropReason::MalformedTcp);
}

TEST("packet: an offload header may not reach what was judged") {
  const auto check = [](std::vector<uint8_t> bytes, Offload offload) {
    Frame frame = frameOf(bytes);
    frame.offload = offload;
    PacketView view;
    if (parsePacket(frame, &view) != DropReason::None) return DropReason::MalformedEthernet;
    if (parseTransport(&view) != DropReason::None) return DropReason::MalformedEthernet;
    return checkOffload(frame, view);
  };
  const std::vector<uint8_t> tcp =
      tcpFrame(4, 10, 1, 12, 2, {.flags = TCP_ACK, .payloadBytes = 4000});
  const std::vector<uint8_t> udp = udpFrame(4, 10, 1, 12, 2, 4000);
  CHECK(check(tcp, {}) == DropReason::None);
  CHECK(check(tcp, {1, 0, 0, 0, 34, 16}) == DropReason::None);
  CHECK(check(tcp, {1, 1, 54, 1448, 34, 16}) == DropReason::None);
  CHECK(check(tcp, {1, 0x81, 54, 1448, 34, 16}) == DropReason::None);
  CHECK(check(udp, {1, 5, 42, 1400, 34, 6}) == DropReason::None);
  CHECK(check(udp, {1, 0, 0, 0, 60, 16}) == DropReason::None);  // inside a tunnel

  for (const Offload& lie : {
           Offload{1, 0, 0, 0, 34, 0},       // the source port
           Offload{1, 0, 0, 0, 34, 13},      // the flags
           Offload{1, 0, 0, 0, 26, 24},      // starts in the IP header
           Offload{1, 0, 0, 0, 0, 50},       // starts at the frame
           Offload{1, 0, 0, 0, 34, 60000},   // past the end
           Offload{1, 0, 0, 0, 65535, 16},   //
           Offload{0, 1, 54, 1448, 0, 0},    // segments without a checksum to finish
           Offload{1, 1, 54, 0, 34, 16},     // segments of nothing
           Offload{1, 4, 54, 1448, 34, 16},  // TCP over IPv6
           Offload{1, 5, 54, 1448, 34, 16},  // UDP
           Offload{1, 0x80, 54, 1448, 34, 16},
           Offload{1, 9, 54, 1448, 34, 16},
       }) {
    CHECK(check(tcp, lie) == DropReason::OffloadInvalid);
  }
  CHECK(check(udp, {1, 0, 0, 0, 34, 2}) == DropReason::OffloadInvalid);
  FrameBuilder tunnel(4, 10, 12, 47);
  tunnel.payload.assign(100, 0);
  CHECK(check(tunnel.build(), {1, 0, 0, 0, 60, 16}) == DropReason::None);
  CHECK(check(tunnel.build(), {1, 0, 0, 0, 14, 16}) == DropReason::OffloadInvalid);
  std::vector<uint8_t> padded = tcp;
  padded.resize(padded.size() + 4);
  CHECK(check(padded, {1, 1, 54, 1448, 34, 16}) == DropReason::OffloadInvalid);
}

// Goal: a superframe that a real sender or GRO makes is taken, and one that only multiplies work is
// not.
TEST("packet: a superframe has no more segments than a stack makes") {
  const auto check = [](std::vector<uint8_t> bytes, uint8_t gsoType, uint16_t gsoSize) {
    Frame frame = frameOf(bytes);
    frame.offload = {1, gsoType, 54, gsoSize, 34, static_cast<uint16_t>(gsoType == 1 ? 16 : 6)};
    PacketView view;
    if (parsePacket(frame, &view) != DropReason::None) return DropReason::MalformedEthernet;
    if (parseTransport(&view) != DropReason::None) return DropReason::MalformedEthernet;
    return checkOffload(frame, view);
  };
  const auto tcp = [](size_t payloadBytes) {
    return tcpFrame(4, 10, 1, 12, 2, {.flags = TCP_ACK, .payloadBytes = payloadBytes});
  };
  // The largest there is, for every MSS down to that of an 88-byte one with timestamps.
  for (const uint16_t size :
       {uint16_t{1448}, uint16_t{524}, uint16_t{216}, uint16_t{76}, uint16_t{64}}) {
    CHECK(check(tcp(65'495), 1, size) == DropReason::None);
  }
  for (const uint16_t size : {uint16_t{63}, uint16_t{8}, uint16_t{1}}) {
    CHECK(check(tcp(65'495), 1, size) == DropReason::OffloadSegments);
    // What GRO makes of a sender that writes a few bytes at a time.
    CHECK(check(tcp(size_t{size} * 128), 1, size) == DropReason::None);
    CHECK(check(tcp(size_t{size} * 128 + 1), 1, size) == DropReason::OffloadSegments);
  }
  // A sender of UDP makes 128 at most, whatever their size.
  for (const uint16_t size : {uint16_t{400}, uint16_t{64}, uint16_t{1}}) {
    CHECK(check(udpFrame(4, 10, 1, 12, 2, size_t{size} * 128), 5, size) == DropReason::None);
    CHECK(check(udpFrame(4, 10, 1, 12, 2, size_t{size} * 128 + 1), 5, size) ==
          DropReason::OffloadSegments);
  }
  // Fragments of UDP: no kernel since 4.14 makes them.
  CHECK(check(udpFrame(4, 10, 1, 12, 2, 4'000), 3, 1'400) == DropReason::OffloadInvalid);
}

TEST("packet: martian sources") {
  const auto v4 = [](uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return isMartianSource({a, b, c, d}, 4);
  };
  CHECK(v4(0, 0, 0, 0) && v4(0, 1, 2, 3) && v4(127, 0, 0, 1) && v4(224, 0, 0, 1));
  CHECK(v4(239, 255, 255, 255) && v4(255, 255, 255, 255));
  CHECK(!v4(10, 0, 0, 1) && !v4(126, 255, 255, 255) && !v4(128, 0, 0, 1) && !v4(1, 0, 0, 0));
  AddressBytes address = {};
  CHECK(isMartianSource(address, 6));
  address[15] = 1;
  CHECK(isMartianSource(address, 6));
  address[15] = 2;
  CHECK(!isMartianSource(address, 6));
  address[10] = address[11] = 0xff;
  CHECK(isMartianSource(address, 6));
  CHECK(isMartianSource({0xff, 0x02}, 6));
  CHECK(!isMartianSource({0xfe, 0x80}, 6) && !isMartianSource({0x20, 0x01}, 6));
}

TEST("packet: quotes are read behind options and extension headers, and no further than they go") {
  const std::vector<uint8_t> quoted = udpFrame(4, 10, 4000, 12, 53);
  for (size_t bytes = 0; bytes <= quoted.size() - L3; ++bytes) {
    FrameBuilder error(4, 12, 10, PROTOCOL_ICMP);
    error.payload = {3, 3, 0, 0, 0, 0, 0, 0};
    error.payload.insert(error.payload.end(), quoted.begin() + L3,
                         quoted.begin() + static_cast<long>(L3 + bytes));
    std::vector<uint8_t> frame = error.build();
    frame.shrink_to_fit();
    PacketView view;
    Quote quote;
    REQUIRE(parsePacket(frameOf(frame), &view) == DropReason::None);
    REQUIRE(parseTransport(&view) == DropReason::None);
    CHECK(parseQuote(view, &quote) ==
          (bytes < 28 ? DropReason::RelatedTruncated : DropReason::None));
    if (bytes >= 28) CHECK(quote.key.sourcePort == 4000 && quote.key.destinationPort == 53);
  }
}
