#include "native/worker/source-guard.h"

#include <algorithm>

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

bool isBound(uint32_t endpoint, const TableInForce& table) {
  return table.linkOfEndpoint(endpoint) != NONE;
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
  return isBound(endpointOf(address, 6, table), table);
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

DropReason guardListener(const PacketView& view, uint8_t type, const LinkContext& from,
                         const TableInForce& table) {
  const bool fromEndpoint = from.role == LinkRole::Endpoint;
  const DropReason source = fromEndpoint ? guardEndpointSource(view, type, from, table)
                                         : guardUplinkSource(view, from, table);
  if (source != DropReason::None) return source;
  if (view.hopLimit != 1 || view.hasFragmentHeader) return DropReason::MalformedNdp;
  // An endpoint that queries could become the querier of the link.
  if (fromEndpoint && type == ICMPV6_LISTENER_QUERY) return DropReason::PolicyEgress;
  return DropReason::None;
}

DropReason guardFromEndpoint(const PacketView& view, uint8_t type, const LinkContext& from,
                             const TableInForce& table) {
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
  return !claims || isOwn(message.target, view, from, table) ? DropReason::None
                                                             : DropReason::SpoofedNdp;
}

DropReason guardFromUplink(const PacketView& view, uint8_t type, const LinkContext& from,
                           const TableInForce& table) {
  DropReason reason = guardUplinkSource(view, from, table);
  if (reason != DropReason::None) return reason;
  NeighborMessage message;
  reason = parseNeighbor(view, &message);
  if (reason != DropReason::None) return reason;
  if (message.hasLinkAddress && isPodMac(message.linkAddress, from)) return DropReason::SpoofedNdp;
  if (type == ICMPV6_NEIGHBOR_ADVERTISEMENT && isSomebodysHere(message.target, from, table)) {
    return DropReason::SpoofedNdp;
  }
  return DropReason::None;
}

}  // namespace

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
  const bool claims = !probe && isBound(endpointOf(arp.senderAddress, 4, table), table);
  return claims ? DropReason::SpoofedArp : DropReason::None;
}

DropReason guardSource(const AddressBytes& source, uint8_t family, uint32_t endpoint,
                       const LinkContext& from, const TableInForce& table) noexcept {
  if (from.role == LinkRole::Endpoint) {
    const bool own = endpoint != NONE && endpoint == from.endpointId;
    return own ? DropReason::None : DropReason::SpoofedSource;
  }
  if (isMartianSource(source, family)) return DropReason::MartianSource;
  return isBound(endpoint, table) ? DropReason::SpoofedSource : DropReason::None;
}

DropReason guardNeighbor(const PacketView& view, const LinkContext& from, const TableInForce& table,
                         bool* exempt) noexcept {
  const uint8_t type = view.l4()[0];
  const bool fromEndpoint = from.role == LinkRole::Endpoint;
  *exempt = true;
  if (!isNeighborDiscovery(view)) return guardListener(view, type, from, table);
  if (fromEndpoint) return guardFromEndpoint(view, type, from, table);
  // Nobody here is a router to solicit, and a redirect would lead a pod's traffic elsewhere.
  *exempt = type != ICMPV6_ROUTER_SOLICITATION && type != ICMPV6_REDIRECT;
  return guardFromUplink(view, type, from, table);
}

}  // namespace sluice
