// A frame at one side of a wire: a plain packet of a connection that userspace has admitted, inside
// its windows, goes to the other side at once. All else goes up to userspace, which alone decides,
// drops, reports, and opens and closes connections. wire.h says which way is up.
//
// The rules are the tracker's own: tcp-rules.h. What they do not let move on as it should is not
// dropped here: it goes up unchanged. SYNs and resets always go up.

#include "native/bpf/programs/wire.h"
#include "native/bpf/programs/kernel.h"
#include "native/bpf/programs/protocols.h"
#include "native/conntrack/conn-name.h"
#include "native/conntrack/tcp-rules.h"
#include "native/conntrack/timeouts.h"

// Maps and numbers: wire.h.
extern const char buckets[], entries[], sides[], downs[], control[], ways[], counters[];
extern const char bucketCount[], secretLow[], secretHigh[];
extern const char bucketsEach[], mapsEach[], placesShift[];
extern const char workers[], steeringMultiplier[], processors[], frameMark[];
// From the kernel's type information: native/bpf/wire-symbols.h.
extern const char skbType[], skbSummed[], skbSummedShift[], skbSumStart[], skbSumOffset[], skbMac[];
extern const char skbHead[], skbEnd[], sharedType[], sharedGsoType[];
extern const char isWeaklyOrdered[], hasCast[];

// A function of the kernel, where `hasCast` is not 0.
extern const char* bpf_rdonly_cast(const void* object, SluiceU32 type);

static long (*const redirect)(SluiceU32 interface, SluiceU64 flags) = (void*)23;
static long (*const pullData)(void* frame, SluiceU32 bytes) = (void*)39;
static long (*const readKernel)(void* into, SluiceU32 bytes, const void* from) = (void*)113;
static SluiceU64 (*const coarseNs)(void) = (void*)160;

enum { SHOT = 2 };
// What is known of a frame.
enum { ODD, NAMED, PLAIN };    // nothing; its connection; that the rules here are all that it wants
enum { STEERING_SHIFT = 16 };  // of Steering
// Of the kernel's sk_buff: ip_summed, gso_type.
enum { CHECKSUM_PARTIAL = 3 };
enum { GSO_TCP4 = 1, GSO_DODGY = 2, GSO_ECN = 4, GSO_FIXED_ID = 8, GSO_TCP6 = 16 };
enum { GSO_ACCURATE_ECN = 1 << 19 };
enum { GSO_HARMLESS = GSO_DODGY | GSO_ECN | GSO_FIXED_ID | GSO_ACCURATE_ECN };
enum { ETHERNET_BYTES = 14, PLAIN_BYTES_MAX = 74, PADDED_BYTES_MAX = 60 };
enum { OPTIONS_MAX = 10, OPTION_BYTES_MAX = 40, SCTP_BYTES = 12, SCTP_CHUNKS_MAX = 4 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, URG = 32 };

// Struct __sk_buff of the kernel.
typedef struct {
  SluiceU32 length;
  SluiceU32 packetType;
  SluiceU32 mark;
  SluiceU32 unused0[2];
  SluiceU32 hasVlan;
  SluiceU32 unused1[4];
  SluiceU32 interface;
  SluiceU32 unused2[8];
  SluiceU32 data;
  SluiceU32 dataEnd;
  SluiceU32 unused3[23];
  SluiceU32 segmentBytes;  // of a superframe
} Frame;

typedef struct {
  SluiceU32 pair;  // all words of both addresses, folded, as Steering does
  SluiceU32 isFragment;
  SluiceWay way;
  SluiceConnKey key;
  SluiceU64 hash;
  SluiceU32 headerAt;  // where the header behind IP's starts
  SluiceU32 sender;
  SluiceU32 event;  // TCP: SLUICE_TCP_SYN_ACK, …FIN or …ACK
  SluiceU32 sequence;
  SluiceU32 acknowledgement;
  SluiceU32 end;  // past its last sequence number
  SluiceU32 payload;
  SluiceU32 window;
  SluiceU32 scale;  // that it offers; SLUICE_SCALE_ABSENT
} Packet;

// Whether a number of the loader's is not 0. In 32 bits: of an address, the compiler takes that for
// granted.
#define IS_SET(name) ((SluiceU32)LOADED(name) != 0)
#define READ(place) (*(volatile __typeof__(place)*)&(place))

INLINE SluiceU32 load16(const SluiceU8* bytes) { return swap16(*(const SluiceU16*)bytes); }
INLINE SluiceU32 load32(const SluiceU8* bytes) { return swap32(*(const SluiceU32*)bytes); }

// Comparisons of small numbers without branches, of which the verifier would follow every one.
INLINE SluiceU64 isZero(SluiceU64 value) { return (value - 1) >> 63; }
INLINE SluiceU64 isLess(SluiceU64 left, SluiceU64 right) { return (left - right) >> 63; }

