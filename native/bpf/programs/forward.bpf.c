// The judge at netfilter's forward hook, for kernels that attach programs there. It reads the
// packet's connection where the kernel keeps it.

#include "native/bpf/programs/forward.h"

// By the loader, from the kernel's type information.
extern const char skbConntrack[], skbLength[], skbKind[], conntrackType[], conntrackStatus[],
    originalTuple[], replyTuple[];

// What each pod has had of the answers, and how many there is room for.
extern const char answerShares[], answerAccounts[];

// Functions of the kernel.
extern void* bpf_rdonly_cast(const void* object, SluiceU32 type);
typedef struct {
  SluiceU64 words[2];
} Dynptr;
extern int bpf_dynptr_from_skb(void* skb, SluiceU64 flags, Dynptr* packet);
extern void* bpf_dynptr_slice(const Dynptr* packet, SluiceU32 offset, void* buffer,
                              SluiceU32 bytes);
// Since Linux 5.19.
static long (*const dynptrRead)(void* into, SluiceU32 bytes, const Dynptr* packet, SluiceU32 offset,
                                SluiceU64 flags) = (void*)201;

// The context of a netfilter program.
typedef struct {
  const void* state;
  void* skb;
} Context;

// The low bits of skb._nfct.
enum { CT_RELATED = 1, CT_NEW = 2, CT_REPLY = 3, CT_RELATED_REPLY = 4, CT_MASK = 7 };

// A bit of nf_conn.status, which a connection gets when its first packet has passed all hooks.
enum { STATUS_CONFIRMED = 8 };

// The bits of skb's byte with pkt_type, and those of a packet that is for one receiver alone.
enum { KIND_MASK = 7, KIND_HOST = 0 };

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

INLINE SluiceU32 copyStart(const Packet* packet, SluiceU8* into, SluiceU32 bytes) {
  Dynptr view;
  if (bpf_dynptr_from_skb(packet->skb, 0, &view) != 0) return 0;
  if (bytes > packet->bytes) bytes = packet->bytes;
  return dynptrRead(into, bytes, &view, 0, 0) == 0 ? bytes : 0;
}

// Whether a packet is for one receiver alone. Of a broadcast each copy comes by.
INLINE int isForOne(const Packet* packet) {
  const SluiceU8 kind = *(const SluiceU8*)((const char*)packet->skb + LOADED(skbKind));
  return (kind & KIND_MASK) == KIND_HOST;
}

// A pod's share: an eighth of what the process answers, 1,000 a second. Other pods' answers have
// room in the ring, whatever one pod asks for.
enum { SHARE_WINDOW_BITS = 28, SHARE_ANSWERS = 32, SHARE_COUNT_BITS = 16 };

// Takes an answer from a pod's share; returns 0 when it has had that. Processors that count at once
// may give some more.
INLINE int takeShare(SluiceU32 account) {
  const SluiceU32 key = account % (SluiceU32)LOADED(answerAccounts);
  SluiceU64* const had = mapLookup(answerShares, &key);
  if (had == 0) return 0;
  const SluiceU64 window = monotonicNs() >> SHARE_WINDOW_BITS;
  SluiceU64 now = *had;
  if (now >> SHARE_COUNT_BITS != window) now = window << SHARE_COUNT_BITS;
  if ((now & ((1 << SHARE_COUNT_BITS) - 1)) >= SHARE_ANSWERS) return 0;
  *had = now + 1;
  return 1;
}

// A packet has been translated on its way to here, and its sender knows nothing of that. Whom it
// has sent to is the destination of the tuple of the packet's direction.
INLINE void handOver(const Packet* packet, SluiceU32 account) {
  const Tuple* const asSent = packet->asSent;
  Dynptr view;
  if (asSent == 0 || !isForOne(packet) || !takeShare(account)) return;
  if (bpf_dynptr_from_skb(packet->skb, 0, &view) != 0) return;
  SluiceRefusedPacket* const refused = ringReserve(answers, sizeof *refused, 0);
  if (refused == 0) return;
  refused->timeNs = monotonicNs();
  for (int word = 0; word < 4; ++word) {
    const SluiceU32 value = asSent->destination[word];
    __builtin_memcpy(refused->destination + 4 * word, &value, sizeof value);
  }
  refused->destinationPortBe = asSent->destinationPort;
  SluiceU32 bytes = packet->bytes;
  if (bytes > sizeof refused->packet) bytes = sizeof refused->packet;
  refused->packetBytes = bytes;
  if (dynptrRead(refused->packet, bytes, &view, 0, 0) != 0) {
    ringDiscard(refused, 0);
    return;
  }
  ringSubmit(refused, 0);
}

// Whether a packet is an ICMP error that says nothing to the connection's ends; a connection that
// another one has announced is none.
INLINE int isStrayError(const Packet* packet, const Flow* flow) {
  Headers headers;
  if (!readHeaders(packet, 0, &headers)) return 1;
  return headers.flow.protocol == (packet->isV6 ? IP_ICMP6 : IP_ICMP) &&
         isErrorFromStranger(packet, headers.flow.source, flow);
}

INLINE int judgeConnection(Packet* packet, const void* entry, SluiceU32 info) {
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
  packet->isReply = info >= CT_REPLY;
  packet->asSent = packet->isReply ? reply : original;
  // Without an answer all packets of a connection are new to the kernel; the first one is told.
  const SluiceU64 status = *(const SluiceU64*)((const char*)entry + LOADED(conntrackStatus));
  return judge(packet, &flow, info == CT_NEW && (status & STATUS_CONFIRMED) == 0);
}

INLINE int judgePacket(Context* context, int isV6) {
  Packet packet;
  Dropped dropped;
  const SluiceU32 bytes = *(const SluiceU32*)((const char*)context->skb + LOADED(skbLength));
  if (!begin(&packet, context->skb, isV6, bytes, &dropped)) return DROP;
  const SluiceU64 tracked = *(const SluiceU64*)((const char*)packet.skb + LOADED(skbConntrack));
  const void* entry = (const void*)(tracked & ~(SluiceU64)CT_MASK);
  if (entry == 0) return end(&packet, judgeHeader(&packet));
  entry = bpf_rdonly_cast(entry, LOADED(conntrackType));
  return end(&packet, judgeConnection(&packet, entry, tracked & CT_MASK));
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
