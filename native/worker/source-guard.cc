#include "native/worker/source-guard.h"

#include <algorithm>
#include <iterator>

#include "native/packet/neighbor.h"

namespace sluice {
namespace {

constexpr uint32_t IPV6_HEADER_BYTES = 40;
constexpr uint8_t ALL_NODES = 1;  // ff02::1
constexpr uint8_t ALL_ROUTERS = 2;

MacAddress macAt(const uint8_t* bytes) {
  MacAddress mac;
  std::copy_n(bytes, mac.size(), mac.begin());
  return mac;
}

MacAddress ethernetSource(const PacketView& view) { return macAt(view.bytes + 6); }

uint32_t endpointOf(const AddressBytes& address, uint8_t family, const TableInForce& table) {
  return table.view.leaf(table.view.leafOf(address.data(), family)).endpointId;
}

// Whether `mac` is the MAC of the endpoint behind the wire, seen from the wire's uplink.
bool isPodMac(const MacAddress& mac, const LinkContext& from) {
  return from.wire && from.hasMac && mac == from.mac;
}

// The sending endpoint's MAC; if that is not known, the frame's source MAC.
MacAddress ownMac(const PacketView& view, const LinkContext& from) {
  return from.hasMac ? from.mac : ethernetSource(view);
}

// Whether an address is the sending endpoint's own: one that the table has for it, or the IPv6
// link-local address made from its MAC.
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

// Whether an IPv6 packet has no more around its message than an honest sender puts there:
// `optionBytes` of extension headers, and after the packet only the padding of the shortest frame
// (a VLAN tag may have been removed). A pod's packet must also have no traffic class, no flow
// label, and the MAC of its destination group.
bool isBare(const Frame& frame, const PacketView& view, const LinkContext& from,
            uint32_t optionBytes) {
  constexpr uint32_t PADDED_FRAME_BYTES = 64;
  constexpr uint32_t VERSION_ALONE = 0x60000000;
  if (view.l4Offset > ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES + optionBytes ||
      frame.length > std::max(view.l4Offset + view.l4Bytes, PADDED_FRAME_BYTES)) {
    return false;
  }
  if (from.role != LinkRole::Endpoint) return true;
  if (load32(view.bytes + ETHERNET_HEADER_BYTES) != VERSION_ALONE) return false;
  const AddressBytes& destination = view.key.destination;
  if (destination[0] != 0xff) return (view.bytes[0] & 1) == 0;
  const MacAddress group = {0x33,           0x33, destination[12], destination[13], destination[14],
                            destination[15]};
  return macAt(view.bytes) == group;
}

// Whether a unicast packet from an uplink is for the endpoint here.
bool isForHere(const PacketView& view, const LinkContext& from, const TableInForce& table) {
  if (from.role == LinkRole::Watched) return true;
  const AddressBytes& destination = view.key.destination;
  const bool unknownMac = isLinkLocal(destination) && !from.hasMac;
  return unknownMac || isSomebodysHere(destination, from, table);
}

// Whether a solicitation or an advertisement goes where neighbour discovery sends it and holds only
// what it needs: one link-layer address, or the nonce of duplicate address detection.
bool isPlainNeighbor(const Frame& frame, const PacketView& view, const NeighborMessage& message,
                     const LinkContext& from, const TableInForce& table) {
  constexpr uint32_t OPTION_BYTES = 8;
  constexpr uint8_t SOURCE_LINK_ADDRESS = 1;
  constexpr uint8_t TARGET_LINK_ADDRESS = 2;
  constexpr uint8_t NONCE = 14;
  constexpr uint8_t ADVERTISEMENT_FLAGS = 0xe0;
  const uint8_t* icmp = view.l4();
  const AddressBytes& destination = view.key.destination;
  const bool solicits = message.type == ICMPV6_NEIGHBOR_SOLICITATION;
  const bool advertises = message.type == ICMPV6_NEIGHBOR_ADVERTISEMENT;
  const uint8_t flags = advertises ? ADVERTISEMENT_FLAGS : 0;
  if (!isBare(frame, view, from, 0) || (icmp[4] & ~flags) != 0 || load32(icmp + 4) << 8 != 0) {
    return false;
  }
  if (destination[0] == 0xff) {
    const AddressBytes group = solicits     ? solicitedNodeOf(message.target)
                               : advertises ? linkGroup(ALL_NODES)
                                            : linkGroup(ALL_ROUTERS);
    if (destination != group) return false;
  } else {
    if (!advertises && !(solicits && destination == message.target)) return false;
    if (from.role != LinkRole::Endpoint && !isForHere(view, from, table)) return false;
  }
  const uint32_t fixed = message.hasTarget ? 24 : 8;
  if (view.l4Bytes == fixed) return true;
  const bool detects = solicits && isUnspecified(view.key.source);
  const uint8_t wanted = detects ? NONCE : advertises ? TARGET_LINK_ADDRESS : SOURCE_LINK_ADDRESS;
  return view.l4Bytes == fixed + OPTION_BYTES && icmp[fixed] == wanted && icmp[fixed + 1] == 1;
}

// Whether an option of a router advertisement has a valid size for its type.
bool isAdvertisementOption(uint8_t type, uint8_t words) {
  constexpr uint8_t DOMAIN_WORDS_MAX = 16;
  switch (type) {
    case 1:   // source link-layer address, RFC 4861
    case 5:   // MTU
    case 7:   // advertisement interval, RFC 6275
    case 26:  // more flags, RFC 5175
      return words == 1;
    case 3:  // prefix
      return words == 4;
    case 24:  // route, RFC 4191
      return words >= 1 && words <= 3;
    case 25:  // DNS servers, RFC 8106
      return words >= 3 && words % 2 == 1;
    case 31:  // DNS search list
      return words >= 2 && words <= DOMAIN_WORDS_MAX;
    case 38:  // NAT64 prefix, RFC 8781
      return words == 2;
    default:
      return false;
  }
}

// Whether a router advertisement has the form that routers send, with known options only.
bool isPlainAdvertisement(const Frame& frame, const PacketView& view, const LinkContext& from,
                          const TableInForce& table) {
  constexpr uint32_t FIXED_BYTES = 16;
  constexpr uint8_t ONCE[] = {1, 5, 7, 26};
  const AddressBytes& destination = view.key.destination;
  const bool placed =
      destination[0] == 0xff ? destination == linkGroup(ALL_NODES) : isForHere(view, from, table);
  if (!placed || !isBare(frame, view, from, 0) || view.l4Bytes > ROUTER_ADVERTISEMENT_BYTES_MAX) {
    return false;
  }
  // parseNeighbor() has checked that options fill the message exactly.
  const uint8_t* icmp = view.l4();
  uint64_t seen = 0;
  for (uint32_t at = FIXED_BYTES; at < view.l4Bytes; at += icmp[at + 1] * 8u) {
    if (!isAdvertisementOption(icmp[at], icmp[at + 1])) return false;
    const uint64_t bit = uint64_t{1} << icmp[at];
    if ((seen & bit) != 0 && std::ranges::find(ONCE, icmp[at]) != std::end(ONCE)) return false;
    seen |= bit;
  }
  return true;
}

// Whether a listener message has no extension header, or only the usual router alert.
bool isRouterAlert(const PacketView& view) {
  constexpr uint8_t ALERT_FIRST[] = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
  constexpr uint8_t PADDING_FIRST[] = {PROTOCOL_ICMPV6, 0, 1, 0, 5, 2, 0, 0};
  const uint8_t* ip = view.bytes + ETHERNET_HEADER_BYTES;
  const uint8_t* header = ip + IPV6_HEADER_BYTES;
  if (view.l4() == header) return true;
  return ip[6] == 0 && (std::equal(std::begin(ALERT_FIRST), std::end(ALERT_FIRST), header) ||
                        std::equal(std::begin(PADDING_FIRST), std::end(PADDING_FIRST), header));
}

// Whether the records of a version 2 report fill it exactly, and are no more than a host has.
bool areListenerRecords(const uint8_t* icmp, uint32_t bytes) {
  constexpr uint32_t REPORT_2_BYTES = 8;
  constexpr uint32_t RECORD_BYTES = 20;
  constexpr uint32_t SOURCE_BYTES = 16;
  constexpr uint8_t RECORD_TYPE_LAST = 6;
  if (bytes < REPORT_2_BYTES || load16(icmp + 4) != 0) return false;
  const uint32_t records = load16(icmp + 6);
  if (records > LISTENER_RECORDS_MAX) return false;
  uint32_t at = REPORT_2_BYTES;
  uint32_t sourcesLeft = LISTENER_SOURCES_MAX;
  for (uint32_t left = records; left > 0; --left) {
    if (bytes - at < RECORD_BYTES || icmp[at] == 0 || icmp[at] > RECORD_TYPE_LAST ||
        icmp[at + 1] != 0 || icmp[at + 4] != 0xff) {
      return false;
    }
    const uint32_t sources = load16(icmp + at + 2);
    if (sources > sourcesLeft || bytes - at - RECORD_BYTES < sources * SOURCE_BYTES) return false;
    sourcesLeft -= sources;
    at += RECORD_BYTES + sources * SOURCE_BYTES;
  }
  return at == bytes;
}

// Whether a multicast listener message has a link-local source or none yet (RFC 3810 section 5),
// goes to the usual destination of its type, and has nothing after its records. The hop limit of 1
// proves nothing: a remote sender can make it arrive as 1.
bool isPlainListener(const Frame& frame, const PacketView& view, uint8_t type,
                     const LinkContext& from) {
  constexpr uint32_t ROUTER_ALERT_BYTES = 8;
  constexpr uint32_t VERSION_1_BYTES = 24;
  constexpr uint32_t QUERY_2_BYTES = 28;
  constexpr uint32_t SOURCE_BYTES = 16;
  constexpr uint8_t VERSION_2_ROUTERS = 0x16;
  const AddressBytes& destination = view.key.destination;
  const uint8_t* icmp = view.l4();
  const uint32_t bytes = view.l4Bytes;
  const bool near = isLinkLocal(view.key.source) || isUnspecified(view.key.source);
  if (!near || !isBare(frame, view, from, ROUTER_ALERT_BYTES) || !isRouterAlert(view) ||
      bytes < 8 || icmp[1] != 0) {
    return false;
  }
  if (type == ICMPV6_LISTENER_REPORT_2) {
    return destination == linkGroup(VERSION_2_ROUTERS) && areListenerRecords(icmp, bytes);
  }
  if (bytes < VERSION_1_BYTES || load16(icmp + 6) != 0) return false;
  AddressBytes group;
  std::copy_n(icmp + 8, group.size(), group.begin());
  if (type == ICMPV6_LISTENER_QUERY) {
    const uint32_t sources = bytes >= QUERY_2_BYTES ? load16(icmp + 26) : 0;
    const bool whole =
        bytes == VERSION_1_BYTES ||
        (sources <= LISTENER_SOURCES_MAX && bytes == QUERY_2_BYTES + sources * SOURCE_BYTES);
    const AddressBytes to = isUnspecified(group) ? linkGroup(ALL_NODES) : group;
    return whole && destination[0] == 0xff && destination == to;
  }
  const bool reports = type == ICMPV6_LISTENER_REPORT;
  return bytes == VERSION_1_BYTES && load16(icmp + 4) == 0 && group[0] == 0xff &&
         destination == (reports ? group : linkGroup(ALL_ROUTERS));
}

DropReason guardListener(const Frame& frame, const PacketView& view, uint8_t type,
                         const LinkContext& from, const TableInForce& table, ExemptKind* exempt) {
  const bool fromEndpoint = from.role == LinkRole::Endpoint;
  const DropReason source = fromEndpoint ? guardEndpointSource(view, type, from, table)
                                         : guardUplinkSource(view, from, table);
  if (source != DropReason::None) return source;
  if (view.hopLimit != 1 || view.hasFragmentHeader) return DropReason::MalformedNdp;
  // An endpoint that sends queries could become the querier of the link.
  if (fromEndpoint && type == ICMPV6_LISTENER_QUERY) return DropReason::PolicyEgress;
  if (isPlainListener(frame, view, type, from)) *exempt = ExemptKind::Listener;
  return DropReason::None;
}

DropReason guardFromEndpoint(const Frame& frame, const PacketView& view, uint8_t type,
                             const LinkContext& from, const TableInForce& table,
                             ExemptKind* exempt) {
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
  if (isPlainNeighbor(frame, view, message, from, table)) *exempt = ExemptKind::Neighbor;
  return DropReason::None;
}

DropReason guardFromUplink(const Frame& frame, const PacketView& view, uint8_t type,
                           const LinkContext& from, const TableInForce& table, ExemptKind* exempt) {
  DropReason reason = guardUplinkSource(view, from, table);
  if (reason != DropReason::None) return reason;
  NeighborMessage message;
  reason = parseNeighbor(view, &message);
  if (reason != DropReason::None) return reason;
  // A redirect would send a pod's traffic another way than the pod was set up with.
  if (type == ICMPV6_REDIRECT) return DropReason::SpoofedNdp;
  if (message.hasLinkAddress && isPodMac(message.linkAddress, from)) return DropReason::SpoofedNdp;
  if (type == ICMPV6_NEIGHBOR_ADVERTISEMENT && isSomebodysHere(message.target, from, table)) {
    return DropReason::SpoofedNdp;
  }
  if (type == ICMPV6_ROUTER_ADVERTISEMENT) {
    if (from.wire && !from.routerAdvertisements) return DropReason::RouterAdvertisement;
    if (isPlainAdvertisement(frame, view, from, table)) *exempt = ExemptKind::RouterAdvertisement;
    return DropReason::None;
  }
  // No endpoint here is a router that could be solicited, except on a watched interface, which sees
  // all traffic.
  const bool known = type != ICMPV6_ROUTER_SOLICITATION || from.role == LinkRole::Watched;
  if (known && isPlainNeighbor(frame, view, message, from, table)) {
    *exempt = ExemptKind::Neighbor;
  }
  return DropReason::None;
}

// Whether an ARP packet goes to one host or to all, and its target MAC carries no information:
// zero, broadcast, the sender's own (an announcement) or the receiver's.
bool hardwareAddressesFit(const PacketView& view, const ArpMessage& arp) {
  constexpr MacAddress BROADCAST = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  const MacAddress destination = macAt(view.bytes);
  if ((destination[0] & 1) != 0 && destination != BROADCAST) return false;
  const MacAddress& named = arp.targetMac;
  return named == MacAddress{} || named == BROADCAST || named == arp.senderMac ||
         named == destination;
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
  if (from.role != LinkRole::Uplink) return false;
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
    if (!sameMac || !isOwn(claimed, view, from, table)) return DropReason::SpoofedArp;
  } else {
    if (isPodMac(arp.senderMac, from)) return DropReason::SpoofedArp;
    // A probe for a local address must pass, or the owner cannot defend the address.
    const bool claims = !probe && isHere(endpointOf(arp.senderAddress, 4, table), from, table);
    if (claims) return DropReason::SpoofedArp;
  }
  return hardwareAddressesFit(view, arp) ? DropReason::None : DropReason::MalformedArp;
}

DropReason guardSource(const AddressBytes& source, uint8_t family, uint32_t endpoint,
                       const LinkContext& from, const TableInForce& table) noexcept {
  if (from.role == LinkRole::Endpoint) {
    const bool own = endpoint != NONE && endpoint == from.endpointId;
    return own ? DropReason::None : DropReason::SpoofedSource;
  }
  if (from.role == LinkRole::Watched) return DropReason::None;
  if (isMartianSource(source, family)) return DropReason::MartianSource;
  return isHere(endpoint, from, table) ? DropReason::SpoofedSource : DropReason::None;
}

DropReason guardNeighbor(const Frame& frame, const PacketView& view, const LinkContext& from,
                         const TableInForce& table, ExemptKind* exempt) noexcept {
  const uint8_t type = view.l4()[0];
  const bool fromEndpoint = from.role == LinkRole::Endpoint;
  const auto guard = !isNeighborDiscovery(view) ? guardListener
                     : fromEndpoint             ? guardFromEndpoint
                                                : guardFromUplink;
  *exempt = ExemptKind::None;
  const DropReason reason = guard(frame, view, type, from, table, exempt);
  if (reason != DropReason::None || *exempt != ExemptKind::None || !fromEndpoint) return reason;
  // Policy judges the message then, by a source address that the table knows.
  return guardSource(view.key.source, 6, endpointOf(view.key.source, 6, table), from, table);
}

}  // namespace sluice
