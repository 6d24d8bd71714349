// The guard at a pod's interface on the node: a frame passes only if its source is the pod's own.
//
// It runs before connection tracking, routing and bridging. So nobody can open a connection in
// another pod's name, nor answer for its addresses. What it lets pass is judged at the forward
// hook.

#include "native/bpf/programs/dropped.h"
#include "native/bpf/programs/kernel.h"
#include "native/bpf/programs/protocols.h"

// Maps: a GuardedInterface and a GuardCounts by interface index; those of the forward hook.
extern const char guarded[], guardCounts[], counters[], events[];

static long (*const loadBytes)(const void* frame, SluiceU32 offset, void* to,
                               SluiceU32 bytes) = (void*)26;

// The start of struct __sk_buff.
typedef struct {
  SluiceU32 length;
  SluiceU32 packetType;
  SluiceU32 mark;
  SluiceU32 queue;
  SluiceU32 protocol;
  SluiceU32 vlanPresent;
  SluiceU32 vlanTag;
  SluiceU32 vlanProtocol;
  SluiceU32 priority;
  SluiceU32 ingressInterface;
  SluiceU32 interfaceIndex;
} Frame;

// TC_ACT_UNSPEC (other programs decide), TC_ACT_SHOT.
enum { PASS = -1, SHOT = 2 };
enum { ETHER_IPV4 = 0x0800, ETHER_ARP = 0x0806, ETHER_IPV6 = 0x86dd };
enum { ETHER_VLAN = 0x8100, ETHER_SERVICE_VLAN = 0x88a8 };
// UDP ports of overlays: VXLAN's, the one that Linux had before that, Geneve's.
enum { PORT_VXLAN = 4789, PORT_VXLAN_LINUX = 8472, PORT_GENEVE = 6081 };
enum { ETHERNET_BYTES = 14, IPV4_BYTES = 20, IPV6_BYTES = 40 };
// Each interface tells at most 100 dropped frames a second; all are counted.
#define TELL_EVERY_NS 10000000ull

typedef struct {
  SluiceU8 destination[6];
  SluiceU8 source[6];
  SluiceU16 type;
} Ethernet;

typedef struct {
  SluiceU16 hardware;
  SluiceU16 protocol;
  SluiceU8 hardwareBytes;
  SluiceU8 protocolBytes;
  SluiceU16 operation;
  SluiceU8 senderMac[6];
  SluiceU8 sender[4];
  SluiceU8 targetMac[6];
  SluiceU8 target[4];
} Arp;

typedef struct {
  SluiceU32 start;  // version, class, flow label
  SluiceU16 payloadBytes;
  SluiceU8 next;
  SluiceU8 hops;
  SluiceU32 source[4];
  SluiceU32 destination[4];
} Ipv6;

// What stays the same while one frame is judged, and what is known of it.
typedef struct {
  Frame* frame;
  const SluiceGuardedInterface* own;
  Ethernet ethernet;
  SluiceU32 source[4];
  SluiceU32 destination[4];
  SluiceU8 family;
  SluiceU8 protocol;
  SluiceU16 portsAt;  // 0: there are none to be read
} Judged;

INLINE int isSameMac(const SluiceU8* one, const SluiceU8* other) {
  SluiceU8 differing = 0;
  for (int at = 0; at < 6; ++at) differing |= one[at] ^ other[at];
  return differing == 0;
}

INLINE int isOwnV4(const Judged* judged, SluiceU32 address) {
  int isOwn = 0;
  for (int at = 0; at < 4; ++at) isOwn |= judged->own->v4[at] == address;
  return isOwn && address != 0;
}

// Whether an address is the pod's, or the link-local one that is made from the frame's MAC.
INLINE int isOwnV6(const Judged* judged, const SluiceU32* address) {
  const SluiceU8* const mac = judged->ethernet.source;
  const SluiceU32 upper = (SluiceU32)(mac[0] ^ 2) | (SluiceU32)mac[1] << 8 |
                          (SluiceU32)mac[2] << 16 | (SluiceU32)0xff << 24;
  const SluiceU32 lower =
      (SluiceU32)0xfe | (SluiceU32)mac[3] << 8 | (SluiceU32)mac[4] << 16 | (SluiceU32)mac[5] << 24;
  int isOwn = address[0] == 0x80fe && address[1] == 0 && address[2] == upper && address[3] == lower;
  SluiceU32 any = 0;
  for (int word = 0; word < 4; ++word) any |= address[word];
  for (int at = 0; at < 4; ++at) {
    SluiceU32 differing = 0;
    for (int word = 0; word < 4; ++word) {
      differing |= judged->own->v6[at * 4 + word] ^ address[word];
    }
    isOwn |= differing == 0;
  }
  return isOwn && any != 0;
}

