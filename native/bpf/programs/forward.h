#pragma once

// The compiled table at netfilter's forward hook: what the kernel routes or bridges is judged here,
// after the translation of Services and before masquerade. forward.bpf.c is attached to the hook
// itself; match.bpf.c is for kernels that have no such hook for programs.
//
// A packet is judged by its connection as the kernel's connection tracking knows it, not by its own
// header. The client is the source of the original tuple. The server is the source of the reply
// tuple: the destination after its translation. So every packet of a connection, in both
// directions, gets the same answer, and so do its fragments and the ICMP errors about it. No state
// of our own is needed, and a swap of the table is in force from the next packet on.

#include "native/bpf/programs/dropped.h"
#include "native/bpf/programs/kernel.h"
#include "native/bpf/programs/protocols.h"

// By the loader, from the size of the tables.
extern const char tableBytes[];
#define SLUICE_TABLE_BYTES LOADED(tableBytes)
#include "native/table/evaluate.h"

// Maps: two tables; one ForwardControl; a ForwardCounters for each processor; the ring of events;
// the judges by family; the addresses of pods that are open when the lease is over; the ring of
// RefusedPackets.
extern const char tables[], control[], counters[], events[], judges[], openPods[], answers[];

enum { DROP = 0, ACCEPT = 1 };

// A flow to be judged.
typedef struct {
  SluiceU32 source[4];
  SluiceU32 destination[4];
  SluiceU16 sourcePort;
  SluiceU16 destinationPort;
  SluiceU8 protocol;
  SluiceU8 withoutPorts;  // they are where they cannot be read
} Flow;

// What is said of a dropped packet.
typedef struct {
  Flow flow;
  SluiceU8 reason;
  SluiceU8 denied;
} Dropped;

// What stays the same while one packet is judged.
typedef struct {
  void* skb;
  SluiceForwardControl* control;
  SluiceForwardCounters* counters;
  SluiceTable table;
  SluiceU32 bytes;
  int isV6;
  const void* asSent;  // what handOver() knows it by; 0: nobody may get an answer
  Dropped* dropped;    // written by drop()
  int isReply;         // whether the flow's destination has sent it
} Packet;

// Bytes of a packet, from its IP header on; 0 when it has fewer. `buffer` has room for them; the
// next call may overwrite them.
INLINE const SluiceU8* readPacket(const Packet* packet, SluiceU32 offset, SluiceU8* buffer,
                                  SluiceU32 bytes);

// Copies a packet's first bytes, from its IP header on; returns how many, at most `bytes`, and 0
// when they cannot be read.
INLINE SluiceU32 copyStart(const Packet* packet, SluiceU8* into, SluiceU32 bytes);

// Hands a packet that policy denies to the process, which answers its sender. The answer is on the
// account of a local endpoint.
INLINE void handOver(const Packet* packet, SluiceU32 account);

INLINE SluiceU32 leafOf(const Packet* packet, const SluiceU32* address) {
  if (!packet->isV6) return sluiceLeafV4(packet->table, swap32(address[0]));
  SluiceAddress words;
  __builtin_memcpy(&words, address, sizeof words);
  return sluiceLeafV6(packet->table, &words);
}

INLINE void writeEvent(const Packet* packet, const Flow* flow, SluiceU8 kind, SluiceU8 reason,
                       SluiceU8 denied, SluiceFlowEvent* event) {
  __builtin_memset(event, 0, sizeof *event);
  event->timeUs = monotonicNs() / 1000;  // the reader makes it the time of day
  __builtin_memcpy(event->source, flow->source, packet->isV6 ? 16 : 4);
  __builtin_memcpy(event->destination, flow->destination, packet->isV6 ? 16 : 4);
  event->sourcePort = flow->sourcePort;
  event->destinationPort = flow->destinationPort;
  event->protocol = flow->protocol;
  event->kind = kind;
  event->reason = reason;
  event->family = packet->isV6 ? 6 : 4;
  event->generation = packet->control->generation;
  event->linkId = 0xffff;
  event->deniedBy = denied;
  event->frameBytes = packet->bytes;
}

INLINE void tell(const Packet* packet, const Flow* flow, SluiceU8 kind, SluiceU8 reason,
                 SluiceU8 denied) {
  SluiceFlowEvent* const event = ringReserve(events, sizeof *event, 0);
  if (event == 0) {
    ++packet->counters->eventsLost;
    return;
  }
  writeEvent(packet, flow, kind, reason, denied, event);
  ringSubmit(event, 0);
}

// Decides to drop a packet; end() tells it, in one place: the programs would else be half as long
// again.
INLINE int drop(const Packet* packet, const Flow* flow, SluiceU8 reason, SluiceU8 denied) {
  packet->dropped->flow = *flow;
  packet->dropped->reason = reason;
  packet->dropped->denied = denied;
  return DROP;
}

