#pragma once

#include <cstdint>

#include "native/layout/layout.gen.h"
#include "native/packet/bytes.h"
#include "native/packet/flow-key.h"
#include "native/packet/frame.h"

namespace sluice {

inline constexpr uint32_t ETHERNET_HEADER_BYTES = 14;

inline constexpr uint8_t PROTOCOL_ICMP = 1;
inline constexpr uint8_t PROTOCOL_TCP = 6;
inline constexpr uint8_t PROTOCOL_UDP = 17;
inline constexpr uint8_t PROTOCOL_ICMPV6 = 58;
inline constexpr uint8_t PROTOCOL_SCTP = 132;

inline constexpr uint8_t TCP_FIN = 0x01;
inline constexpr uint8_t TCP_SYN = 0x02;
inline constexpr uint8_t TCP_RST = 0x04;
inline constexpr uint8_t TCP_PSH = 0x08;
inline constexpr uint8_t TCP_ACK = 0x10;
inline constexpr uint8_t TCP_URG = 0x20;

// `windowScale` of a segment without that option.
inline constexpr uint8_t WINDOW_SCALE_ABSENT = 0xff;

enum class PacketKind : uint8_t { Arp, Ip };

// The role of an ICMP or ICMPv6 message in connection tracking.
enum class IcmpRole : uint8_t {
  None,     // the packet is not ICMP (IPv4) or ICMPv6 (IPv6)
  Request,  // opens a query: echo, timestamp, information, address mask
  Reply,    // answers one
  Error,    // quotes the packet that it reports
  Other,    // neither: neighbour discovery, multicast listeners, unassigned
};

// The fields of a TCP segment for window tracking.
struct TcpSegment {
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint32_t payloadBytes = 0;
  uint16_t window = 0;
  uint8_t flags = 0;
  uint8_t windowScale = WINDOW_SCALE_ABSENT;  // read from SYN segments only
  bool partial = false;                       // a first fragment: later ones have the rest
};

// The parts of a checked frame.
//
// Shape: every offset counts from the start of the frame; [l4Offset, l4Offset + l4Bytes) lies
//        inside it and holds no Ethernet padding. ARP: only `bytes` and `key` (sender and target
//        protocol address, family 4, protocol 0) are set.
// Owner: `bytes` is the frame's.
struct PacketView {
  const uint8_t* bytes = nullptr;
  FlowKey key = {};
  TcpSegment tcp = {};
  PacketKind kind = PacketKind::Ip;
  IcmpRole icmpRole = IcmpRole::None;
  uint8_t icmpType = 0;
  uint8_t icmpCode = 0;
  uint8_t hopLimit = 0;
  bool fragmented = false;         // part of a datagram that comes in several frames
  bool moreFragments = false;      // and not the last one
  bool hasFragmentHeader = false;  // IPv6; true for an atomic fragment too
  uint16_t fragmentOffset = 0;     // bytes
  uint32_t fragmentId = 0;
  uint32_t l4Offset = 0;
  uint32_t l4Bytes = 0;

  [[nodiscard]] const uint8_t* l4() const noexcept { return bytes + l4Offset; }
  [[nodiscard]] bool laterFragment() const noexcept { return fragmentOffset != 0; }
};

// Checks Ethernet, ARP, IPv4 with its options, and IPv6 with its extension headers.
//
// Shape:  on None, `*view` is whole but for the layer-4 fields (ports, tcp, icmp…).
// Cost:   no allocation; at most EXTENSION_HEADERS_MAX headers are walked.
// Errors: the drop reason; `*view` is then not to be used.
// Source: RFC 791, 826, 8200; what is refused beyond them: RFC 1858, 3128, 5095, 7112, 7126.
[[nodiscard]] DropReason parsePacket(const Frame& frame, PacketView* view) noexcept;

// Checks the layer-4 header of a whole packet or a first fragment, and fills the view's fields.
//
// Errors: the drop reason.
[[nodiscard]] DropReason parseTransport(PacketView* view) noexcept;

// Checks that the offload header's work stays inside the frame, changes nothing that has been
// judged, and is no more than a real sender asks for. Call it after parseTransport().
//
// Errors: OffloadInvalid, OffloadSegments.
[[nodiscard]] DropReason checkOffload(const Frame& frame, const PacketView& view) noexcept;

// The role of a message type in ICMP (family 4) or ICMPv6 (family 6).
[[nodiscard]] IcmpRole icmpRoleOf(uint8_t family, uint8_t type) noexcept;

// Whether an address is a group address: multicast, or the limited broadcast.
[[nodiscard]] inline bool isGroupAddress(const AddressBytes& address, uint8_t family) noexcept {
  if (family == 4) {
    return (address[0] & 0xf0) == 0xe0 || load32(address.data()) == 0xffffffff;
  }
  return address[0] == 0xff;
}

// Whether an address cannot be a packet's source: unspecified, loopback, group, IPv4-mapped.
[[nodiscard]] bool isMartianSource(const AddressBytes& address, uint8_t family) noexcept;

}  // namespace sluice
