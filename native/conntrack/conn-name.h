#pragma once

#include "native/conntrack/shared-table.h"
#include "native/conntrack/siphash13.h"
#include "native/layout/dialect.h"

// A connection's name and its hash, for the addon and for eBPF programs.

// In the kind of an ICMP query: the end that asks is the higher one.
#define SLUICE_REQUESTER_IS_HIGHER 0x80u

// One packet's way between two ends.
//
// Units: addresses as they lie in memory; ports in host order.
typedef struct {
  SluiceU64 source[2];
  SluiceU64 destination[2];
  SluiceU32 sourcePort;
  SluiceU32 destinationPort;
  SluiceU32 protocol;
  SluiceU32 family;
  SluiceU32 kind;       // of an ICMP query; 0: none
  SluiceU32 isRequest;  // of one
  SluiceU32 zone;
} SluiceWay;

// Names the connection of a packet; returns the end that sent it: 0 the lower, 1 the higher.
SLUICE_INLINE SluiceU32 sluiceNameConn(const SluiceWay* way, SluiceConnKey* key) {
  const SluiceU64* const source = way->source;
  const SluiceU64* const destination = way->destination;
  // Which end is the higher is random, so it is computed without a branch. A mispredicted branch
  // costs more than all of this.
  const SluiceU64 isHigher =
      (SluiceU64)((source[0] > destination[0]) |
                  ((source[0] == destination[0]) &
                   ((source[1] > destination[1]) |
                    ((source[1] == destination[1]) & (way->sourcePort > way->destinationPort)))));
  SluiceU64 kind = way->kind;
  if (kind != 0 && isHigher == way->isRequest) kind |= SLUICE_REQUESTER_IS_HIGHER;

  const SluiceU64 swap = 0 - isHigher;
  for (int word = 0; word < 2; ++word) {
    const SluiceU64 difference = (source[word] ^ destination[word]) & swap;
    key->words[word] = source[word] ^ difference;
    key->words[2 + word] = destination[word] ^ difference;
  }
  const SluiceU32 ports = way->sourcePort | way->destinationPort << 16;
  const SluiceU32 turn = (SluiceU32)(16 * isHigher);
  key->words[4] = (SluiceU32)(ports << turn | ports >> (-turn & 31)) |
                  (SluiceU64)way->protocol << 32 | (SluiceU64)way->family << 40 | kind << 48 |
                  (SluiceU64)way->zone << 56;
  return (SluiceU32)isHigher;
}

// The name's hash where programs look for it.
SLUICE_INLINE SluiceU64 sluiceHashConn(const SluiceConnKey* key, SluiceU64 secretLow,
                                       SluiceU64 secretHigh) {
  if ((SluiceU8)(key->words[4] >> 40) == 4) {
    const SluiceU64 words[2] = {key->words[0] | key->words[2] << 32, key->words[4]};
    return sluiceSipHash13(words, 2, secretLow, secretHigh);
  }
  return sluiceSipHash13(&key->words[0], 5, secretLow, secretHigh);
}

SLUICE_INLINE SluiceU32 sluiceTagOf(SluiceU64 hash) { return (SluiceU32)(hash >> 32) | 1; }

// The bucket that a hash names.
SLUICE_INLINE SluiceU32 sluiceHomeOf(SluiceU64 hash, SluiceU64 bucketCount) {
  return (SluiceU32)((hash & 0xffffffff) * bucketCount >> 32);
}
