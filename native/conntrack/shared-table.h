#pragma once

#include "native/layout/shared.gen.h"

// The connection table as it lies in memory: the one layout for the addon, whose ConnTable works on
// it, and for eBPF programs, which find a packet's connection in it. Where none reads it, the table
// lies in ordinary memory.
//
// Who writes, while programs pass packets of connections that the worker has admitted
// (docs/decisions/0038).
//
// - Buckets: the worker alone, in any order. Who reads one halfway finds another connection's
//   entry or none: its key tells.
// - An entry's first line: the worker alone, but for the word of `state`, `flags` and
//   `windowScale`. While the connection is admitted, who changes that word replaces all four bytes,
//   by compare and swap.
// - An end's line tells what that end has sent. While the connection is admitted, the numbers of
//   `tcp` are only raised, by compare and swap, and `packets` and `bytes` only added to, by atomic
//   additions. `seenUs` is stored plainly: of two times at once either will do. The rest of the
//   line is the worker's.
// - The answer to a SYN gives numbers that there were none of. Who steps the word from SynSent to
//   SynReceived, by compare and swap, has the answer for his own: he stores the other numbers of
//   the end that answers and the `peerLimit` of the other end, and last, with release, its
//   `windowMax`. While that is 0, a program passes no other segment of the connection.
// - `admitted`: the worker alone. It fills in the entry, then stores here, with release, the newest
//   generation of the policy that lets the connection pass. A program reads it before the
//   rest, also before it compares the name once more: the entry may have become another
//   connection's since it was found. It passes nothing while it is 0 or older than the generation
//   in force. So one store cuts a connection, and one store swaps the policy of all.
// - An admitted entry is changed by the worker as by a program: a segment is tracked on a copy, the
//   word is replaced, and the copy's numbers are raised into place.
// - Taking back: the worker stores 0 in `admitted` of both ends. The entry is its own again, and
//   may become another connection's, after a grace period: when all programs that began before
//   have ended. What they have counted by then is counted.

#ifdef __bpf__

typedef struct {
  SluiceU64 words[5];
} SluiceConnKey;
typedef SluiceU8 SluiceConnState;

#else

#include "native/conntrack/conn-key.h"
#include "native/layout/layout.gen.h"

typedef sluice::ConnKey SluiceConnKey;
typedef sluice::ConnState SluiceConnState;

#endif

// `flags` of an entry.
#define SLUICE_CONN_ORIGINAL_FROM_HIGHER 1u  // end 1 opened the connection
#define SLUICE_CONN_UNREPLIED 2u             // nothing proves yet that the other end is there
#define SLUICE_CONN_NO_WINDOW 4u             // picked up midway: windows are unknown
#define SLUICE_CONN_SYN_IGNORED 8u           // the opener's `ignoredSyn…` hold a SYN
#define SLUICE_CONN_ACK_SEEN_LOWER 16u       // end 0's ackMax is known; twice that: end 1's
#define SLUICE_CONN_ASSURED 128u             // its class is Assured; it is in no list

#define SLUICE_CONN_SLOTS 7
#define SLUICE_CONN_PROBES 8u

// Seven hash tags and the numbers of their entries. A connection is stored in its home bucket or in
// one of the next few.
typedef struct {
  SluiceU32 tags[SLUICE_CONN_SLOTS];  // 0: free
  SluiceU32 spilled;  // entries of this home bucket that are stored in a later bucket
  SluiceU32 entries[SLUICE_CONN_SLOTS];
  SluiceU32 reserved;
} SluiceConnBucket;

// What one end of a TCP connection has sent and allowed.
//
// Source: van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001.
typedef struct {
  SluiceU32 sentEnd;    // past the highest sequence number sent
  SluiceU32 peerLimit;  // past the highest sequence number that this end lets the other send
  SluiceU32 windowMax;  // largest window offered, scaled; 0: nothing seen from this end yet
  SluiceU32 ackMax;     // highest acknowledgement sent
} SluiceTcpEnd;

// One end of a connection: a cache line of its own, since packets of the two directions pass on
// different processors.
typedef struct {
  SluiceTcpEnd tcp;
  SluiceU64 packets;  // that passed from this end, and their bytes
  SluiceU64 bytes;
  SluiceU64 seenUs;         // when a program last passed one, by CLOCK_MONOTONIC
  SluiceU32 admitted;       // 0: programs pass nothing from this end
  SluiceU32 endpoint;       // by the table of the entry's generation
  SluiceU32 neighbour;      // in its owner's list of its class: end 0 has the one before, end 1 the
                            // next. In the list of free entries: end 1 has the next
  SluiceU32 ignoredSynEnd;  // of this end's SYN that was let through
  SluiceU16 ignoredSynWindow;
  SluiceU8 ignoredSynScale;
  SluiceU8 isOutside;  // programs take its packets from a wire's outside alone, or its inside
  SluiceU32 hits;      // end 0: the number of its count in the HitTable
} SluiceConnEnd;

// One tracked connection. Its key and its state are in the first line.
typedef struct {
  SluiceConnKey key;
  SluiceU64 expiresUs;
  SluiceU32 generation;  // of the table that allowed it
  SluiceConnState state;
  SluiceU8 flags;
  SluiceU8 windowScale[2];
  SluiceU32 place;         // its home bucket, and the list of its remote prefix
  SluiceU16 owner : 11;    // index into ConnTable's owners: its quota counts
  SluiceU16 standing : 2;  // a ConnClass
  SluiceU16 tallied : 1;   // a part of its packets is in the HitTable
  SluiceU16 shared : 1;    // programs may write to it: it is admitted, or is being taken back
  SluiceU16 leaving : 1;   // it is being taken back, until its grace period is over
  SluiceU8 auditedBy;      // a DeniedBy: the sides that enforced audited policies would deny
  SluiceU8 reserved;
  SluiceConnEnd ends[2];
} SluiceConn;
