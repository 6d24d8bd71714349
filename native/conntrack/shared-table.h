#pragma once

#include "native/layout/shared.gen.h"

// The connection table as it lies in memory: the one layout for the addon, whose ConnTable works on
// it, and for eBPF programs, which find a packet's connection in it. Where none reads it, the table
// lies in ordinary memory.
//
// Who writes: only the worker that owns the table, by plain stores. It fills in a slot of a bucket
// and the entry in any order, and uses a removed entry again at once. So who reads beside it may
// find a slot or an entry half written, or one that has become another connection's: `key` tells
// which, and is to be compared after whatever else was read.

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
  SluiceU32 endpoint;       // by the table of the entry's generation
  SluiceU32 neighbour;      // in its owner's list of its class: end 0 has the one before, end 1 the
                            // next. In the list of free entries: end 1 has the next
  SluiceU32 ignoredSynEnd;  // of this end's SYN that was let through
  SluiceU16 ignoredSynWindow;
  SluiceU8 ignoredSynScale;
  SluiceU8 reserved[17];
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
  SluiceU16 unused : 3;
  SluiceU8 auditedBy;  // a DeniedBy: the sides that enforced audited policies would deny
  SluiceU8 reserved;
  SluiceConnEnd ends[2];
} SluiceConn;
