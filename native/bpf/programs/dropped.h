#pragma once

// The first bytes of dropped frames, for who wants to see them: while nobody does, a drop costs one
// more look into a map. What comes faster than it is read finds the ring full, and is counted.

#include "native/bpf/programs/kernel.h"

// Maps: the ring of DroppedFrames; one word, not 0 while they are wanted.
extern const char droppedFrames[], framesWanted[];

enum { ETHERNET_HEADER_BYTES = 14 };

// A place for a dropped frame and its event, or 0 when there is none. Its lostBefore is
// takeFramesLost().
INLINE SluiceDroppedFrame* reserveFrame(SluiceForwardCounters* counters) {
  SluiceU32 zero = 0;
  const SluiceU32* const wanted = mapLookup(framesWanted, &zero);
  if (wanted == 0 || *wanted == 0) return 0;
  SluiceDroppedFrame* const kept = ringReserve(droppedFrames, sizeof *kept, 0);
  if (kept == 0) ++counters->framesLostSince;
  return kept;
}

// Copies the first bytes of what a socket buffer of `length` bytes begins with, at most `most`;
// returns how many, and 0 when they cannot be read.
INLINE SluiceU32 loadStart(const void* skb, SluiceU8* into, SluiceU32 length, SluiceU32 most) {
  // Written so that verifiers before Linux 6.8 see that it is not 0.
  SluiceU32 last = (length < most ? length : most) - 1;
  __asm__ volatile("" : "+r"(last));
  if (last >= most) return 0;
  return loadPacketBytes(skb, 0, into, last + 1) == 0 ? last + 1 : 0;
}

// Those of this processor that found no place since the last one that did.
INLINE SluiceU32 takeFramesLost(SluiceForwardCounters* counters) {
  const SluiceU32 lost = (SluiceU32)counters->framesLostSince;
  counters->framesLostSince = 0;
  return lost;
}