// Finds the window scale among the options of a SYN, as parseSynOptions() does; 0 when they are
// malformed, or more than are usual.
INLINE int readOptions(Frame* frame, SluiceU32 at, SluiceU32 bytes, SluiceU32* scale) {
  SluiceU8 options[64 + 2];
  __builtin_memset(options, 0, sizeof options);
  if (bytes == 0) return 1;
  if (bytes > OPTION_BYTES_MAX || loadPacketBytes(frame, at, options, bytes) != 0) return 0;
  SluiceU64 place = 0;
  SluiceU64 found = SLUICE_SCALE_ABSENT;
  SluiceU64 isOver = 0;
  SluiceU64 isBad = 0;
  for (int option = 0; option < OPTIONS_MAX; ++option) {
    const SluiceU64 kind = READ(options[place]);
    const SluiceU64 length = READ(options[place + 1]);
    const SluiceU64 value = READ(options[place + 2]);
    isOver |= isZero(kind) | isLess(bytes, place + 1);
    const SluiceU64 isNothing = isZero(kind ^ 1);
    const SluiceU64 isOption = (isOver | isNothing) ^ 1;
    isBad |= isOption & (isLess(length, 2) | isLess(bytes - place, length));
    const SluiceU64 isScale = isOption & isZero(kind ^ 3) & isZero(length ^ 3);
    const SluiceU64 most = value - (value - 14) * isLess(14, value);
    found += (most - found) * isScale;
    place = (place + (isOver ^ 1) * (isNothing + length * isOption)) & 63;
  }
  *scale = (SluiceU32)found;
  return (isBad | ((isOver | isZero(bytes - place)) ^ 1)) == 0;
}

// Reads a segment: plain is one that is only an acknowledgement, with data, a FIN, a SYN or
// neither.
INLINE int readTcp(Frame* frame, Packet* packet, const SluiceU8* tcp, const SluiceU8* end,
                   SluiceU32 bytes) {
  if (tcp + 20 > end || bytes < 20) return ODD;
  packet->way.sourcePort = load16(tcp);
  packet->way.destinationPort = load16(tcp + 2);
  const SluiceU32 headerBytes = (SluiceU32)(tcp[12] >> 4) * 4;
  if (headerBytes < 20 || headerBytes > bytes) return NAMED;
  const SluiceU32 flags = tcp[13] & (FIN | SYN | RST | ACK | URG);
  if (flags != ACK && flags != (FIN | ACK) && flags != (SYN | ACK)) return NAMED;
  packet->event = flags == ACK           ? SLUICE_TCP_ACK
                  : flags == (FIN | ACK) ? SLUICE_TCP_FIN
                                         : SLUICE_TCP_SYN_ACK;
  packet->sequence = load32(tcp + 4);
  packet->acknowledgement = load32(tcp + 8);
  packet->window = load16(tcp + 14);
  packet->payload = bytes - headerBytes;
  packet->end = packet->sequence + packet->payload + (flags != ACK);
  packet->scale = SLUICE_SCALE_ABSENT;
  if (packet->event != SLUICE_TCP_SYN_ACK) return PLAIN;
  return readOptions(frame, packet->headerAt + 20, headerBytes - 20, &packet->scale) ? PLAIN
                                                                                     : NAMED;
}

// Walks the chunks of an SCTP packet, as parseSctp() does, if there are a few.
INLINE int readChunks(const Frame* frame, SluiceU32 at, SluiceU32 bytes) {
  for (int chunk = 0; chunk < SCTP_CHUNKS_MAX; ++chunk) {
    SluiceU16 head[2];
    if (bytes < 4) return PLAIN;
    if (loadPacketBytes(frame, at, head, sizeof head) != 0) return NAMED;
    const SluiceU32 chunkBytes = swap16(head[1]);
    if (chunkBytes < 4 || chunkBytes > bytes) return NAMED;
    const SluiceU32 padded = (chunkBytes + 3) & ~3u;
    at += padded;
    bytes = padded < bytes ? bytes - padded : 0;
  }
  return bytes < 4 ? PLAIN : NAMED;
}

// Reads the header behind IP's; `bytes` go with it.
INLINE int readTransport(Frame* frame, Packet* packet, const SluiceU8* l4, const SluiceU8* end,
                         SluiceU32 bytes) {
  if (packet->way.protocol == IP_TCP) return readTcp(frame, packet, l4, end, bytes);
  if (l4 + 8 > end || bytes < 8) return ODD;
  const int isWhole = frame->segmentBytes == 0;
  if (packet->way.protocol == IP_UDP) {
    packet->way.sourcePort = load16(l4);
    packet->way.destinationPort = load16(l4 + 2);
    return isWhole && load16(l4 + 4) == bytes ? PLAIN : NAMED;
  }
  if (packet->way.protocol == IP_SCTP) {
    packet->way.sourcePort = load16(l4);
    packet->way.destinationPort = load16(l4 + 2);
    if (!isWhole || bytes < SCTP_BYTES) return NAMED;
    return readChunks(frame, packet->headerAt + SCTP_BYTES, bytes - SCTP_BYTES);
  }
  const int isV6 = packet->way.family == 6;
  if (packet->way.protocol != (isV6 ? IP_ICMP6 : IP_ICMP)) return ODD;
  const SluiceU32 type = l4[0];
  packet->way.isRequest = type == (isV6 ? 128 : 8);
  if (!packet->way.isRequest && type != (isV6 ? 129 : 0)) return ODD;
  packet->way.kind = isV6 ? 1 : 8;
  packet->way.sourcePort = load16(l4 + 4);
  packet->way.destinationPort = packet->way.sourcePort;
  return isWhole ? PLAIN : NAMED;
}