INLINE SluiceU8 judgeArp(Judged* judged) {
  enum { ETHERNET = 1, REQUEST = 1, REPLY = 2 };
  Arp arp;
  if (loadBytes(judged->frame, ETHERNET_BYTES, &arp, sizeof arp) != 0 ||
      arp.hardware != swap16(ETHERNET) || arp.protocol != swap16(ETHER_IPV4) ||
      arp.hardwareBytes != 6 || arp.protocolBytes != 4 ||
      (arp.operation != swap16(REQUEST) && arp.operation != swap16(REPLY))) {
    return SLUICE_DropReason_MalformedArp;
  }
  judged->family = 4;
  __builtin_memcpy(&judged->source[0], arp.sender, 4);
  __builtin_memcpy(&judged->destination[0], arp.target, 4);
  // Who asks without an address wants to know whether somebody else has it.
  const int isProbe = arp.operation == swap16(REQUEST) && judged->source[0] == 0;
  const SluiceU32 claimed = isProbe ? judged->destination[0] : judged->source[0];
  const int isOwn = isSameMac(arp.senderMac, judged->ethernet.source) && isOwnV4(judged, claimed);
  return isOwn ? SLUICE_DropReason_None : SLUICE_DropReason_SpoofedArp;
}

// Whether a packet of no address asks a DHCP server for one.
INLINE int isDhcp(const Judged* judged, const SluiceU8* header) {
  SluiceU16 ports[2];
  const int isWhole = ((header[6] & 0x3f) | header[7]) == 0;
  return header[0] == 0x45 && isWhole && judged->protocol == IP_UDP &&
         judged->destination[0] == 0xffffffff &&
         loadBytes(judged->frame, ETHERNET_BYTES + IPV4_BYTES, ports, sizeof ports) == 0 &&
         ports[0] == swap16(68) && ports[1] == swap16(67);
}

// Judges what the IP header at `at` of the frame carries. Nodes unwrap a tunnel's packets and ask
// nobody who has wrapped them: inside, a pod could have any source.
INLINE SluiceU8 judgePayload(const Judged* judged, SluiceU32 at, SluiceU8 protocol) {
  if (protocol == IP_IPV4 || protocol == IP_IPV6 || protocol == IP_GRE)
    return SLUICE_DropReason_SpoofedSource;
  if (protocol != IP_UDP) return SLUICE_DropReason_None;
  SluiceU16 ports[2];
  if (loadBytes(judged->frame, at, ports, sizeof ports) != 0) return SLUICE_DropReason_FragmentTiny;
  const int isTunnel = ports[1] == swap16(PORT_VXLAN) || ports[1] == swap16(PORT_VXLAN_LINUX) ||
                       ports[1] == swap16(PORT_GENEVE);
  return isTunnel ? SLUICE_DropReason_SpoofedSource : SLUICE_DropReason_None;
}

INLINE SluiceU8 judgeIpv4(Judged* judged) {
  SluiceU8 header[IPV4_BYTES];
  if (loadBytes(judged->frame, ETHERNET_BYTES, header, sizeof header) != 0 || header[0] >> 4 != 4) {
    return SLUICE_DropReason_MalformedIpv4;
  }
  judged->family = 4;
  judged->protocol = header[9];
  __builtin_memcpy(&judged->source[0], header + 12, 4);
  __builtin_memcpy(&judged->destination[0], header + 16, 4);
  const int isLaterPart = ((header[6] & 0x1f) | header[7]) != 0;
  if (!isLaterPart) judged->portsAt = ETHERNET_BYTES + (header[0] & 15) * 4;
  if (isOwnV4(judged, judged->source[0])) {
    return isLaterPart ? SLUICE_DropReason_None
                       : judgePayload(judged, judged->portsAt, judged->protocol);
  }
  if (judged->source[0] == 0 && isDhcp(judged, header)) return SLUICE_DropReason_None;
  return SLUICE_DropReason_SpoofedSource;
}

typedef struct {
  SluiceU8 type;
  SluiceU8 code;
  SluiceU16 checksum;
  SluiceU8 flags;
  SluiceU8 reserved[3];
  SluiceU32 target[4];
} Neighbor;

typedef struct {
  SluiceU8 type;
  SluiceU8 words;
  SluiceU8 mac[6];
} NeighborOption;

INLINE int isUnspecified(const SluiceU32* address) {
  return (address[0] | address[1] | address[2] | address[3]) == 0;
}

