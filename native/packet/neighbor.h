#pragma once

#include <cstdint>

#include "native/packet/packet-view.h"

namespace sluice {

inline constexpr uint8_t ICMPV6_LISTENER_QUERY = 130;
inline constexpr uint8_t ICMPV6_LISTENER_REPORT = 131;
inline constexpr uint8_t ICMPV6_LISTENER_DONE = 132;
inline constexpr uint8_t ICMPV6_ROUTER_SOLICITATION = 133;
inline constexpr uint8_t ICMPV6_ROUTER_ADVERTISEMENT = 134;
inline constexpr uint8_t ICMPV6_NEIGHBOR_SOLICITATION = 135;
inline constexpr uint8_t ICMPV6_NEIGHBOR_ADVERTISEMENT = 136;
inline constexpr uint8_t ICMPV6_REDIRECT = 137;
inline constexpr uint8_t ICMPV6_LISTENER_REPORT_2 = 143;

// An ARP packet's fields.
struct ArpMessage {
  bool reply = false;
  MacAddress senderMac = {};
  MacAddress targetMac = {};
  AddressBytes senderAddress = {};
  AddressBytes targetAddress = {};
};

// Reads an ARP packet that parsePacket() has accepted.
[[nodiscard]] ArpMessage readArp(const PacketView& view) noexcept;

// A neighbour discovery message's fields.
struct NeighborMessage {
  uint8_t type = 0;
  bool router = false;     // advertisement: the sender says it is a router
  bool hasTarget = false;  // solicitation, advertisement, redirect
  AddressBytes target = {};
  bool hasLinkAddress = false;  // source or target link-layer address option
  MacAddress linkAddress = {};
};

// Whether an ICMPv6 message of this type is neighbour discovery or a multicast listener message.
[[nodiscard]] bool isLinkType(uint8_t type) noexcept;

// Whether a packet is neighbour discovery (types 133 to 137) or a multicast listener message.
//
// Shape: `view` is a whole packet or a first fragment, before or after parseTransport().
[[nodiscard]] bool isNeighborDiscovery(const PacketView& view) noexcept;
[[nodiscard]] bool isListenerMessage(const PacketView& view) noexcept;

// Checks a neighbour discovery message and reads it.
//
// Errors: MalformedNdp.
// Source: RFC 4861 sections 6.1, 7.1 and 8.1; RFC 6980 (never fragmented).
[[nodiscard]] DropReason parseNeighbor(const PacketView& view, NeighborMessage* message) noexcept;

// The multicast group for solicitations of this address (RFC 4291 section 2.7.1).
[[nodiscard]] AddressBytes solicitedNodeOf(const AddressBytes& address) noexcept;

// The group ff02::N of a link.
[[nodiscard]] AddressBytes linkGroup(uint8_t last) noexcept;

// Makes the link-local address that an interface with this MAC assigns to itself (RFC 4291,
// EUI-64).
[[nodiscard]] AddressBytes linkLocalOf(const MacAddress& mac) noexcept;

[[nodiscard]] inline bool isLinkLocal(const AddressBytes& address) noexcept {
  return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

[[nodiscard]] inline bool isUnspecified(const AddressBytes& address) noexcept {
  return (loadWord(address.data()) | loadWord(address.data() + 8)) == 0;
}

}  // namespace sluice
