// The judge at netfilter's forward hook, for kernels that attach programs there. It reads the
// packet's connection where the kernel keeps it.

#include "native/bpf/programs/forward.h"

// By the loader, from the kernel's type information.
extern const char skbConntrack[], skbLength[], conntrackType[], originalTuple[], replyTuple[];

// Functions of the kernel.
extern void* bpf_rdonly_cast(const void* object, SluiceU32 type);
typedef struct {
  SluiceU64 words[2];
} Dynptr;
extern int bpf_dynptr_from_skb(void* skb, SluiceU64 flags, Dynptr* packet);
extern void* bpf_dynptr_slice(const Dynptr* packet, SluiceU32 offset, void* buffer,
                              SluiceU32 bytes);

// The context of a netfilter program.
typedef struct {
  const void* state;
  void* skb;
} Context;

// The low bits of skb._nfct.
enum { CT_RELATED = 1, CT_NEW = 2, CT_RELATED_REPLY = 4, CT_MASK = 7 };

// Struct nf_conntrack_tuple of the kernel; the loader checks it.
typedef struct {
  SluiceU32 source[4];
  SluiceU16 sourcePort;
  SluiceU16 sourceFamily;
  SluiceU32 destination[4];
  SluiceU16 destinationPort;
  SluiceU8 protocol;
  SluiceU8 direction;
} Tuple;

INLINE const SluiceU8* readPacket(const Packet* packet, SluiceU32 offset, SluiceU8* buffer,
                                  SluiceU32 bytes) {
  Dynptr view;
  if (bpf_dynptr_from_skb(packet->skb, 0, &view) != 0) return 0;
  return bpf_dynptr_slice(&view, offset, buffer, bytes);
}

// Whether a packet is an ICMP error that says nothing to the connection's ends; a connection that
// another one has announced is none.
INLINE int isStrayError(const Packet* packet, const Flow* flow) {
  Headers headers;
  if (!readHeaders(packet, 0, &headers)) return 1;
  return headers.flow.protocol == (packet->isV6 ? IP_ICMP6 : IP_ICMP) &&
         isErrorFromStranger(packet, headers.flow.source, flow);
}

INLINE int judgeConnection(const Packet* packet, const void* entry, SluiceU32 info) {
  const Tuple* const original = (const Tuple*)((const char*)entry + LOADED(originalTuple));
  const Tuple* const reply = (const Tuple*)((const char*)entry + LOADED(replyTuple));
  Flow flow;
  __builtin_memset(&flow, 0, sizeof flow);
  flow.source[0] = original->source[0];
  flow.destination[0] = reply->source[0];
  if (packet->isV6) {
    for (int word = 1; word < 4; ++word) {
      flow.source[word] = original->source[word];
      flow.destination[word] = reply->source[word];
    }
  }
  flow.protocol = original->protocol;
  if (flow.protocol == IP_TCP || flow.protocol == IP_UDP || flow.protocol == IP_SCTP) {
    flow.sourcePort = swap16(original->sourcePort);
    flow.destinationPort = swap16(reply->sourcePort);
  }
  if ((info == CT_RELATED || info == CT_RELATED_REPLY) && isStrayError(packet, &flow)) {
    return drop(packet, &flow, SLUICE_DropReason_RelatedMismatch, 0);
  }
  return judge(packet, &flow, info == CT_NEW);
}

INLINE int judgePacket(Context* context, int isV6) {
  Packet packet;
  const SluiceU32 bytes = *(const SluiceU32*)((const char*)context->skb + LOADED(skbLength));
  if (!begin(&packet, context->skb, isV6, bytes)) return DROP;
  const SluiceU64 tracked = *(const SluiceU64*)((const char*)packet.skb + LOADED(skbConntrack));
  const void* entry = (const void*)(tracked & ~(SluiceU64)CT_MASK);
  if (entry == 0) return judgeHeader(&packet);
  entry = bpf_rdonly_cast(entry, LOADED(conntrackType));
  return judgeConnection(&packet, entry, tracked & CT_MASK);
}

PROGRAM(judgeV4)(Context* context) { return judgePacket(context, 0); }
PROGRAM(judgeV6)(Context* context) { return judgePacket(context, 1); }

// What is attached, once for each family. The judge behind it is exchanged by one store; without
// one, nothing passes.
PROGRAM(rootV4)(Context* context) {
  tailCall(context, judges, 0);
  return DROP;
}
PROGRAM(rootV6)(Context* context) {
  tailCall(context, judges, 1);
  return DROP;
}
