#pragma once

#include <cstdio>

#include "native/bench/meter.h"

// The other side of what native/bench/main.cc does: set up, say so, then a run for every line of
// standard input.
template <typename Run>
int takeTurns(uint64_t startedNs, size_t memoryBytes, Run&& run) {
  std::printf("{\"setupMs\":%.1f,\"memoryBytes\":%zu}\n",
              static_cast<double>(sluice::bench::nowNs() - startedNs) / 1e6, memoryBytes);
  std::fflush(stdout);
  char line[64];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    const sluice::bench::Measured measured = run();
    std::printf("{\"ns\":%.3f,\"p50\":%.2f,\"p99\":%.2f,\"answers\":%llu}\n", measured.nsPerItem,
                measured.p50, measured.p99, static_cast<unsigned long long>(measured.answers));
    std::fflush(stdout);
  }
  return 0;
}

// The programs in main.cc's list: the words are those after the name.
int runAcl(int count, char** words);
int runFib6(int count, char** words);
int runHash(int count, char** words);