// Judges neighbour discovery, which begins at `at` of the frame. Its option of a MAC may be the
// only one, so that no other hides behind it. Source: RFC 4861, 4 and 7.1.
INLINE SluiceU8 judgeNeighbor(const Judged* judged, const Ipv6* header, SluiceU32 at,
                              SluiceU8 type) {
  enum { SOURCE_LINK_ADDRESS = 1, TARGET_LINK_ADDRESS = 2, ROUTER_FLAG = 0x80 };
  if (type == ICMP6_ROUTER_ADVERTISEMENT) return SLUICE_DropReason_RouterAdvertisement;
  if (type == ICMP6_REDIRECT) return SLUICE_DropReason_SpoofedNdp;
  const SluiceU32 bytes = swap16(header->payloadBytes);
  const SluiceU32 fixed = type == ICMP6_ROUTER_SOLICITATION ? 8 : sizeof(Neighbor);
  // Receivers take none behind extension headers but by mistake (RFC 6980).
  if (at != ETHERNET_BYTES + IPV6_BYTES ||
      (bytes != fixed && bytes != fixed + sizeof(NeighborOption))) {
    return SLUICE_DropReason_MalformedNdp;
  }
  if (bytes != fixed) {
    NeighborOption option;
    if (loadBytes(judged->frame, at + fixed, &option, sizeof option) != 0 || option.words != 1) {
      return SLUICE_DropReason_MalformedNdp;
    }
    const int isLink = option.type == SOURCE_LINK_ADDRESS || option.type == TARGET_LINK_ADDRESS;
    if (isLink && !isSameMac(option.mac, judged->ethernet.source)) {
      return SLUICE_DropReason_SpoofedNdp;
    }
  }
  if (type == ICMP6_ROUTER_SOLICITATION) return SLUICE_DropReason_None;
  Neighbor message;
  if (loadBytes(judged->frame, at, &message, sizeof message) != 0) {
    return SLUICE_DropReason_MalformedNdp;
  }
  const int advertises = type == ICMP6_NEIGHBOR_ADVERTISEMENT;
  if (advertises && (message.flags & ROUTER_FLAG) != 0) {
    return SLUICE_DropReason_RouterAdvertisement;
  }
  const int claims = advertises || isUnspecified(header->source);
  if (claims && !isOwnV6(judged, message.target)) return SLUICE_DropReason_SpoofedNdp;
  return SLUICE_DropReason_None;
}

// Where what a packet carries begins in the frame, behind its extension headers, and what it is; 0
// when it is not the first part of it. The most headers that are walked through end it with
// `*reason`.
INLINE SluiceU32 payloadAt(const Judged* judged, const Ipv6* header, SluiceU8* protocol,
                           SluiceU8* reason) {
  enum { EXTENSIONS_MAX = 6 };
  SluiceU32 at = ETHERNET_BYTES + IPV6_BYTES;
  SluiceU8 next = header->next;
  for (int walked = 0; walked <= EXTENSIONS_MAX; ++walked) {
    if (next != IP_HOP_OPTIONS && next != IP_ROUTING && next != IP_FRAGMENT &&
        next != IP_AUTHENTICATION && next != IP_DESTINATION_OPTIONS) {
      *protocol = next;
      return at;
    }
    SluiceU8 extension[4];
    if (loadBytes(judged->frame, at, extension, sizeof extension) != 0) {
      *reason = SLUICE_DropReason_MalformedIpv6;
      return 0;
    }
    if (next == IP_FRAGMENT) {
      if (extension[2] != 0 || (extension[3] & 0xf8) != 0) return 0;
      at += 8;
    } else if (next == IP_AUTHENTICATION) {
      at += extension[1] * 4 + 8;
    } else {
      at += extension[1] * 8 + 8;
    }
    next = extension[0];
  }
  *reason = SLUICE_DropReason_ExtHeaderLimit;
  return 0;
}

INLINE SluiceU8 judgeIpv6(Judged* judged) {
  Ipv6 header;
  if (loadBytes(judged->frame, ETHERNET_BYTES, &header, sizeof header) != 0 ||
      (header.start & 0xf0) != 0x60) {
    return SLUICE_DropReason_MalformedIpv6;
  }
  judged->family = 6;
  judged->protocol = header.next;
  __builtin_memcpy(judged->source, header.source, 16);
  __builtin_memcpy(judged->destination, header.destination, 16);
  judged->portsAt = ETHERNET_BYTES + IPV6_BYTES;
  const int isNobody = isUnspecified(header.source);
  if (!isNobody && !isOwnV6(judged, header.source)) return SLUICE_DropReason_SpoofedSource;

  SluiceU8 reason = SLUICE_DropReason_None;
  SluiceU8 protocol = 0;
  const SluiceU32 at = payloadAt(judged, &header, &protocol, &reason);
  if (reason != SLUICE_DropReason_None) return reason;
  if (at != 0) reason = judgePayload(judged, at, protocol);
  if (reason != SLUICE_DropReason_None) return reason;
  SluiceU8 type = 0;
  if (at != 0 && protocol == IP_ICMP6 && loadBytes(judged->frame, at, &type, sizeof type) != 0) {
    return SLUICE_DropReason_MalformedIpv6;
  }
  const int isNeighbor = type >= ICMP6_ROUTER_SOLICITATION && type <= ICMP6_REDIRECT;
  // Without an address a host asks whether it may have one, and says which groups it listens to.
  const int mayBeNobody = type == ICMP6_NEIGHBOR_SOLICITATION ||
                          type == ICMP6_ROUTER_SOLICITATION || type == ICMP6_LISTENER_REPORT ||
                          type == ICMP6_LISTENER_REPORT_2;
  if (isNobody && !mayBeNobody) return SLUICE_DropReason_SpoofedSource;
  return isNeighbor ? judgeNeighbor(judged, &header, at, type) : SLUICE_DropReason_None;
}

