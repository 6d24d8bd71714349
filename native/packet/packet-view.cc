#include "native/packet/packet-view.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace sluice {
namespace {

constexpr uint16_t ETHERTYPE_IPV4 = 0x0800;
constexpr uint16_t ETHERTYPE_ARP = 0x0806;
constexpr uint16_t ETHERTYPE_IPV6 = 0x86dd;
constexpr uint32_t IPV4_HEADER_BYTES = 20;
constexpr uint32_t IPV6_HEADER_BYTES = 40;
constexpr uint32_t DATAGRAM_BYTES_MAX = 65'535;
constexpr uint32_t TCP_HEADER_BYTES = 20;
constexpr uint32_t UDP_HEADER_BYTES = 8;
constexpr uint32_t SCTP_HEADER_BYTES = 12;
constexpr uint32_t SCTP_CHUNKS_MAX = 32;

constexpr uint8_t NEXT_HOP_BY_HOP = 0;
constexpr uint8_t NEXT_ROUTING = 43;
constexpr uint8_t NEXT_FRAGMENT = 44;
constexpr uint8_t NEXT_DESTINATION_OPTIONS = 60;

bool isVlanTag(uint16_t etherType) {
  switch (etherType) {
    case 0x8100:  // 802.1Q
    case 0x88a8:  // 802.1ad
    case 0x9100:  // the same, before 802.1ad
    case 0x9200:
    case 0x9300:
      return true;
    default:
      return false;
  }
}

DropReason parseArp(const uint8_t* arp, uint32_t bytes, PacketView* view) {
  // An honest frame has only padding after the ARP packet, up to the shortest frame (whose VLAN tag
  // may have been removed).
  constexpr uint32_t PADDED_BYTES_MAX = 50;
  if (bytes < 28 || bytes > PADDED_BYTES_MAX || load16(arp) != 1 ||
      load16(arp + 2) != ETHERTYPE_IPV4 || arp[4] != 6 || arp[5] != 4 ||
      (load16(arp + 6) != 1 && load16(arp + 6) != 2)) {
    return DropReason::MalformedArp;
  }
  view->kind = PacketKind::Arp;
  view->key.family = 4;
  std::copy_n(arp + 14, 4, view->key.source.begin());
  std::copy_n(arp + 24, 4, view->key.destination.begin());
  return DropReason::None;
}

// The ones' complement sum of the swapped words is the swapped sum, and all ones is the same in
// both byte orders (RFC 1071 section 2). So no word is swapped.
bool headerChecksumFits(const uint8_t* header, uint32_t bytes) {
  uint64_t sum = 0;
  for (uint32_t at = 0; at < bytes; at += 4) {
    uint32_t word = 0;
    std::memcpy(&word, header + at, 4);
    sum += word;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

// Stores an IPv4 address with one eight-byte store: nameConn() reads eight bytes at once next, and
// would wait for narrower stores.
void putAddress(const uint8_t* bytes, AddressBytes* address) {
  uint32_t valueBe = 0;
  std::memcpy(&valueBe, bytes, 4);
  const uint64_t word = valueBe;
  std::memcpy(address->data(), &word, 8);
}

DropReason checkIpv4Options(const uint8_t* options, uint32_t bytes) {
  constexpr uint8_t END = 0;
  constexpr uint8_t NO_OPERATION = 1;
  constexpr uint8_t LOOSE_SOURCE_ROUTE = 131;
  constexpr uint8_t STRICT_SOURCE_ROUTE = 137;
  for (uint32_t at = 0; at < bytes;) {
    const uint8_t type = options[at];
    if (type == END) break;
    if (type == NO_OPERATION) {
      ++at;
      continue;
    }
    if (type == LOOSE_SOURCE_ROUTE || type == STRICT_SOURCE_ROUTE) {
      return DropReason::ForbiddenIpOption;  // the real destination would escape the rules
    }
    if (bytes - at < 2 || options[at + 1] < 2 || options[at + 1] > bytes - at) {
      return DropReason::MalformedIpv4;
    }
    at += options[at + 1];
  }
  return DropReason::None;
}

// Checks a fragment's offset and length. `headerBytes` is the part of the whole datagram's headers
// that counts towards its 65,535 bytes.
DropReason checkFragment(const PacketView& view, uint32_t headerBytes) {
  if ((view.moreFragments && view.l4Bytes % 8 != 0) || view.l4Bytes == 0) {
    return DropReason::MalformedFragment;
  }
  if (headerBytes + view.fragmentOffset + view.l4Bytes > DATAGRAM_BYTES_MAX) {
    return DropReason::FragmentOversize;
  }
  return DropReason::None;
}

DropReason parseIpv4(const uint8_t* ip, uint32_t bytes, PacketView* view) {
  if (bytes < IPV4_HEADER_BYTES || ip[0] >> 4 != 4) return DropReason::MalformedIpv4;
  const uint32_t headerBytes = (ip[0] & 0x0f) * 4u;
  const uint32_t totalBytes = load16(ip + 2);
  if (headerBytes < IPV4_HEADER_BYTES || headerBytes > totalBytes || totalBytes > bytes) {
    return DropReason::MalformedIpv4;
  }
  if (!headerChecksumFits(ip, headerBytes)) return DropReason::BadChecksum;
  if (headerBytes > IPV4_HEADER_BYTES) {
    const DropReason reason =
        checkIpv4Options(ip + IPV4_HEADER_BYTES, headerBytes - IPV4_HEADER_BYTES);
    if (reason != DropReason::None) return reason;
  }

  view->kind = PacketKind::Ip;
  view->hopLimit = ip[8];
  view->key.family = 4;
  view->key.protocol = ip[9];
  putAddress(ip + 12, &view->key.source);
  putAddress(ip + 16, &view->key.destination);
  view->l4Offset = ETHERNET_HEADER_BYTES + headerBytes;
  view->l4Bytes = totalBytes - headerBytes;

  if (view->hopLimit == 0) return DropReason::TtlExpired;

  const uint16_t place = load16(ip + 6);
  view->moreFragments = (place & 0x2000) != 0;
  view->fragmentOffset = static_cast<uint16_t>((place & 0x1fff) * 8);
  view->fragmented = view->moreFragments || view->fragmentOffset != 0;
  if (!view->fragmented) return DropReason::None;
  view->fragmentId = load16(ip + 4);
  return checkFragment(*view, headerBytes);
}

// Checks the options of a hop-by-hop or destination options header.
DropReason checkIpv6Options(const uint8_t* options, uint32_t bytes) {
  constexpr uint8_t PAD_ONE = 0;
  constexpr uint8_t JUMBO_PAYLOAD = 0xc2;
  for (uint32_t at = 0; at < bytes;) {
    if (options[at] == PAD_ONE) {
      ++at;
      continue;
    }
    if (options[at] == JUMBO_PAYLOAD || bytes - at < 2 || bytes - at - 2 < options[at + 1]) {
      return DropReason::MalformedIpv6;
    }
    at += 2u + options[at + 1];
  }
  return DropReason::None;
}

DropReason parseIpv6(const uint8_t* ip, uint32_t bytes, PacketView* view) {
  if (bytes < IPV6_HEADER_BYTES || ip[0] >> 4 != 6) return DropReason::MalformedIpv6;
  const uint32_t end = IPV6_HEADER_BYTES + load16(ip + 4);
  if (end > bytes) return DropReason::MalformedIpv6;

  view->kind = PacketKind::Ip;
  view->hopLimit = ip[7];
  view->key.family = 6;
  std::copy_n(ip + 8, 16, view->key.source.begin());
  std::copy_n(ip + 24, 16, view->key.destination.begin());

  uint8_t next = ip[6];
  uint32_t at = IPV6_HEADER_BYTES;
  for (uint32_t headers = 0;; ++headers) {
    const bool walked = next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT ||
                        next == NEXT_DESTINATION_OPTIONS;
    if (!walked || view->fragmentOffset != 0) break;
    if (headers == EXTENSION_HEADERS_MAX) return DropReason::ExtHeaderLimit;
    // Hop-by-hop options must be the first header (RFC 8200 section 4.1).
    if (next == NEXT_HOP_BY_HOP && at != IPV6_HEADER_BYTES) return DropReason::MalformedIpv6;

    const uint32_t left = end - at;
    const bool fragment = next == NEXT_FRAGMENT;
    if (left < 8 || (!fragment && left < (ip[at + 1] + 1u) * 8)) {
      return view->fragmented ? DropReason::FragmentIncompleteChain : DropReason::MalformedIpv6;
    }
    if (next == NEXT_ROUTING || (fragment && view->hasFragmentHeader)) {
      return DropReason::ForbiddenExtHeader;
    }
    if (fragment) {
      const uint16_t place = load16(ip + at + 2);
      view->hasFragmentHeader = true;
      view->moreFragments = (place & 1) != 0;
      view->fragmentOffset = static_cast<uint16_t>(place & 0xfff8);
      view->fragmented = view->moreFragments || view->fragmentOffset != 0;
      view->fragmentId = load32(ip + at + 4);
      next = ip[at];
      at += 8;
      if (!view->fragmented) continue;  // an atomic fragment is a whole packet (RFC 6946)
      view->l4Bytes = end - at;
      const DropReason reason = checkFragment(*view, at - 8 - IPV6_HEADER_BYTES);
      if (reason != DropReason::None) return reason;
      continue;
    }
    const uint32_t headerBytes = (ip[at + 1] + 1u) * 8;
    const DropReason reason = checkIpv6Options(ip + at + 2, headerBytes - 2);
    if (reason != DropReason::None) return reason;
    next = ip[at];
    at += headerBytes;
  }
  view->key.protocol = next;
  view->l4Offset = ETHERNET_HEADER_BYTES + at;
  view->l4Bytes = end - at;
  return view->hopLimit == 0 ? DropReason::TtlExpired : DropReason::None;
}

// The flag combinations that a TCP may send, PSH, ECE and CWR aside, as a bit for each of the 64.
constexpr uint64_t VALID_TCP_FLAGS = [] {
  uint64_t valid = 0;
  for (const uint8_t flags : {TCP_SYN, TCP_RST, TCP_ACK}) {
    valid |= uint64_t{1} << flags;
  }
  for (const int flags : {TCP_SYN | TCP_URG, TCP_SYN | TCP_ACK, TCP_RST | TCP_ACK,
                          TCP_FIN | TCP_ACK, TCP_FIN | TCP_ACK | TCP_URG, TCP_ACK | TCP_URG}) {
    valid |= uint64_t{1} << flags;
  }
  return valid;
}();

// Finds the window scale in a SYN's options. Errors: MalformedTcp.
DropReason parseSynOptions(const uint8_t* options, uint32_t bytes, uint8_t* windowScale) {
  constexpr uint8_t END = 0;
  constexpr uint8_t NO_OPERATION = 1;
  constexpr uint8_t WINDOW_SCALE = 3;
  constexpr uint8_t WINDOW_SCALE_MAX = 14;  // RFC 7323 section 2.3
  for (uint32_t at = 0; at < bytes;) {
    if (options[at] == END) break;
    if (options[at] == NO_OPERATION) {
      ++at;
      continue;
    }
    if (bytes - at < 2 || options[at + 1] < 2 || options[at + 1] > bytes - at) {
      return DropReason::MalformedTcp;
    }
    if (options[at] == WINDOW_SCALE && options[at + 1] == 3) {
      *windowScale = std::min(options[at + 2], WINDOW_SCALE_MAX);
    }
    at += options[at + 1];
  }
  return DropReason::None;
}

DropReason parseTcp(PacketView* view) {
  const bool first = view->fragmented;
  const uint8_t* tcp = view->l4();
  if (view->l4Bytes < TCP_HEADER_BYTES) {
    return first ? DropReason::FragmentTiny : DropReason::MalformedTcp;
  }
  const uint32_t headerBytes = (tcp[12] >> 4) * 4u;
  if (headerBytes < TCP_HEADER_BYTES) return DropReason::MalformedTcp;
  if (headerBytes > view->l4Bytes) {
    return first ? DropReason::FragmentTiny : DropReason::MalformedTcp;
  }
  view->key.sourcePort = load16(tcp);
  view->key.destinationPort = load16(tcp + 2);
  view->tcp.sequence = load32(tcp + 4);
  view->tcp.acknowledgement = load32(tcp + 8);
  view->tcp.flags = tcp[13];
  view->tcp.window = load16(tcp + 14);
  view->tcp.payloadBytes = view->l4Bytes - headerBytes;
  view->tcp.partial = first;

  constexpr uint8_t JUDGED = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG;
  if ((VALID_TCP_FLAGS >> (view->tcp.flags & JUDGED) & 1) == 0) return DropReason::InvalidTcpFlags;
  if ((view->tcp.flags & TCP_SYN) != 0) {
    return parseSynOptions(tcp + TCP_HEADER_BYTES, headerBytes - TCP_HEADER_BYTES,
                           &view->tcp.windowScale);
  }
  return DropReason::None;
}

DropReason parseUdp(PacketView* view) {
  const uint8_t* udp = view->l4();
  if (view->l4Bytes < UDP_HEADER_BYTES) {
    return view->fragmented ? DropReason::FragmentTiny : DropReason::MalformedUdp;
  }
  const uint32_t length = load16(udp + 4);
  if (length < UDP_HEADER_BYTES || (!view->fragmented && length > view->l4Bytes)) {
    return DropReason::MalformedUdp;
  }
  view->key.sourcePort = load16(udp);
  view->key.destinationPort = load16(udp + 2);
  return DropReason::None;
}

DropReason parseSctp(PacketView* view) {
  const uint8_t* sctp = view->l4();
  if (view->l4Bytes < SCTP_HEADER_BYTES) {
    return view->fragmented ? DropReason::FragmentTiny : DropReason::MalformedSctp;
  }
  view->key.sourcePort = load16(sctp);
  view->key.destinationPort = load16(sctp + 2);
  uint32_t at = SCTP_HEADER_BYTES;
  for (uint32_t chunks = 0; !view->fragmented && chunks < SCTP_CHUNKS_MAX; ++chunks) {
    if (view->l4Bytes - at < 4) break;
    const uint32_t chunkBytes = load16(sctp + at + 2);
    if (chunkBytes < 4 || chunkBytes > view->l4Bytes - at) return DropReason::MalformedSctp;
    at = std::min(at + ((chunkBytes + 3) & ~3u), view->l4Bytes);
  }
  return DropReason::None;
}

// The minimum size of an ICMP or ICMPv6 message of a type.
uint32_t icmpBytesMin(uint8_t family, uint8_t type) {
  if (family == 4) {
    switch (type) {
      case 13:
      case 14:
        return 20;
      case 17:
      case 18:
        return 12;
      default:
        return 8;
    }
  }
  switch (type) {
    case 130:
    case 131:
    case 132:
      return 24;  // RFC 2710 section 3
    default:
      return 8;
  }
}

DropReason parseIcmp(PacketView* view) {
  const uint8_t* icmp = view->l4();
  if (view->l4Bytes < 1 || view->l4Bytes < icmpBytesMin(view->key.family, icmp[0])) {
    return view->fragmented ? DropReason::FragmentTiny : DropReason::MalformedIcmp;
  }
  view->icmpType = icmp[0];
  view->icmpCode = icmp[1];
  view->icmpRole = icmpRoleOf(view->key.family, view->icmpType);
  if (view->icmpRole == IcmpRole::Request || view->icmpRole == IcmpRole::Reply) {
    view->key.sourcePort = load16(icmp + 4);
    view->key.destinationPort = view->key.sourcePort;
  }
  return DropReason::None;
}

// Checks the segments that a superframe would be cut into (docs/decisions/0018). Not inlined: the
// many other frames then save no registers for it.
[[gnu::noinline]] DropReason checkSegments(uint32_t segmentBytes, const PacketView& view) {
  const bool tcp = view.key.protocol == PROTOCOL_TCP;
  const uint32_t payloadBytes = tcp ? view.tcp.payloadBytes : view.l4Bytes - UDP_HEADER_BYTES;
  const bool many = payloadBytes > segmentBytes * SUPERFRAME_SEGMENTS_MAX;
  const bool small = !tcp || segmentBytes < SUPERFRAME_SEGMENT_BYTES_MIN;
  return many && small ? DropReason::OffloadSegments : DropReason::None;
}

}  // namespace

DropReason parsePacket(const Frame& frame, PacketView* view) noexcept {
  if (frame.length < ETHERNET_HEADER_BYTES) return DropReason::MalformedEthernet;
  if (frame.truncated) return DropReason::FrameTruncated;
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(frame.bytes);
  if ((bytes[6] & 1) != 0) return DropReason::MalformedEthernet;  // sent from a group address
  const uint16_t etherType = load16(bytes + 12);
  if (frame.vlanTagged || isVlanTag(etherType)) return DropReason::VlanTag;

  new (view) PacketView;  // in place: an assignment would build a copy first
  view->bytes = bytes;
  const uint8_t* l3 = bytes + ETHERNET_HEADER_BYTES;
  const uint32_t l3Bytes = frame.length - ETHERNET_HEADER_BYTES;
  switch (etherType) {
    case ETHERTYPE_IPV4:
      return parseIpv4(l3, l3Bytes, view);
    case ETHERTYPE_IPV6:
      return parseIpv6(l3, l3Bytes, view);
    case ETHERTYPE_ARP:
      return parseArp(l3, l3Bytes, view);
    default:
      return DropReason::L2Protocol;
  }
}

DropReason parseTransport(PacketView* view) noexcept {
  switch (view->key.protocol) {
    case PROTOCOL_TCP:
      return parseTcp(view);
    case PROTOCOL_UDP:
      return parseUdp(view);
    case PROTOCOL_SCTP:
      return parseSctp(view);
    case PROTOCOL_ICMP:
      return view->key.family == 4 ? parseIcmp(view) : DropReason::None;
    case PROTOCOL_ICMPV6:
      return view->key.family == 6 ? parseIcmp(view) : DropReason::None;
    default:
      return DropReason::None;
  }
}

DropReason checkOffload(const Frame& frame, const PacketView& view) noexcept {
  constexpr uint8_t GSO_TCP_V4 = 1;
  constexpr uint8_t GSO_TCP_V6 = 4;
  constexpr uint8_t GSO_UDP = 5;
  constexpr uint8_t GSO_ECN = 0x80;
  const Offload& offload = frame.offload;
  const bool partialChecksum = (offload.flags & OFFLOAD_NEEDS_CHECKSUM) != 0;
  if (!partialChecksum && offload.gsoType == 0) return DropReason::None;
  if (view.kind != PacketKind::Ip || view.fragmented) return DropReason::OffloadInvalid;

  const uint8_t protocol = view.key.protocol;
  const uint32_t end = view.l4Offset + view.l4Bytes;
  if (partialChecksum) {
    // Completing the checksum writes at this offset. It must be the checksum field, or lie after
    // the judged header (in a packet inside a tunnel).
    const uint32_t start = offload.checksumStart;
    const uint32_t field = start + offload.checksumOffset;
    if (start < view.l4Offset || field + 2 > end) return DropReason::OffloadInvalid;
    const uint32_t inHeader = field - view.l4Offset;
    const bool atStart = start == view.l4Offset;
    const bool sound = protocol == PROTOCOL_TCP    ? atStart && inHeader == 16
                       : protocol == PROTOCOL_UDP  ? (atStart && inHeader == 6) || inHeader >= 8
                       : protocol == PROTOCOL_SCTP ? atStart && inHeader == 8
                       : view.icmpRole != IcmpRole::None ? atStart && inHeader == 2
                                                         : true;
    if (!sound) return DropReason::OffloadInvalid;
  }

  const uint8_t gsoType = offload.gsoType & static_cast<uint8_t>(~GSO_ECN);
  if (gsoType == 0) {
    return offload.gsoType == 0 ? DropReason::None : DropReason::OffloadInvalid;
  }
  const bool fits = (gsoType == GSO_TCP_V4 && protocol == PROTOCOL_TCP && view.key.family == 4) ||
                    (gsoType == GSO_TCP_V6 && protocol == PROTOCOL_TCP && view.key.family == 6) ||
                    (offload.gsoType == GSO_UDP && protocol == PROTOCOL_UDP);
  // Segmentation starts at checksumStart: elsewhere, the header of an inner packet in a tunnel
  // would be cut instead of the judged one.
  const bool placed = partialChecksum && offload.checksumStart == view.l4Offset;
  // Bytes after the packet would become part of its segments.
  const bool whole = placed && offload.gsoSize != 0 && end == frame.length;
  if (!fits || !whole) return DropReason::OffloadInvalid;
  return checkSegments(offload.gsoSize, view);
}

IcmpRole icmpRoleOf(uint8_t family, uint8_t type) noexcept {
  if (family == 6) {
    if (type < 128) return IcmpRole::Error;
    return type == 128 ? IcmpRole::Request : type == 129 ? IcmpRole::Reply : IcmpRole::Other;
  }
  switch (type) {
    case 8:
    case 13:
    case 15:
    case 17:
      return IcmpRole::Request;
    case 0:
    case 14:
    case 16:
    case 18:
      return IcmpRole::Reply;
    case 3:
    case 4:
    case 5:
    case 11:
    case 12:
      return IcmpRole::Error;
    default:
      return IcmpRole::Other;
  }
}

bool isMartianSource(const AddressBytes& address, uint8_t family) noexcept {
  if (family == 4) {
    return address[0] == 0 || address[0] == 127 || isGroupAddress(address, 4);
  }
  if (address[0] == 0xff) return true;
  if (loadWord(address.data()) != 0) return false;
  const uint32_t third = load32(address.data() + 8);
  const uint32_t fourth = load32(address.data() + 12);
  return third == 0xffff || (third == 0 && fourth <= 1);
}

}  // namespace sluice