// Shows a dropped packet to who wants to see it, behind an Ethernet header of zeros.
INLINE void keepFrame(const Packet* packet, const Dropped* dropped) {
  SluiceDroppedFrame* const kept = reserveFrame(packet->counters);
  if (kept == 0) return;
  SluiceFlowEvent* const event = (SluiceFlowEvent*)kept->event;
  writeEvent(packet, &dropped->flow, SLUICE_FlowEventKind_Dropped, dropped->reason, dropped->denied,
             event);
  event->frameBytes += ETHERNET_HEADER_BYTES;
  event->lostBefore = takeFramesLost(packet->counters);
  __builtin_memset(kept->frame, 0, ETHERNET_HEADER_BYTES);
  kept->frame[12] = packet->isV6 ? 0x86 : 0x08;
  kept->frame[13] = packet->isV6 ? 0xdd : 0x00;
  kept->reserved = 0;
  kept->capturedBytes =
      ETHERNET_HEADER_BYTES + copyStart(packet, kept->frame + ETHERNET_HEADER_BYTES,
                                        sizeof kept->frame - ETHERNET_HEADER_BYTES);
  ringSubmit(kept, 0);
}

// Counts and tells what was dropped; returns the verdict.
INLINE int end(const Packet* packet, int verdict) {
  if (verdict == ACCEPT) return ACCEPT;
  const Dropped* const dropped = packet->dropped;
  const SluiceU32 reason = dropped->reason;
  // It always is; older verifiers do not follow it to here.
  if (reason < sizeof packet->counters->drops / sizeof *packet->counters->drops) {
    ++packet->counters->drops[reason];
  }
  tell(packet, &dropped->flow, SLUICE_FlowEventKind_Dropped, dropped->reason, dropped->denied);
  keepFrame(packet, dropped);
  return DROP;
}

INLINE SluiceU32 endpointOf(const Packet* packet, SluiceU32 leaf) {
  return SLUICE_READ(SluiceU32, packet->table, SLUICE_SECTION(packet->table, leaves),
                     (SluiceU64)leaf * SLUICE_Leaf_BYTES + SLUICE_Leaf_endpointId);
}

// Whether a leaf is no local endpoint's although its address belongs to the node's pods: a pod that
// the table does not know yet, or no longer.
INLINE int isUnknownPod(const Packet* packet, const SluiceU32* address, SluiceU32 leaf) {
  if (endpointOf(packet, leaf) != SLUICE_NONE) return 0;
  const int words = packet->isV6 ? 4 : 1;
  for (int range = 0; range < 4; ++range) {
    const SluiceU32* const wanted = packet->isV6 ? packet->control->podRangesV6 + range * 8
                                                 : packet->control->podRangesV4 + range * 2;
    SluiceU32 differing = 0;
    SluiceU32 covered = 0;
    for (int word = 0; word < words; ++word) {
      differing |= (address[word] & wanted[words + word]) ^ wanted[word];
      covered |= wanted[words + word];
    }
    if (differing == 0 && covered != 0) return 1;
  }
  return 0;
}

// Whether an address is no pod's of this node, known or not.
INLINE int isElsewhere(const Packet* packet, const SluiceU32* address) {
  const SluiceU32 leaf = leafOf(packet, address);
  return endpointOf(packet, leaf) == SLUICE_NONE && !isUnknownPod(packet, address, leaf);
}

// Whether an address is for a link alone: link-local, multicast, broadcast. Such packets come by on
// a bridge, and no policy can name who speaks.
INLINE int isOfLink(const Packet* packet, const SluiceU32* address) {
  const SluiceU32 first = address[0] & 0xff;
  if (!packet->isV6) return first >= 224;
  return first == 0xff || (address[0] & 0xc0ff) == 0x80fe;
}

// Whether no process has renewed the lease in time.
INLINE int isLeaseOver(const Packet* packet) {
  const SluiceU64 endNs = packet->control->leaseEndNs;
  return endNs != 0 && monotonicNs() > endNs;
}

// Whether an address is closed without a process: a local endpoint's that is not told to be open.
INLINE int isClosedWithoutProcess(const Packet* packet, const SluiceU32* address, SluiceU32 leaf) {
  if (endpointOf(packet, leaf) == SLUICE_NONE) return 0;
  SluiceU32 key[5] = {packet->isV6 ? 6 : 4, address[0], 0, 0, 0};
  if (packet->isV6) {
    for (int word = 1; word < 4; ++word) key[1 + word] = address[word];
  }
  return mapLookup(openPods, key) == 0;
}