INLINE SluiceU8 judge(Judged* judged) {
  if (loadBytes(judged->frame, 0, &judged->ethernet, sizeof judged->ethernet) != 0 ||
      (judged->ethernet.source[0] & 1) != 0) {
    return SLUICE_DropReason_MalformedEthernet;
  }
  if (judged->own->checksMac != 0 && !isSameMac(judged->own->mac, judged->ethernet.source)) {
    return SLUICE_DropReason_SpoofedMac;
  }
  const SluiceU16 type = swap16(judged->ethernet.type);
  if (judged->frame->vlanPresent != 0 || type == ETHER_VLAN || type == ETHER_SERVICE_VLAN) {
    return SLUICE_DropReason_VlanTag;
  }
  if (type == ETHER_IPV4) return judgeIpv4(judged);
  if (type == ETHER_IPV6) return judgeIpv6(judged);
  return type == ETHER_ARP ? judgeArp(judged) : SLUICE_DropReason_L2Protocol;
}

INLINE void writeEvent(const Judged* judged, SluiceU8 reason, SluiceFlowEvent* event) {
  __builtin_memset(event, 0, sizeof *event);
  event->timeUs = monotonicNs() / 1000;  // the reader makes it the time of day
  __builtin_memcpy(event->source, judged->source, 16);
  __builtin_memcpy(event->destination, judged->destination, 16);
  event->family = judged->family;
  event->protocol = judged->protocol;
  const int hasPorts =
      judged->protocol == IP_TCP || judged->protocol == IP_UDP || judged->protocol == IP_SCTP;
  SluiceU16 ports[2];
  if (hasPorts && judged->portsAt != 0 &&
      loadBytes(judged->frame, judged->portsAt, ports, sizeof ports) == 0) {
    event->sourcePort = swap16(ports[0]);
    event->destinationPort = swap16(ports[1]);
  }
  event->kind = SLUICE_FlowEventKind_Dropped;
  event->reason = reason;
  event->linkId = judged->own->linkId;
  event->frameBytes = judged->frame->length;
}

INLINE void tell(const Judged* judged, SluiceForwardCounters* counted, SluiceU8 reason) {
  SluiceFlowEvent* const event = ringReserve(events, sizeof *event, 0);
  if (event == 0) {
    ++counted->eventsLost;
    return;
  }
  writeEvent(judged, reason, event);
  ringSubmit(event, 0);
}

// Shows a dropped frame to who wants to see it.
INLINE void keepFrame(const Judged* judged, SluiceForwardCounters* counted, SluiceU8 reason) {
  SluiceDroppedFrame* const kept = reserveFrame(counted);
  if (kept == 0) return;
  SluiceFlowEvent* const event = (SluiceFlowEvent*)kept->event;
  writeEvent(judged, reason, event);
  event->lostBefore = takeFramesLost(counted);
  kept->reserved = 0;
  kept->capturedBytes =
      loadStart(judged->frame, kept->frame, judged->frame->length, sizeof kept->frame);
  ringSubmit(kept, 0);
}

PROGRAM(guardSource)(Frame* frame) {
  SluiceU32 zero = 0;
  SluiceU32 index = frame->interfaceIndex;
  Judged judged;
  __builtin_memset(&judged, 0, sizeof judged);
  judged.frame = frame;
  judged.own = mapLookup(guarded, &index);
  // An interface whose pod is not known has no address that could be its own.
  if (judged.own == 0) return SHOT;
  const SluiceU8 reason = judge(&judged);
  if (reason == SLUICE_DropReason_None) return PASS;

  SluiceForwardCounters* const counted = mapLookup(counters, &zero);
  SluiceGuardCounts* const counts = mapLookup(guardCounts, &index);
  if (counted == 0 || counts == 0) return SHOT;
  ++counted->drops[reason];
  __sync_fetch_and_add(&counts->drops, 1);
  const SluiceU64 now = monotonicNs();
  if (now - counts->toldNs >= TELL_EVERY_NS) {
    counts->toldNs = now;
    tell(&judged, counted, reason);
    keepFrame(&judged, counted, reason);
  }
  return SHOT;
}
