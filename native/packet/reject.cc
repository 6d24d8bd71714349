#include "native/packet/reject.h"

#include <algorithm>
#include <cstring>

#include "native/packet/finish-offload.h"

namespace sluice {
namespace {

constexpr uint32_t IPV4_HEADER_BYTES = 20;
constexpr uint32_t IPV6_HEADER_BYTES = 40;
constexpr uint32_t TCP_HEADER_BYTES = 20;
constexpr uint32_t ICMP_HEADER_BYTES = 8;
// The packet sizes that RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 allow, minus the IP
// header.
constexpr uint32_t ICMP_BYTES_MAX = 576 - IPV4_HEADER_BYTES;
constexpr uint32_t ICMPV6_BYTES_MAX = 1'280 - IPV6_HEADER_BYTES;
constexpr uint8_t HOP_LIMIT = 64;

void store16(uint8_t* to, uint32_t value) noexcept {
  to[0] = static_cast<uint8_t>(value >> 8);
  to[1] = static_cast<uint8_t>(value);
}

void store32(uint8_t* to, uint32_t value) noexcept {
  store16(to, value >> 16);
  store16(to + 2, value);
}

void storeChecksum(const uint8_t* bytes, uint32_t length, uint8_t* to) noexcept {
  uint32_t sum = 0;
  for (uint32_t at = 0; at + 1 < length; at += 2) sum += load16(bytes + at);
  if (length % 2 != 0) sum += static_cast<uint32_t>(bytes[length - 1]) << 8;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store16(to, ~sum & 0xffff);
}

// Writes the Ethernet and the IP header; returns where the message begins.
uint8_t* writeHeaders(const MacAddress& sourceMac, const MacAddress& destinationMac,
                      const FlowKey& key, uint32_t messageBytes, uint8_t* to) noexcept {
  std::memcpy(to, destinationMac.data(), 6);
  std::memcpy(to + 6, sourceMac.data(), 6);
  store16(to + 12, key.family == 4 ? 0x0800 : 0x86dd);
  uint8_t* ip = to + ETHERNET_HEADER_BYTES;
  if (key.family == 4) {
    std::memset(ip, 0, IPV4_HEADER_BYTES);
    ip[0] = 0x45;
    store16(ip + 2, IPV4_HEADER_BYTES + messageBytes);
    ip[6] = 0x40;  // don't fragment; needs no identification then (RFC 6864)
    ip[8] = HOP_LIMIT;
    ip[9] = key.protocol;
    std::memcpy(ip + 12, key.source.data(), 4);
    std::memcpy(ip + 16, key.destination.data(), 4);
    storeHeaderChecksum(ip, IPV4_HEADER_BYTES);
    return ip + IPV4_HEADER_BYTES;
  }
  std::memset(ip, 0, 8);
  ip[0] = 0x60;
  store16(ip + 4, messageBytes);
  ip[6] = key.protocol;
  ip[7] = HOP_LIMIT;
  std::memcpy(ip + 8, key.source.data(), 16);
  std::memcpy(ip + 24, key.destination.data(), 16);
  return ip + IPV6_HEADER_BYTES;
}

uint32_t headerBytes(const FlowKey& key) noexcept {
  return ETHERNET_HEADER_BYTES + (key.family == 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
}

MacAddress macAt(const uint8_t* bytes) noexcept {
  MacAddress mac;
  std::memcpy(mac.data(), bytes, mac.size());
  return mac;
}

// The reset that answers a segment of an unknown connection.
Reset resetOf(const PacketView& view) noexcept {
  Reset reset;
  reset.sourceMac = macAt(view.bytes);
  reset.destinationMac = macAt(view.bytes + 6);
  reset.key = view.key;
  std::swap(reset.key.source, reset.key.destination);
  std::swap(reset.key.sourcePort, reset.key.destinationPort);
  const TcpSegment& tcp = view.tcp;
  if ((tcp.flags & TCP_ACK) != 0) {
    reset.sequence = tcp.acknowledgement;
    return reset;
  }
  const uint32_t flagsLength = ((tcp.flags & TCP_SYN) != 0) + ((tcp.flags & TCP_FIN) != 0);
  reset.acknowledgement = tcp.sequence + tcp.payloadBytes + flagsLength;
  reset.acknowledges = true;
  return reset;
}

void writeProhibited(const PacketView& view, std::span<std::byte> into, Frame* answer) noexcept {
  const bool v4 = view.key.family == 4;
  FlowKey key = view.key;
  std::swap(key.source, key.destination);
  key.protocol = v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  const uint32_t packetBytes = view.l4Offset + view.l4Bytes - ETHERNET_HEADER_BYTES;
  const uint32_t room = (v4 ? ICMP_BYTES_MAX : ICMPV6_BYTES_MAX) - ICMP_HEADER_BYTES;
  const uint32_t quotedBytes = std::min(packetBytes, room);
  const uint32_t messageBytes = ICMP_HEADER_BYTES + quotedBytes;
  auto* to = reinterpret_cast<uint8_t*>(into.data());
  uint8_t* message = writeHeaders(macAt(view.bytes), macAt(view.bytes + 6), key, messageBytes, to);
  std::memset(message, 0, ICMP_HEADER_BYTES);
  message[0] = v4 ? 3 : 1;
  message[1] = v4 ? 13 : 1;
  std::memcpy(message + ICMP_HEADER_BYTES, view.bytes + ETHERNET_HEADER_BYTES, quotedBytes);
  if (v4) {
    storeChecksum(message, messageBytes, message + 2);
  } else {
    const uint16_t checksum =
        transportChecksum(to + ETHERNET_HEADER_BYTES, 6, PROTOCOL_ICMPV6, message, messageBytes);
    std::memcpy(message + 2, &checksum, sizeof checksum);
  }
  *answer = {};
  answer->bytes = into.data();
  answer->length = headerBytes(key) + messageBytes;
}

}  // namespace

void storeHeaderChecksum(uint8_t* ip, uint32_t headerBytes) noexcept {
  store16(ip + 10, 0);
  storeChecksum(ip, headerBytes, ip + 10);
}

bool writeReject(const Frame& denied, std::span<std::byte> into, Frame* answer) noexcept {
  PacketView view;
  if (parsePacket(denied, &view) != DropReason::None || view.kind != PacketKind::Ip ||
      parseTransport(&view) != DropReason::None) {
    return false;
  }
  if (view.key.protocol == PROTOCOL_TCP) {
    writeReset(resetOf(view), into, answer);
  } else {
    writeProhibited(view, into, answer);
  }
  return true;
}

bool writeResets(const Frame& segment, std::span<std::byte> intoToSender,
                 std::span<std::byte> intoToReceiver, Frame* toSender, Frame* toReceiver) noexcept {
  PacketView view;
  if (parsePacket(segment, &view) != DropReason::None || view.kind != PacketKind::Ip ||
      parseTransport(&view) != DropReason::None || view.key.protocol != PROTOCOL_TCP) {
    return false;
  }
  writeReset(resetOf(view), intoToSender, toSender);
  Reset onward;
  onward.sourceMac = macAt(view.bytes + 6);
  onward.destinationMac = macAt(view.bytes);
  onward.key = view.key;
  onward.sequence = view.tcp.sequence;
  onward.acknowledges = (view.tcp.flags & TCP_ACK) != 0;
  onward.acknowledgement = onward.acknowledges ? view.tcp.acknowledgement : 0;
  writeReset(onward, intoToReceiver, toReceiver);
  return true;
}

void writeReset(const Reset& reset, std::span<std::byte> into, Frame* segment) noexcept {
  const FlowKey& key = reset.key;
  auto* to = reinterpret_cast<uint8_t*>(into.data());
  uint8_t* tcp = writeHeaders(reset.sourceMac, reset.destinationMac, key, TCP_HEADER_BYTES, to);
  std::memset(tcp, 0, TCP_HEADER_BYTES);
  store16(tcp, key.sourcePort);
  store16(tcp + 2, key.destinationPort);
  store32(tcp + 4, reset.sequence);
  store32(tcp + 8, reset.acknowledgement);
  tcp[12] = TCP_HEADER_BYTES / 4 << 4;
  tcp[13] = reset.acknowledges ? TCP_RST | TCP_ACK : TCP_RST;
  const uint16_t checksum = transportChecksum(to + ETHERNET_HEADER_BYTES, key.family, PROTOCOL_TCP,
                                              tcp, TCP_HEADER_BYTES);
  std::memcpy(tcp + 16, &checksum, sizeof checksum);
  *segment = {};
  segment->bytes = into.data();
  segment->length = headerBytes(key) + TCP_HEADER_BYTES;
}

}  // namespace sluice
