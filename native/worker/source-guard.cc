#include "native/worker/source-guard.h"

#include <algorithm>
#include <utility>

#include "native/packet/neighbor.h"

namespace sluice {
namespace {

MacAddress macAt(const uint8_t* bytes) {
  MacAddress mac;
  std::copy_n(bytes, mac.size(), mac.begin());
  return mac;
}

MacAddress ethernetSource(const PacketView& view) { return macAt(view.bytes + 6); }

uint32_t endpointOf(const AddressBytes& address, uint8_t family, const TableInForce& table) {
  return table.view.leaf(table.view.leafOf(address.data(), family)).endpointId;
}

// Whether the MAC of the endpoint behind a wire is what `mac` is, seen from its uplink.
bool isPodMac(const MacAddress& mac, const LinkContext& from) {
  return from.wire && from.hasMac && mac == from.mac;
}

// The sending endpoint's MAC, or what it says of itself where that is not known.
MacAddress ownMac(const PacketView& view, const LinkContext& from) {
  return from.hasMac ? from.mac : ethernetSource(view);
}

// Whether an address is the sending endpoint's own: one of the table's, or for IPv6 the link-local
// one that its MAC gives.
bool isOwn(const AddressBytes& address, const PacketView& view, const LinkContext& from,
           const TableInForce& table) {
  const uint8_t family = view.key.family;
  if (family == 6 && isLinkLocal(address)) return address == linkLocalOf(ownMac(view, from));
  return from.endpointId != NONE && endpointOf(address, family, table) == from.endpointId;
}

// Whether an IPv6 address is a local endpoint's, seen from an uplink.
bool isSomebodysHere(const AddressBytes& address, const LinkContext& from,
                     const TableInForce& table) {
  if (isLinkLocal(address)) {
    return from.wire && from.hasMac && address == linkLocalOf(from.mac);
  }
  return isHere(endpointOf(address, 6, table), from, table);
}

DropReason guardEndpointSource(const PacketView& view, uint8_t type, const LinkContext& from,
                               const TableInForce& table) {
  const bool mayBeUnspecified = type == ICMPV6_NEIGHBOR_SOLICITATION ||
                                type == ICMPV6_ROUTER_SOLICITATION ||
                                type == ICMPV6_LISTENER_REPORT || type == ICMPV6_LISTENER_REPORT_2;
  if (isUnspecified(view.key.source)) {
    return mayBeUnspecified ? DropReason::None : DropReason::SpoofedSource;
  }
  return isOwn(view.key.source, view, from, table) ? DropReason::None : DropReason::SpoofedSource;
}

DropReason guardUplinkSource(const PacketView& view, const LinkContext& from,
                             const TableInForce& table) {
  const AddressBytes& source = view.key.source;
  if (isUnspecified(source)) return DropReason::None;  // duplicate address detection, listeners
  if (isMartianSource(source, 6)) return DropReason::MartianSource;
  return isSomebodysHere(source, from, table) ? DropReason::SpoofedSource : DropReason::None;
}

bool isLinkGroup(const AddressBytes& address) {
  return address[0] == 0xff && (address[1] & 0x0f) == 2;
}

// Whether a frame has no more around its message than an honest sender puts there: `optionBytes` of
// extension headers, and behind the packet what fills the shortest frame (a VLAN tag may have
// gone).
bool isBare(const Frame& frame, const PacketView& view, uint32_t optionBytes) {
  constexpr uint32_t IPV6_HEADER_BYTES = 40;
  constexpr uint32_t PADDED_FRAME_BYTES = 64;
  return view.l4Offset <= ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES + optionBytes &&
         frame.length <= std::max(view.l4Offset + view.l4Bytes, PADDED_FRAME_BYTES);
}

// Whether a solicitation or an advertisement goes where neighbour discovery sends it and holds what
// that needs: a link-layer address, a nonce (RFC 7527). Options that nobody reads, or an address
// far away, would take a pod's data past its policy.
bool isPlainNeighbor(const Frame& frame, const PacketView& view, const NeighborMessage& message) {
  constexpr uint8_t LINK_ADDRESSES_LAST = 2;
  constexpr uint8_t NONCE = 14;
  constexpr uint8_t ADVERTISEMENT_FLAGS = 0xe0;
  const uint8_t* icmp = view.l4();
  const AddressBytes& destination = view.key.destination;
  const bool advertises = message.type == ICMPV6_NEIGHBOR_ADVERTISEMENT;
  const bool placed = isLinkGroup(destination) ||
                      (message.hasTarget && (advertises || destination == message.target));
  const uint8_t flags = advertises ? ADVERTISEMENT_FLAGS : 0;
  if (!placed || !isBare(frame, view, 0) || (icmp[4] & ~flags) != 0 || load32(icmp + 4) << 8 != 0) {
    return false;
  }
  bool nonce = false;
  for (uint32_t at = message.hasTarget ? 24 : 8; at < view.l4Bytes; at += icmp[at + 1] * 8u) {
    const bool again = icmp[at] == NONCE && std::exchange(nonce, true);
    if ((icmp[at] > LINK_ADDRESSES_LAST && icmp[at] != NONCE) || icmp[at + 1] != 1 || again) {
      return false;
    }
  }
  return true;
}

// Whether a multicast listener message is one of a link (RFC 3810 section 5: link-local source, or
// none yet) and has nothing behind its records. A far sender can have a hop limit arrive as 1.
bool isPlainListener(const Frame& frame, const PacketView& view, uint8_t type) {
  constexpr uint32_t ROUTER_ALERT_BYTES = 8;
  constexpr uint32_t QUERY_BYTES = 24;  // or a version 2 query's, with its sources
  constexpr uint32_t QUERY_2_BYTES = 28;
  constexpr uint32_t REPORT_2_BYTES = 8;
  constexpr uint32_t RECORD_BYTES = 20;
  constexpr uint32_t SOURCE_BYTES = 16;
  const bool near = isLinkLocal(view.key.source) || isUnspecified(view.key.source);
  if (!near || view.key.destination[0] != 0xff || !isBare(frame, view, ROUTER_ALERT_BYTES)) {
    return false;
  }
  const uint8_t* icmp = view.l4();
  const uint32_t bytes = view.l4Bytes;
  if (type != ICMPV6_LISTENER_REPORT_2) {
    if (bytes == QUERY_BYTES) return true;
    return type == ICMPV6_LISTENER_QUERY && bytes >= QUERY_2_BYTES &&
           bytes == QUERY_2_BYTES + load16(icmp + 26) * SOURCE_BYTES;
  }
  if (bytes < REPORT_2_BYTES) return false;
  uint32_t at = REPORT_2_BYTES;
  for (uint32_t left = load16(icmp + 6); left > 0; --left) {
    if (bytes - at < RECORD_BYTES || icmp[at + 1] != 0 || icmp[at + 4] != 0xff) return false;
    const uint32_t sources = load16(icmp + at + 2) * SOURCE_BYTES;
    if (bytes - at - RECORD_BYTES < sources) return false;
    at += RECORD_BYTES + sources;
  }
  return at == bytes;
}

DropReason guardListener(const Frame& frame, const PacketView& view, uint8_t type,
                         const LinkContext& from, const TableInForce& table, bool* exempt) {
  const bool fromEndpoint = from.role == LinkRole::Endpoint;
  const DropReason source = fromEndpoint ? guardEndpointSource(view, type, from, table)
                                         : guardUplinkSource(view, from, table);
  if (source != DropReason::None) return source;
  if (view.hopLimit != 1 || view.hasFragmentHeader) return DropReason::MalformedNdp;
  // An endpoint that queries could become the querier of the link.
  if (fromEndpoint && type == ICMPV6_LISTENER_QUERY) return DropReason::PolicyEgress;
  *exempt = isPlainListener(frame, view, type);
  return DropReason::None;
}

DropReason guardFromEndpoint(const Frame& frame, const PacketView& view, uint8_t type,
                             const LinkContext& from, const TableInForce& table, bool* exempt) {
  if (type == ICMPV6_ROUTER_ADVERTISEMENT) return DropReason::RouterAdvertisement;
  DropReason reason = guardEndpointSource(view, type, from, table);
  if (reason != DropReason::None) return reason;
  NeighborMessage message;
  reason = parseNeighbor(view, &message);
  if (reason != DropReason::None) return reason;
  if (type == ICMPV6_REDIRECT) return DropReason::SpoofedNdp;
  if (message.router) return DropReason::RouterAdvertisement;

  if (message.hasLinkAddress && message.linkAddress != ownMac(view, from)) {
    return DropReason::SpoofedNdp;
  }
  const bool claims = type == ICMPV6_NEIGHBOR_ADVERTISEMENT ||
                      (type == ICMPV6_NEIGHBOR_SOLICITATION && isUnspecified(view.key.source));
  if (claims && !isOwn(message.target, view, from, table)) return DropReason::SpoofedNdp;
  *exempt = isPlainNeighbor(frame, view, message);
  return DropReason::None;
}

DropReason guardFromUplink(const Frame& frame, const PacketView& view, uint8_t type,
                           const LinkContext& from, const TableInForce& table, bool* exempt) {
  DropReason reason = guardUplinkSource(view, from, table);
  if (reason != DropReason::None) return reason;
  NeighborMessage message;
  reason = parseNeighbor(view, &message);
  if (reason != DropReason::None) return reason;
  if (message.hasLinkAddress && isPodMac(message.linkAddress, from)) return DropReason::SpoofedNdp;
  if (type == ICMPV6_NEIGHBOR_ADVERTISEMENT && isSomebodysHere(message.target, from, table)) {
    return DropReason::SpoofedNdp;
  }
  // Nobody here is a router to solicit, and a redirect would lead a pod's traffic elsewhere.
  *exempt = type == ICMPV6_ROUTER_ADVERTISEMENT ||
            (type != ICMPV6_ROUTER_SOLICITATION && type != ICMPV6_REDIRECT &&
             isPlainNeighbor(frame, view, message));
  return DropReason::None;
}

}  // namespace

bool isHere(uint32_t endpoint, const LinkContext& from, const TableInForce& table) noexcept {
  if (from.wire) return endpoint != NONE && endpoint == from.endpointId;
  return table.linkOfEndpoint(endpoint) != NONE;
}

DropReason guardEthernet(const PacketView& view, const LinkContext& from) noexcept {
  const MacAddress source = ethernetSource(view);
  const bool spoofed =
      from.role == LinkRole::Endpoint ? from.hasMac && source != from.mac : isPodMac(source, from);
  return spoofed ? DropReason::SpoofedMac : DropReason::None;
}

bool isMisdirected(const PacketView& view, const LinkContext& from) noexcept {
  if (from.role == LinkRole::Endpoint) return false;
  if ((view.bytes[0] & 1) != 0) {
    return view.kind == PacketKind::Ip && !isGroupAddress(view.key.destination, view.key.family);
  }
  return from.wire && from.hasMac && macAt(view.bytes) != from.mac;
}

DropReason guardArp(const PacketView& view, const LinkContext& from,
                    const TableInForce& table) noexcept {
  const ArpMessage arp = readArp(view);
  const bool probe = !arp.reply && isUnspecified(arp.senderAddress);
  if (from.role == LinkRole::Endpoint) {
    const AddressBytes& claimed = probe ? arp.targetAddress : arp.senderAddress;
    const bool sameMac = arp.senderMac == ownMac(view, from);
    return sameMac && isOwn(claimed, view, from, table) ? DropReason::None : DropReason::SpoofedArp;
  }
  if (isPodMac(arp.senderMac, from)) return DropReason::SpoofedArp;
  // Somebody who probes for a local address must be heard, or its owner cannot defend it.
  const bool claims = !probe && isHere(endpointOf(arp.senderAddress, 4, table), from, table);
  return claims ? DropReason::SpoofedArp : DropReason::None;
}

DropReason guardSource(const AddressBytes& source, uint8_t family, uint32_t endpoint,
                       const LinkContext& from, const TableInForce& table) noexcept {
  if (from.role == LinkRole::Endpoint) {
    const bool own = endpoint != NONE && endpoint == from.endpointId;
    return own ? DropReason::None : DropReason::SpoofedSource;
  }
  if (isMartianSource(source, family)) return DropReason::MartianSource;
  return isHere(endpoint, from, table) ? DropReason::SpoofedSource : DropReason::None;
}

DropReason guardNeighbor(const Frame& frame, const PacketView& view, const LinkContext& from,
                         const TableInForce& table, bool* exempt) noexcept {
  const uint8_t type = view.l4()[0];
  const bool fromEndpoint = from.role == LinkRole::Endpoint;
  const auto guard = !isNeighborDiscovery(view) ? guardListener
                     : fromEndpoint             ? guardFromEndpoint
                                                : guardFromUplink;
  *exempt = false;
  const DropReason reason = guard(frame, view, type, from, table, exempt);
  if (reason != DropReason::None || *exempt || !fromEndpoint) return reason;
  // Policy judges it then, by an address that the table knows.
  return guardSource(view.key.source, 6, endpointOf(view.key.source, 6, table), from, table);
}

}  // namespace sluice
