#pragma once

#include "native/layout/dialect.h"
#include "native/layout/shared.gen.h"

// SipHash with one and three rounds, for the addon and for eBPF programs.
//
// Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.

typedef struct {
  SluiceU64 a, b, c, d;
} SluiceSipState;

SLUICE_INLINE SluiceU64 sluiceRotateLeft(SluiceU64 value, int bits) {
  return value << bits | value >> (64 - bits);
}

SLUICE_INLINE void sluiceSipRound(SluiceSipState* state) {
  state->a += state->b;
  state->c += state->d;
  state->b = sluiceRotateLeft(state->b, 13) ^ state->a;
  state->d = sluiceRotateLeft(state->d, 16) ^ state->c;
  state->a = sluiceRotateLeft(state->a, 32);
  state->c += state->b;
  state->a += state->d;
  state->b = sluiceRotateLeft(state->b, 17) ^ state->c;
  state->d = sluiceRotateLeft(state->d, 21) ^ state->a;
  state->c = sluiceRotateLeft(state->c, 32);
}

// Shape: the message is the words' bytes.
SLUICE_INLINE SluiceU64 sluiceSipHash13(const SluiceU64* words, SluiceU32 count,
                                        SluiceU64 secretLow, SluiceU64 secretHigh) {
  SluiceSipState state = {0x736f6d6570736575 ^ secretLow, 0x646f72616e646f6d ^ secretHigh,
                          0x6c7967656e657261 ^ secretLow, 0x7465646279746573 ^ secretHigh};
  for (SluiceU32 at = 0; at < count; ++at) {
    state.d ^= words[at];
    sluiceSipRound(&state);
    state.a ^= words[at];
  }
  const SluiceU64 length = (SluiceU64)(count * 8) << 56;
  state.d ^= length;
  sluiceSipRound(&state);
  state.a ^= length;
  state.c ^= 0xff;
  sluiceSipRound(&state);
  sluiceSipRound(&state);
  sluiceSipRound(&state);
  return state.a ^ state.b ^ state.c ^ state.d;
}
