#pragma once

#include "native/layout/shared.gen.h"

// What the programs of wires share with their loader and with workers.
//
// `wire` stands at the ingress of both sides of each wire, `wireDown` at the ingress of each side's
// TAP. What userspace has to judge goes into the TAP of the side that it came from; what userspace
// writes into a TAP leaves by that TAP's side. So a TAP is for one side what a packet socket on its
// interface would be. Interfaces, TAPs and maps are of one network namespace. All redirected frames
// bear a mark, `frameMark`, by which a guard at the egress of sides and TAPs knows them from
// others.
//
// Maps: `sides`: a SluiceWireSide by interface index of each side
//       `downs`: the interface index of the side by that of its TAP
//       `control`: one SluiceWireControl
//       `ways`: arrays of SLUICE_WIRE_SIDES sides each, by number, with a SluiceWireWay for each
//       worker
//       `counters`: by number of a side, a SluiceWireCounters for each processor
//       `buckets`, `entries`: the connection table: native/conntrack/shared-table.h. `entries`
//       are arrays of some entries each, those of a worker in a row
// `control`, `buckets`, and each array of `ways` and `entries` have BPF_F_MMAPABLE.
//
// Numbers: `bucketCount`, `secretLow`, `secretHigh`: of the table of each worker;
//          `bucketsEach`, `mapsEach`: from a worker's first bucket and array of entries to the
//          next one's; `placesShift`: an array has 1 << placesShift entries;
//          `workers` and `steeringMultiplier`: of Steering; `processors`: that are possible;
//          `frameMark`.

// One side of a wire.
typedef struct {
  SluiceU32 partner;   // index of the other side's interface
  SluiceU32 up;        // index of its TAP
  SluiceU32 number;    // of this side, below the sides that `ways` and `counters` have room for
  SluiceU8 mac[6];     // of the pod behind the wire
  SluiceU8 hasMac;     // it is known
  SluiceU8 isOutside;  // this side leads to the network
  SluiceU8 zone;       // of the wire's connections
  SluiceU8 reserved[3];
} SluiceWireSide;

#define SLUICE_WIRE_WORKERS 16
#define SLUICE_WIRE_SIDES 8u

// What is in force. Userspace alone writes it, each word by one store.
typedef struct {
  SluiceU32 generation;  // of the policy: what is admitted by older ones goes up
  SluiceU32 zero;        // 0
  SluiceU64 leaseUs;     // programs pass nothing of a worker that was alive longer ago; 0: no lease
  SluiceU64 aliveUs[SLUICE_WIRE_WORKERS];  // when each worker last was, by CLOCK_MONOTONIC
} SluiceWireControl;

// A TAP has a queue for each worker, of this length at least. Programs drop what would make one
// longer than SLUICE_WIRE_UP_MAX, so the TAP itself loses nothing and `sent` and `done` agree.
#define SLUICE_WIRE_TAP_QUEUE 4096u
#define SLUICE_WIRE_UP_MAX 2048u
// While this many frames wait, a connection whose own frames are among them loses what it sends,
// until they are done with. Otherwise a sender faster than a worker would go through it for ever.
#define SLUICE_WIRE_HELD_MIN 1024u
// Slots by hash for connections, of which a full way up fills half, and for pairs of addresses.
#define SLUICE_WIRE_SLOTS 4096u
#define SLUICE_WIRE_PAIR_SLOTS 1024u
#define SLUICE_WIRE_FRAME_BYTES_MAX 65564u  // that go up; a VLAN tag comes on top

// The way up of one side's frames to one worker, so that no frame overtakes those of its own
// connection that still wait there.
//
// Who writes: the program all but `done`. A worker stores `done`, with release, when it has sent or
// dropped what it has received. When it finds the queue empty while `sent` and `done` differ, and
// neither has changed for 10 ms, frames were lost after all: it stores `sent` in `done`.
typedef struct {
  SluiceU32 sent;      // frames sent up: the number of the last one
  SluiceU32 fragment;  // the number of the last one that was a fragment
  SluiceU32 reserved0[14];
  SluiceU32 done;  // frames that the worker has done with
  SluiceU32 reserved1[15];
  // The number of a connection's last one; above it, more of the connection's hash, or 0 while
  // frames of several connections wait.
  SluiceU64 ofConnection[SLUICE_WIRE_SLOTS];
  SluiceU32 ofPair[SLUICE_WIRE_PAIR_SLOTS];  // the number of the last fragment of a pair
} SluiceWireWay;

// Where a frame went, and why up or nowhere.
enum {
  SLUICE_WIRE_PASSED,      // to the other side
  SLUICE_WIRE_UNUSUAL,     // no plain packet: a fragment, options, an error, a SYN, a reset…
  SLUICE_WIRE_UNKNOWN,     // no connection
  SLUICE_WIRE_UNADMITTED,  // of a connection that userspace has not admitted
  SLUICE_WIRE_STALE,       // admitted by an older policy
  SLUICE_WIRE_GUARDED,     // with the wrong MAC, or from the wrong side
  SLUICE_WIRE_EXPIRED,     // the connection has timed out
  SLUICE_WIRE_STATE,       // its state does not go on by this segment
  SLUICE_WIRE_WINDOW,      // outside the window, or one that moves it as only userspace may
  SLUICE_WIRE_RACE,        // somebody else changed the connection at that moment
  SLUICE_WIRE_LEASE,       // its worker has not been alive for too long
  SLUICE_WIRE_ORDER,       // frames of its connection wait
  SLUICE_WIRE_HELD,        // the same, and dropped: SLUICE_WIRE_HELD_MIN
  SLUICE_WIRE_FULL,        // dropped: the way up is full
  SLUICE_WIRE_OVERSIZE,    // dropped: larger than userspace takes
  SLUICE_WIRE_ENDS,
};

// Frames of a side by where they went; a value for each processor.
typedef struct {
  SluiceU64 frames[SLUICE_WIRE_ENDS];
  SluiceU64 passedBytes;
} SluiceWireCounters;