INLINE int checksumFits(const SluiceU8* header) {
  SluiceU64 sum = 0;
  for (int at = 0; at < 20; at += 4) sum += *(const SluiceU32*)(header + at);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

// Reads a frame as far as the rules here go.
INLINE int read(Frame* frame, const SluiceU8* data, const SluiceU8* end, Packet* packet) {
  const SluiceU32 length = frame->length;
  const SluiceU8* const ip = data + ETHERNET_BYTES;
  if (ip + 20 > end) return ODD;
  const SluiceU32 type = load16(data + 12);
  SluiceU32 bytes = 0;
  if (type == 0x0800) {
    packet->way.source[0] = *(const SluiceU32*)(ip + 12);
    packet->way.destination[0] = *(const SluiceU32*)(ip + 16);
    bytes = load16(ip + 2);
    // No options, no fragment, no reserved bit.
    const SluiceU32 cut = load16(ip + 6);
    packet->isFragment = (cut & 0x3fff) != 0;
    if (ip[0] != 0x45 || (cut & 0xbfff) != 0 || ip[8] == 0 || bytes < 20) return ODD;
    if (!checksumFits(ip)) return ODD;
    packet->way.family = 4;
    packet->way.protocol = ip[9];
  } else if (type == 0x86dd) {
    if (ip + 40 > end) return ODD;
    __builtin_memcpy(packet->way.source, ip + 8, 16);
    __builtin_memcpy(packet->way.destination, ip + 24, 16);
    bytes = load16(ip + 4) + 40;
    packet->isFragment = ip[6] == IP_FRAGMENT;
    if ((ip[0] & 0xf0) != 0x60 || ip[7] == 0) return ODD;
    packet->way.family = 6;
    packet->way.protocol = ip[6];
  } else {
    return ODD;
  }
  // No group; nothing behind the packet but the padding of the shortest frame.
  const SluiceU32 whole = bytes + ETHERNET_BYTES;
  if (((data[0] | data[6]) & 1) != 0 || frame->hasVlan || whole > length ||
      (whole != length && length > PADDED_BYTES_MAX)) {
    return ODD;
  }
  if (packet->way.family == 4) {
    packet->headerAt = ETHERNET_BYTES + 20;
    return readTransport(frame, packet, ip + 20, end, bytes - 20);
  }
  packet->headerAt = ETHERNET_BYTES + 40;
  return readTransport(frame, packet, ip + 40, end, bytes - 40);
}

// Reads a field of a structure of the kernel: directly, or by a helper where it cannot be cast.
#define FIELD(type, object, offset)                                \
  ({                                                               \
    type value = 0;                                                \
    if (IS_SET(hasCast)) {                                         \
      value = *(type const*)((object) + LOADED(offset));           \
    } else {                                                       \
      readKernel(&value, sizeof value, (object) + LOADED(offset)); \
    }                                                              \
    value;                                                         \
  })
// What FIELD reads from.
INLINE const char* objectAt(const void* address, SluiceU64 type) {
  if (!IS_SET(hasCast)) return address;
  return bpf_rdonly_cast(address, (SluiceU32)type);
}

// Whether completing a frame's checksum, and cutting it into segments, is what its headers say: as
// checkOffload() demands it. A pod with a packet socket chooses both, and the checksum might be
// written over a port after it has been judged.
INLINE int isSound(const Frame* frame, const Packet* packet) {
  const char* const skb = objectAt(frame, LOADED(skbType));
  const SluiceU32 summed = FIELD(SluiceU8, skb, skbSummed) >> LOADED(skbSummedShift) & 3;
  if (summed != CHECKSUM_PARTIAL) return frame->segmentBytes == 0;
  const SluiceU32 start = FIELD(SluiceU16, skb, skbSumStart);
  const SluiceU32 field = FIELD(SluiceU16, skb, skbSumOffset);
  const SluiceU32 protocol = packet->way.protocol;
  const SluiceU32 rightField = protocol == IP_TCP    ? 16
                               : protocol == IP_UDP  ? 6
                               : protocol == IP_SCTP ? 8
                                                     : 2;
  if (start != FIELD(SluiceU16, skb, skbMac) + packet->headerAt || field != rightField) return 0;
  if (frame->segmentBytes == 0) return 1;
  const char* const head = FIELD(char*, skb, skbHead);
  const char* const shared = objectAt(head + FIELD(SluiceU32, skb, skbEnd), LOADED(sharedType));
  const SluiceU32 kinds = FIELD(SluiceU32, shared, sharedGsoType) & ~GSO_HARMLESS;
  if (kinds != (packet->way.family == 4 ? GSO_TCP4 : GSO_TCP6)) return 0;
  return frame->segmentBytes >= SLUICE_SUPERFRAME_SEGMENT_BYTES_MIN ||
         packet->payload <= frame->segmentBytes * SLUICE_SUPERFRAME_SEGMENTS_MAX;
}

INLINE int isSameKey(const SluiceConnKey* one, const SluiceConnKey* other) {
  return ((READ(one->words[0]) ^ other->words[0]) | (READ(one->words[1]) ^ other->words[1]) |
          (READ(one->words[2]) ^ other->words[2]) | (READ(one->words[3]) ^ other->words[3]) |
          (READ(one->words[4]) ^ other->words[4])) == 0;
}

INLINE SluiceConn* find(const SluiceConnKey* key, SluiceU64 hash, SluiceU32 worker) {
  const SluiceU32 firstBucket = worker * (SluiceU32)LOADED(bucketsEach);
  const SluiceU32 firstMap = worker * (SluiceU32)LOADED(mapsEach);
  const SluiceU32 tag = sluiceTagOf(hash);
  const SluiceU32 home = sluiceHomeOf(hash, LOADED(bucketCount));
  for (SluiceU32 probe = 0; probe < SLUICE_CONN_PROBES; ++probe) {
    SluiceU32 number = home + probe;
    if (number >= LOADED(bucketCount)) number -= LOADED(bucketCount);
    number += firstBucket;
    const SluiceConnBucket* const bucket = mapLookup(buckets, &number);
    if (bucket == 0) return 0;
    // Without a branch for each slot, of which the verifier would follow every one. Two names with
    // one tag in a bucket are rare: of one of them, all packets go up.
    SluiceU32 place = 0;
    SluiceU32 isThere = 0;
    for (int slot = 0; slot < SLUICE_CONN_SLOTS; ++slot) {
      const SluiceU32 isSlot = (SluiceU32)(((SluiceU64)(READ(bucket->tags[slot]) ^ tag) - 1) >> 63);
      place += (READ(bucket->entries[slot]) - place) * isSlot;
      isThere |= isSlot;
    }
    if (isThere != 0) {
      SluiceU32 map = firstMap + (place >> LOADED(placesShift));
      const void* const places = mapLookup(entries, &map);
      if (places == 0) return 0;
      place &= ((SluiceU32)1 << LOADED(placesShift)) - 1;
      SluiceConn* const entry = mapLookup(places, &place);
      if (entry != 0 && isSameKey(&entry->key, key)) return entry;
    }
    if (probe == 0 && READ(bucket->spilled) == 0) return 0;
  }
  return 0;
}

// Raises a sequence number, or a window; 0 when others are faster all the time.
INLINE int raise(SluiceU32* number, SluiceU32 to, int wraps) {
  SluiceU32 have = READ(*number);
  for (int tries = 0; tries < 4; ++tries) {
    if (wraps ? !sluiceBefore(have, to) : have >= to) return 1;
    const SluiceU32 found = __sync_val_compare_and_swap(number, have, to);
    if (found == have) return 1;
    have = found;
  }
  return 0;
}

// Notes the number of a frame that goes up, unless a later one, of another processor, is there.
INLINE void note(SluiceU32* last, SluiceU32 number) {
  SluiceU32 have = READ(*last);
  for (int tries = 0; tries < 4; ++tries) {
    if (have - number < SLUICE_WIRE_TAP_QUEUE) return;
    const SluiceU32 found = __sync_val_compare_and_swap(last, have, number);
    if (found == have) return;
    have = found;
  }
}

INLINE SluiceU64 timeoutUs(SluiceU32 protocol, SluiceU32 state, SluiceU32 flags) {
  if (protocol == IP_UDP) {
    return (flags & SLUICE_CONN_ASSURED) != 0 ? SLUICE_TIMEOUT_US_Replied
                                              : SLUICE_TIMEOUT_US_Unreplied;
  }
  if (protocol == IP_ICMP || protocol == IP_ICMP6) return SLUICE_TIMEOUT_US_ICMP;
  if (protocol != IP_TCP) return SLUICE_TIMEOUT_US_Other;
  if (state == SLUICE_ConnState_Established) return SLUICE_TIMEOUT_US_Established;
  if (state == SLUICE_ConnState_SynReceived) return SLUICE_TIMEOUT_US_SynReceived;
  if (state == SLUICE_ConnState_CloseWait) return SLUICE_TIMEOUT_US_CloseWait;
  if (state == SLUICE_ConnState_LastAck) return SLUICE_TIMEOUT_US_LastAck;
  if (state == SLUICE_ConnState_Close) return SLUICE_TIMEOUT_US_Close;
  return SLUICE_TIMEOUT_US_FinWait;  // as SynSent, SynSent2 and TimeWait
}

// The word of an entry, taken apart.
#define STATE_OF(word) ((word) & 255)
#define FLAGS_OF(word) ((word) >> 8 & 255)
#define FLAG(flag) ((SluiceU32)(flag) << 8)
#define SCALE_OF(word, end) ((word) >> (16 + 8 * (end)) & 255)

// Takes the answer to a SYN through the tracker's rules. Who steps the state has the answer for
// his own: he notes its numbers, the window last. While that is 0, nothing else of the connection
// passes.
INLINE int trackAnswer(SluiceConn* entry, SluiceConnEnd* ownEnd, SluiceConnEnd* openerEnd,
                       const Packet* packet, SluiceU32 word) {
  const SluiceU32 sender = packet->sender & 1;
  if ((FLAGS_OF(word) & SLUICE_CONN_ORIGINAL_FROM_HIGHER) == sender ||
      STATE_OF(word) != SLUICE_ConnState_SynSent || (FLAGS_OF(word) & SLUICE_CONN_NO_WINDOW) != 0) {
    return SLUICE_WIRE_STATE;
  }
  SluiceTcpEnd from;
  SluiceTcpEnd opener;
  from.peerLimit = READ(ownEnd->tcp.peerLimit);
  from.windowMax = READ(ownEnd->tcp.windowMax);
  opener.sentEnd = READ(openerEnd->tcp.sentEnd);
  opener.windowMax = READ(openerEnd->tcp.windowMax);
  if (from.windowMax != 0 || packet->payload > opener.windowMax ||
      !sluiceAcknowledgesSyn(&from, &opener, packet->acknowledgement)) {
    return SLUICE_WIRE_WINDOW;
  }
  // Scaling is used only when both ends offer it.
  const SluiceU32 openerScale = SCALE_OF(word, 1 - sender);
  const SluiceBool isScaled =
      packet->scale != SLUICE_SCALE_ABSENT && openerScale != SLUICE_SCALE_ABSENT;
  const SluiceU32 scales = (isScaled ? packet->scale : 0) << (16 + 8 * sender) |
                           (isScaled ? openerScale : 0) << (24 - 8 * sender);
  const SluiceU32 next = scales | (word & 0xff00) | FLAG(SLUICE_CONN_ACK_SEEN_LOWER << sender) |
                         SLUICE_ConnState_SynReceived;
  if (__sync_val_compare_and_swap((SluiceU32*)&entry->state, word, next) != word) {
    return SLUICE_WIRE_RACE;
  }
  const SluiceU32 window = packet->window != 0 ? packet->window : 1;
  openerEnd->tcp.peerLimit = packet->sequence + 1 + opener.windowMax;
  ownEnd->tcp.sentEnd = packet->end;
  ownEnd->tcp.ackMax = packet->acknowledgement;
  ownEnd->tcp.peerLimit = packet->acknowledgement + window;
  __sync_lock_test_and_set(&ownEnd->tcp.windowMax, window);
  return SLUICE_WIRE_PASSED;
}

// Takes a segment through the tracker's rules; SLUICE_WIRE_PASSED when the connection went on.
INLINE int track(SluiceConn* entry, SluiceConnEnd* ownEnd, SluiceConnEnd* otherEnd,
                 const Packet* packet, SluiceU32 word) {
  if (packet->event == SLUICE_TCP_SYN_ACK) {
    return trackAnswer(entry, ownEnd, otherEnd, packet, word);
  }
  const SluiceU32 sender = packet->sender;
  const SluiceBool fromOpener = (FLAGS_OF(word) & SLUICE_CONN_ORIGINAL_FROM_HIGHER) == sender;
  const SluiceU64 steps = packet->event == SLUICE_TCP_FIN
                              ? sluiceTcpSteps(fromOpener, SLUICE_TCP_FIN)
                              : sluiceTcpSteps(fromOpener, SLUICE_TCP_ACK);
  const SluiceU32 step = sluiceStepOf(steps, STATE_OF(word) & 15);
  if (step >= SLUICE_STEP_INVALID) return SLUICE_WIRE_STATE;

  SluiceTcpEnd from;
  SluiceTcpEnd to;
  from.sentEnd = READ(ownEnd->tcp.sentEnd);
  from.peerLimit = READ(ownEnd->tcp.peerLimit);
  from.windowMax = READ(ownEnd->tcp.windowMax);
  to.sentEnd = READ(otherEnd->tcp.sentEnd);
  to.peerLimit = READ(otherEnd->tcp.peerLimit);
  to.windowMax = READ(otherEnd->tcp.windowMax);
  SluiceU32 next = (word & ~255u) | step;
  const SluiceBool noWindow = (FLAGS_OF(word) & SLUICE_CONN_NO_WINDOW) != 0;
  if (step == SLUICE_ConnState_Established && (!noWindow || !fromOpener)) {
    next &= ~FLAG(SLUICE_CONN_UNREPLIED);
  }
  if (noWindow) {
    if (next == word) return SLUICE_WIRE_PASSED;
    return __sync_val_compare_and_swap((SluiceU32*)&entry->state, word, next) == word
               ? SLUICE_WIRE_PASSED
               : SLUICE_WIRE_RACE;
  }

  const SluiceU32 seen = FLAG(SLUICE_CONN_ACK_SEEN_LOWER << sender);
  if (from.windowMax == 0 || to.windowMax == 0 ||
      !sluiceSequenceFits(&from, &to, packet->sequence, packet->end) ||
      !sluiceAcknowledgementFits(&from, &to, packet->acknowledgement) ||
      // What oversteps its limit widens the other end's window: that is not this end's to write.
      sluiceBefore(to.peerLimit, packet->end)) {
    return SLUICE_WIRE_WINDOW;
  }
  next |= seen;
  if ((word & seen) == 0) ownEnd->tcp.ackMax = packet->acknowledgement;
  if (next != word && __sync_val_compare_and_swap((SluiceU32*)&entry->state, word, next) != word) {
    return SLUICE_WIRE_RACE;
  }
  const SluiceU32 window = sluiceWindow(packet->window, SCALE_OF(next, sender), 0);
  const int raised =
      raise(&ownEnd->tcp.windowMax, window, 0) & raise(&ownEnd->tcp.sentEnd, packet->end, 1) &
      raise(&ownEnd->tcp.ackMax, packet->acknowledgement, 1) &
      raise(&ownEnd->tcp.peerLimit, packet->acknowledgement + (window != 0 ? window : 1), 1);
  return raised ? SLUICE_WIRE_PASSED : SLUICE_WIRE_RACE;
}

// Whether one of the last frames that went up is not done with: the one with this number. Those of
// other processors that have got their numbers may not be in the TAP yet, so `done`, which counts
// what came out, may be ahead of one by so many.
INLINE int isWaiting(const SluiceWireWay* way, SluiceU32 number) {
  const SluiceU32 done = READ(way->done);
  const SluiceU32 waiting = READ(way->sent) - done;
  const SluiceU32 margin = (SluiceU32)LOADED(processors);
  return waiting != 0 && number - (done - margin) - 1 < waiting + margin;
}

INLINE SluiceU32 slotOf(const Packet* packet) {
  return (SluiceU32)(packet->hash >> 32) & (SLUICE_WIRE_SLOTS - 1);
}
INLINE SluiceU32 ownTagOf(const Packet* packet) { return (SluiceU32)packet->hash | 1; }
INLINE SluiceU32 slotOfPair(const Packet* packet) {
  return (SluiceU32)(packet->pair * LOADED(steeringMultiplier) >> 22) &
         (SLUICE_WIRE_PAIR_SLOTS - 1);
}

// Notes in a connection's slot the number of its frame that goes up.
INLINE void noteConnection(SluiceWireWay* way, const Packet* packet, SluiceU32 number) {
  SluiceU64* const slot = &way->ofConnection[slotOf(packet)];
  const SluiceU32 tag = ownTagOf(packet);
  SluiceU64 have = READ(*slot);
  for (int tries = 0; tries < 4; ++tries) {
    const SluiceU32 last = (SluiceU32)have;
    const int isLater = last - number < SLUICE_WIRE_TAP_QUEUE;
    const int isAlone =
        have == 0 || (SluiceU32)(have >> 32) == tag || (!isLater && !isWaiting(way, last));
    const SluiceU64 next = (SluiceU64)(isAlone ? tag : 0) << 32 | (isLater ? last : number);
    const SluiceU64 found = __sync_val_compare_and_swap(slot, have, next);
    if (found == have) return;
    have = found;
  }
}

// Whether frames wait that this one must not overtake: SLUICE_WIRE_PASSED when none do,
// SLUICE_WIRE_HELD when those of its own connection have waited for long.
INLINE int waitsForOthers(const SluiceWireWay* way, const Packet* packet) {
  // Mostly nothing waits at all, and which slot it would be is not worth a line of the cache.
  if (READ(way->sent) == READ(way->done)) return SLUICE_WIRE_PASSED;
  const SluiceU64 last = READ(way->ofConnection[slotOf(packet)]);
  const SluiceU32 tag = (SluiceU32)(last >> 32);
  if (last != 0 && (tag == 0 || tag == ownTagOf(packet)) && isWaiting(way, (SluiceU32)last)) {
    const int isLong = READ(way->sent) - READ(way->done) >= SLUICE_WIRE_HELD_MIN;
    return isLong && tag != 0 ? SLUICE_WIRE_HELD : SLUICE_WIRE_ORDER;
  }
  return isWaiting(way, READ(way->fragment)) &&
                 isWaiting(way, READ(way->ofPair[slotOfPair(packet)]))
             ? SLUICE_WIRE_ORDER
             : SLUICE_WIRE_PASSED;
}

// Keeps the loads behind it behind those before it: a fetching atomic operation is a barrier. Some
// processors need none.
INLINE void orderLoads(void) {
  if (!IS_SET(isWeaklyOrdered)) return;
  SluiceU64 any = 0;
  const SluiceU64 before = __sync_fetch_and_add(&any, 1);
  __asm__ volatile("" ::"r"(before));
}

// Judges a plain packet: one of SLUICE_WIRE_….
INLINE int judge(const Packet* packet, SluiceU32 length, const SluiceU8* data,
                 const SluiceWireSide* side, const SluiceWireControl* settings,
                 const SluiceWireWay* way, SluiceU32 worker) {
  SluiceConn* const entry = find(&packet->key, packet->hash, worker);
  if (entry == 0) return SLUICE_WIRE_UNKNOWN;
  const SluiceU32 sender = packet->sender & 1;
  SluiceConnEnd* const own = &entry->ends[sender];
  SluiceConnEnd* const other = &entry->ends[1 - sender];
  const SluiceU32 admitted = READ(own->admitted);
  orderLoads();
  if (admitted == 0) return SLUICE_WIRE_UNADMITTED;
  // The place may have become this connection's while its name was compared. The name that is there
  // after `admitted` stays until a grace period has ended.
  if (!isSameKey(&entry->key, &packet->key)) return SLUICE_WIRE_UNKNOWN;
  if (admitted < READ(settings->generation)) return SLUICE_WIRE_STALE;
  if (own->isOutside != side->isOutside) return SLUICE_WIRE_GUARDED;
  if (side->hasMac) {
    // From inside, the pod has sent it; from outside, it is for the pod, who has not sent it.
    const SluiceU8* const mac = side->mac;
    SluiceU32 differsTo = 0;
    SluiceU32 differsFrom = 0;
    for (int byte = 0; byte < 6; ++byte) {
      differsTo |= data[byte] ^ mac[byte];
      differsFrom |= data[6 + byte] ^ mac[byte];
    }
    if (side->isOutside ? differsTo != 0 || differsFrom == 0 : differsFrom != 0) {
      return SLUICE_WIRE_GUARDED;
    }
  }

  const SluiceU64 nowUs = coarseNs() / 1000;
  const SluiceU64 leaseUs = READ(settings->leaseUs);
  if (leaseUs != 0 && nowUs >= READ(settings->aliveUs[worker]) + leaseUs) return SLUICE_WIRE_LEASE;
  const int waits = waitsForOthers(way, packet);
  if (waits != SLUICE_WIRE_PASSED) return waits;
  const SluiceU32 word = READ(*(SluiceU32*)&entry->state);
  const SluiceU32 protocol = packet->way.protocol;
  const SluiceU64 timeout = timeoutUs(protocol, STATE_OF(word), FLAGS_OF(word));
  // The other end's line may be in another processor's cache: it is asked only where it matters.
  if (nowUs >= READ(own->seenUs) + timeout && nowUs >= READ(other->seenUs) + timeout) {
    return SLUICE_WIRE_EXPIRED;
  }
  if (protocol == IP_TCP) {
    const int went = track(entry, own, other, packet, word);
    if (went != SLUICE_WIRE_PASSED) return went;
  } else if (STATE_OF(word) == SLUICE_ConnState_Unreplied &&
             (FLAGS_OF(word) & SLUICE_CONN_ORIGINAL_FROM_HIGHER) != sender) {
    const SluiceU32 next = (word & ~255u & ~FLAG(SLUICE_CONN_UNREPLIED)) | SLUICE_ConnState_Replied;
    if (__sync_val_compare_and_swap((SluiceU32*)&entry->state, word, next) != word) {
      return SLUICE_WIRE_RACE;
    }
  }
  own->seenUs = nowUs;
  __sync_fetch_and_add(&own->packets, 1);
  __sync_fetch_and_add(&own->bytes, length);
  return SLUICE_WIRE_PASSED;
}

// Has the verifier forget which path led here: otherwise it would walk the rest of the program once
// for each kind of packet. It does not know that `zero` is 0.
INLINE void forget(Packet* packet, SluiceU32 zero) {
  packet->way.family ^= zero;
  packet->way.protocol ^= zero;
  packet->way.kind ^= zero;
  packet->way.isRequest ^= zero;
  packet->headerAt ^= zero;
  packet->isFragment ^= zero;
  packet->event ^= zero;
  packet->scale ^= zero;
}

// Reads a frame and names its connection; ODD, NAMED or PLAIN.
INLINE int look(Frame* frame, const SluiceWireSide* side, const SluiceWireControl* settings,
                Packet* packet) {
  const SluiceU32 length = frame->length;
  const SluiceU8* data = (const SluiceU8*)(SluiceU64)frame->data;
  const SluiceU8* end = (const SluiceU8*)(SluiceU64)frame->dataEnd;
  if (data + PLAIN_BYTES_MAX > end && data + length > end) {  // headers outside the first part
    if (pullData(frame, length < PLAIN_BYTES_MAX ? length : PLAIN_BYTES_MAX) != 0) return ODD;
    data = (const SluiceU8*)(SluiceU64)frame->data;
    end = (const SluiceU8*)(SluiceU64)frame->dataEnd;
  }
  int known = read(frame, data, end, packet);
  const SluiceU64* const source = packet->way.source;
  const SluiceU64* const destination = packet->way.destination;
  const SluiceU64 folded = source[0] ^ source[1] ^ destination[0] ^ destination[1];
  packet->pair = swap32((SluiceU32)(folded ^ folded >> 32));
  known ^= (int)READ(settings->zero);
  if (known == ODD) return ODD;
  forget(packet, READ(settings->zero));
  packet->way.zone = side->zone;
  packet->sender = sluiceNameConn(&packet->way, &packet->key);
  packet->hash = sluiceHashConn(&packet->key, LOADED(secretLow), LOADED(secretHigh));
  return known;
}

// The number of the worker that a TAP's steering program leads this frame to.
INLINE SluiceU32 workerOf(const Packet* packet) {
  const SluiceU32 sum = packet->pair * (SluiceU32)LOADED(steeringMultiplier) >> STEERING_SHIFT;
  return sum % (SluiceU32)LOADED(workers);
}

// Gives a frame that goes up its number; SLUICE_WIRE_PASSED, or why it cannot go.
INLINE int enter(const Frame* frame, SluiceWireWay* way, const Packet* packet, int known) {
  if (frame->length > SLUICE_WIRE_FRAME_BYTES_MAX) return SLUICE_WIRE_OVERSIZE;
  if (READ(way->sent) - READ(way->done) >= SLUICE_WIRE_UP_MAX) return SLUICE_WIRE_FULL;
  const SluiceU32 number = __sync_fetch_and_add(&way->sent, 1) + 1;
  if (known != ODD) noteConnection(way, packet, number);
  if (packet->isFragment) {
    note(&way->ofPair[slotOfPair(packet)], number);
    note(&way->fragment, number);
  }
  return SLUICE_WIRE_PASSED;
}

PROGRAM(wire)(Frame* frame) {
  SluiceU32 interface = frame->interface;
  SluiceU32 zero = 0;
  const SluiceWireSide* const side = mapLookup(sides, &interface);
  const SluiceWireControl* const settings = mapLookup(control, &zero);
  if (side == 0 || settings == 0) return SHOT;
  SluiceU32 number = side->number;
  SluiceWireCounters* const counted = mapLookup(counters, &number);
  Packet packet;
  __builtin_memset(&packet, 0, sizeof packet);
  const int known = look(frame, side, settings, &packet);
  const SluiceU32 worker = workerOf(&packet);
  SluiceU32 array = number / SLUICE_WIRE_SIDES;
  const void* const waysOfSome = mapLookup(ways, &array);
  if (waysOfSome == 0) return SHOT;
  number = number % SLUICE_WIRE_SIDES * (SluiceU32)LOADED(workers) + worker;
  SluiceWireWay* const way = mapLookup(waysOfSome, &number);
  if (counted == 0 || way == 0 || worker >= SLUICE_WIRE_WORKERS) return SHOT;

  int went = SLUICE_WIRE_UNUSUAL;
  const SluiceU8* const data = (const SluiceU8*)(SluiceU64)frame->data;
  if (known == PLAIN && data + ETHERNET_BYTES <= (const SluiceU8*)(SluiceU64)frame->dataEnd &&
      isSound(frame, &packet)) {
    went = judge(&packet, frame->length, data, side, settings, way, worker);
  }
  went ^= (int)READ(settings->zero);  // as in forget()
  SluiceU32 to = side->partner;
  if (went == SLUICE_WIRE_PASSED) {
    counted->passedBytes += frame->length;
  } else if (went != SLUICE_WIRE_HELD) {
    to = side->up;
    const int entered = enter(frame, way, &packet, known);
    if (entered != SLUICE_WIRE_PASSED) went = entered;
  }
  if ((SluiceU32)went < SLUICE_WIRE_ENDS) ++counted->frames[went];
  if (went == SLUICE_WIRE_HELD || went == SLUICE_WIRE_FULL || went == SLUICE_WIRE_OVERSIZE) {
    return SHOT;
  }
  frame->mark = (SluiceU32)LOADED(frameMark);
  return (int)redirect(to, 0);
}

// What userspace has written into a side's TAP leaves by that side.
PROGRAM(wireDown)(Frame* frame) {
  SluiceU32 interface = frame->interface;
  const SluiceU32* const side = mapLookup(downs, &interface);
  if (side == 0) return SHOT;
  frame->mark = (SluiceU32)LOADED(frameMark);
  return (int)redirect(*side, 0);
}