INLINE int judge(const Packet* packet, const Flow* flow, int isFirst) {
  const SluiceTable table = packet->table;
  const SluiceU32 source = leafOf(packet, flow->source);
  const SluiceU32 destination = leafOf(packet, flow->destination);
  if (isUnknownPod(packet, flow->source, source) ||
      isUnknownPod(packet, flow->destination, destination) ||
      (packet->control->closesLink != 0 &&
       (isOfLink(packet, flow->source) || isOfLink(packet, flow->destination)))) {
    return drop(packet, flow, SLUICE_DropReason_UnknownPod, 0);
  }
  if (isLeaseOver(packet)) {
    if (isClosedWithoutProcess(packet, flow->source, source) ||
        isClosedWithoutProcess(packet, flow->destination, destination)) {
      return drop(packet, flow, SLUICE_DropReason_LeaseOver, 0);
    }
    return ACCEPT;
  }
  if (flow->withoutPorts) {
    if ((endpointOf(packet, source) & endpointOf(packet, destination)) == SLUICE_NONE)
      return ACCEPT;
    return drop(
        packet, flow,
        packet->isV6 ? SLUICE_DropReason_ForbiddenExtHeader : SLUICE_DropReason_FragmentOrphan, 0);
  }
  const SluiceU32 denied = sluiceDecide(table, SLUICE_SECTION(table, endpoints), source,
                                        destination, flow->protocol, flow->destinationPort);
  if (denied != 0) {
    const SluiceU8 reason = (denied & SLUICE_DENIED_BY_EGRESS) != 0
                                ? SLUICE_DropReason_PolicyEgress
                                : SLUICE_DropReason_PolicyIngress;
    if (packet->control->answers != 0) {
      const SluiceU32 client = endpointOf(packet, source);
      const SluiceU32 server = endpointOf(packet, destination);
      // The sender's, where it is a pod of this node: else the pod's that it has sent to.
      const SluiceU32 first = packet->isReply ? server : client;
      handOver(packet, first != SLUICE_NONE ? first : client & server);
    }
    return drop(packet, flow, reason, denied);
  }
  if (!isFirst) return ACCEPT;
  ++packet->counters->opened;
  SluiceU32 audited = 0;
  if (SLUICE_SECTION_SIZE(table, auditRows) != 0) {
    audited = sluiceDecide(table, SLUICE_SECTION(table, auditRows), source, destination,
                           flow->protocol, flow->destinationPort);
  }
  if (audited != 0) {
    ++packet->counters->audited;
    tell(packet, flow, SLUICE_FlowEventKind_Audited, SLUICE_DropReason_None, audited);
  } else {
    tell(packet, flow, SLUICE_FlowEventKind_Opened, SLUICE_DropReason_None, 0);
  }
  return ACCEPT;
}

// Whether an ICMP error about a flow comes from one of its ends, or from elsewhere, as from a
// router. Connection tracking does not ask who has sent it: a pod that may reach nobody could tell
// an end something.
INLINE int isErrorFromStranger(const Packet* packet, const SluiceU32* source, const Flow* flow) {
  int isSource = 1;
  int isDestination = 1;
  const int words = packet->isV6 ? 4 : 1;
  for (int word = 0; word < words; ++word) {
    isSource &= source[word] == flow->source[word];
    isDestination &= source[word] == flow->destination[word];
  }
  return !isSource && !isDestination && !isElsewhere(packet, source);
}

enum {
  NEIGHBOR_BYTES_MAX = 40 + 24 + 8,  // one option at most
  LISTENER_BYTES_MAX = 512,
  HOPS_MAX = 255,
};

// Whether ICMPv6 belongs to the link itself. On a bridge such messages come by here, and they are
// never tracked. Source: RFC 4861, 6.1 and 7.1; RFC 3810, 5.
INLINE int judgeIcmp6(const Packet* packet, const Flow* flow, SluiceU8 type, SluiceU8 hops) {
  const SluiceU32 bytes = packet->bytes;
  if (type == ICMP6_REDIRECT) return drop(packet, flow, SLUICE_DropReason_SpoofedNdp, 0);
  if (type == ICMP6_ROUTER_ADVERTISEMENT) {
    return drop(packet, flow, SLUICE_DropReason_RouterAdvertisement, 0);
  }
  const int isListener = (type >= ICMP6_LISTENER_QUERY && type <= ICMP6_LISTENER_DONE) ||
                         type == ICMP6_LISTENER_REPORT_2;
  if (isListener) {
    // To a group of the link, so that no router hands them on: else they would carry data anywhere.
    const int isToLink = (flow->destination[0] & 0xffff) == 0x02ff;
    if (!isToLink || hops != 1 || bytes > LISTENER_BYTES_MAX)
      return drop(packet, flow, SLUICE_DropReason_MalformedNdp, 0);
    ++packet->counters->exempt[SLUICE_ExemptKind_Listener];
    return ACCEPT;
  }
  if (type == ICMP6_ROUTER_SOLICITATION || type == ICMP6_NEIGHBOR_SOLICITATION ||
      type == ICMP6_NEIGHBOR_ADVERTISEMENT) {
    if (hops != HOPS_MAX || bytes > NEIGHBOR_BYTES_MAX) {
      return drop(packet, flow, SLUICE_DropReason_MalformedNdp, 0);
    }
    ++packet->counters->exempt[SLUICE_ExemptKind_Neighbor];
    return ACCEPT;
  }
  return judge(packet, flow, 1);
}

