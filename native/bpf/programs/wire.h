#pragma once

#include "native/layout/shared.gen.h"

// What the program of a wire shares with its loader.

// One side of a wire, by the index of its interface.
typedef struct {
  SluiceU32 partner;   // index of the other side's interface
  SluiceU32 up;        // index of the interface by which userspace gets what is for it to judge
  SluiceU8 mac[6];     // of the pod behind the wire
  SluiceU8 hasMac;     // it is known
  SluiceU8 isOutside;  // this side leads to the network
  SluiceU8 zone;       // of the wire's connections
  SluiceU8 reserved[7];
} SluiceWireSide;

typedef struct {
  SluiceU32 generation;  // of the policy in force: what is admitted by older ones goes up
  SluiceU32 reserved;
} SluiceWireControl;

// Where a frame went, and why up.
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
  SLUICE_WIRE_ENDS,
};

// Frames by where they went; a value for each processor.
typedef struct {
  SluiceU64 frames[16];
} SluiceWireCounters;
