// The judge as a socket filter, for kernels that attach no programs at netfilter's forward hook: a
// rule there runs it as its match, or a process runs it on packets of a queue.
//
// Such a program cannot read the packet's connection, so the rule tells what the packet is to it:
// each rule runs a root of its own. At the forward hook the packet's own header then
// says the rest: a Service's address is translated before, and masquerade comes after, in both
// directions. So a reply's header is its connection's, exchanged; and so is the header in an ICMP
// error, which the kernel translates with it.

#include "native/bpf/programs/forward.h"

// By the loader: a MatchRole; the place of the family's judge.
extern const char role[], slot[];

// Struct __sk_buff of the kernel, as far as it is read.
typedef struct {
  SluiceU32 length;
  SluiceU32 others[11];
  // Its control buffer is ours while the program runs: the packet's bytes where a process runs it
  // on the first of them, else 0; the MatchRole.
  SluiceU32 bytes;
  SluiceU32 role;
} Context;

enum {
  ICMP_UNREACHABLE = 3,
  ICMP_QUENCH = 4,
  ICMP_REDIRECT = 5,
  ICMP_TIME_EXCEEDED = 11,
  ICMP_PARAMETER = 12,
  ICMP6_ERROR_LAST = 127,
  ICMP_HEADER_BYTES = 8,
};

INLINE const SluiceU8* readPacket(const Packet* packet, SluiceU32 offset, SluiceU8* buffer,
                                  SluiceU32 bytes) {
  return loadPacketBytes(packet->skb, offset, buffer, bytes) == 0 ? buffer : 0;
}

INLINE SluiceU32 copyStart(const Packet* packet, SluiceU8* into, SluiceU32 bytes) {
  // Where a process runs it, that has not the whole packet.
  return loadStart(packet->skb, into, ((const Context*)packet->skb)->length, bytes);
}

// Whom the sender of a packet to a Service has sent it to, its own header does not say.
INLINE void handOver(const Packet* packet, SluiceU32 account) {
  (void)packet;
  (void)account;
}

INLINE int isError(const Packet* packet, const Headers* headers) {
  const SluiceU8 type = headers->type;
  if (headers->flow.withoutPorts) return 0;
  if (packet->isV6) return headers->flow.protocol == IP_ICMP6 && type <= ICMP6_ERROR_LAST;
  return headers->flow.protocol == IP_ICMP &&
         (type == ICMP_UNREACHABLE || type == ICMP_QUENCH || type == ICMP_REDIRECT ||
          type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER);
}

INLINE void exchange(Flow* flow) {
  Flow of = *flow;
  __builtin_memcpy(flow->source, of.destination, sizeof of.source);
  __builtin_memcpy(flow->destination, of.source, sizeof of.source);
  flow->sourcePort = of.destinationPort;
  flow->destinationPort = of.sourcePort;
}

INLINE int judgeTracked(const Packet* packet, int isFirst, int isReply) {
  Headers headers;
  if (!readHeaders(packet, 0, &headers)) return dropMalformed(packet, &headers.flow);
  if (!isError(packet, &headers)) {
    if (isReply) exchange(&headers.flow);
    return judge(packet, &headers.flow, isFirst);
  }
  // An error goes against the packet that it is about.
  Headers about;
  if (!readHeaders(packet, headers.next + ICMP_HEADER_BYTES, &about)) {
    return dropMalformed(packet, &headers.flow);
  }
  if (isErrorFromStranger(packet, headers.flow.source, &about.flow)) {
    return drop(packet, &about.flow, SLUICE_DropReason_RelatedMismatch, 0);
  }
  if (!isReply) exchange(&about.flow);
  return judge(packet, &about.flow, 0);
}

INLINE int judgePacket(Context* context, int isV6) {
  Packet packet;
  Dropped dropped;
  const SluiceU32 what = context->role;
  const SluiceU32 bytes = context->bytes != 0 ? context->bytes : context->length;
  if (!begin(&packet, context, isV6, bytes, &dropped)) return DROP;
  if (what == SLUICE_MatchRole_Untracked) return end(&packet, judgeHeader(&packet));
  return end(&packet,
             judgeTracked(&packet, what == SLUICE_MatchRole_First, what == SLUICE_MatchRole_Reply));
}

PROGRAM(judgeMatchV4)(Context* context) { return judgePacket(context, 0); }
PROGRAM(judgeMatchV6)(Context* context) { return judgePacket(context, 1); }

// What the rule runs; as the roots of forward.bpf.c.
PROGRAM(rootMatch)(Context* context) {
  context->role = LOADED(role);
  tailCall(context, judges, LOADED(slot));
  return DROP;
}