// What a packet's own headers say.
typedef struct {
  Flow flow;
  SluiceU32 next;  // where what follows the IP header starts
  SluiceU8 hops;
  SluiceU8 type;  // of an ICMP or ICMPv6 message
} Headers;

// Reads the headers at a place of the packet; returns 0 when they are cut off.
INLINE int readHeaders(const Packet* packet, SluiceU32 start, Headers* headers) {
  SluiceU8 buffer[40];
  Flow* const flow = &headers->flow;
  __builtin_memset(headers, 0, sizeof *headers);
  const SluiceU8* const header = readPacket(packet, start, buffer, packet->isV6 ? 40 : 20);
  if (header == 0) return 0;
  SluiceU32 offset = 40;
  int isLaterPart = 0;
  if (packet->isV6) {
    flow->protocol = header[6];
    headers->hops = header[7];
    __builtin_memcpy(flow->source, header + 8, 16);
    __builtin_memcpy(flow->destination, header + 24, 16);
  } else {
    offset = (header[0] & 15) * 4;
    flow->protocol = header[9];
    isLaterPart = ((header[6] & 0x1f) | header[7]) != 0;
    __builtin_memcpy(flow->source, header + 12, 4);
    __builtin_memcpy(flow->destination, header + 16, 4);
  }
  offset += start;
  if (packet->isV6 && flow->protocol == 0) {  // hop-by-hop options: listener messages carry them
    const SluiceU8* const extension = readPacket(packet, offset, buffer, 8);
    if (extension == 0) return 0;
    flow->protocol = extension[0];
    offset += extension[1] * 8 + 8;
  }
  headers->next = offset;
  const int hasPorts =
      flow->protocol == IP_TCP || flow->protocol == IP_UDP || flow->protocol == IP_SCTP;
  const int isMessage = flow->protocol == (packet->isV6 ? IP_ICMP6 : IP_ICMP);
  if (!isLaterPart && (hasPorts || isMessage)) {
    const SluiceU8* const next = readPacket(packet, offset, buffer, 4);
    if (next == 0) return 0;
    if (isMessage) {
      headers->type = next[0];
    } else {
      flow->sourcePort = next[0] << 8 | next[1];
      flow->destinationPort = next[2] << 8 | next[3];
    }
  } else if (isLaterPart || packet->isV6) {
    flow->withoutPorts = 1;
  }
  return 1;
}

INLINE int dropMalformed(const Packet* packet, const Flow* flow) {
  return drop(packet, flow,
              packet->isV6 ? SLUICE_DropReason_MalformedIpv6 : SLUICE_DropReason_MalformedIpv4, 0);
}

// Judges a packet without a connection as a first one, by its header: connection tracking is off,
// or it holds the packet for invalid, or does not track such packets. So replies to an isolated pod
// stop.
INLINE int judgeHeader(const Packet* packet) {
  Headers headers;
  if (!readHeaders(packet, 0, &headers)) return dropMalformed(packet, &headers.flow);
  if (packet->isV6 && headers.flow.protocol == IP_ICMP6 && !headers.flow.withoutPorts)
    return judgeIcmp6(packet, &headers.flow, headers.type, headers.hops);
  return judge(packet, &headers.flow, 1);
}

// Finds what a packet is judged by, and counts it. Returns 0 when there is no table yet.
INLINE int begin(Packet* packet, void* skb, int isV6, SluiceU32 bytes, Dropped* dropped) {
  SluiceU32 zero = 0;
  packet->skb = skb;
  packet->isV6 = isV6;
  packet->bytes = bytes;
  packet->asSent = 0;
  packet->dropped = dropped;
  packet->isReply = 0;
  packet->counters = mapLookup(counters, &zero);
  packet->control = mapLookup(control, &zero);
  if (packet->counters == 0 || packet->control == 0) return 0;
  ++packet->counters->totalPackets;
  packet->counters->totalBytes += bytes;

  SluiceU32 inForce = packet->control->inForce & 1;
  packet->table = mapLookup(tables, &inForce);
  if (packet->table != 0 && packet->control->generation != 0) return 1;
  ++packet->counters->drops[SLUICE_DropReason_NoTable];
  return 0;
}
