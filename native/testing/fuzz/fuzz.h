#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

// The fuzz targets. Each target takes any bytes and aborts when one of its properties does not
// hold; native/testing/programs/fuzz-main.cc makes a libFuzzer program of one, and corpus-test.cc
// sends the committed corpus through all.
namespace sluice::testing {

void fuzzPacket(std::span<const uint8_t> input);
void fuzzTable(std::span<const uint8_t> input);
void fuzzConnections(std::span<const uint8_t> input);

// Changes an input in place the way that suits the target; returns its new length. `mutateBytes` is
// libFuzzer's own.
using MutateBytes = size_t (*)(uint8_t* bytes, size_t length, size_t lengthMax);
size_t mutatePackets(uint8_t* bytes, size_t length, size_t lengthMax, uint32_t seed,
                     MutateBytes mutateBytes);

// Set by a build whose targets hold one planted fault each, which must be found: the proof that a
// finding is reported.
#ifdef SLUICE_FUZZ_CANARY
inline constexpr bool FUZZ_CANARY = true;
#else
inline constexpr bool FUZZ_CANARY = false;
#endif

}  // namespace sluice::testing

// Ends the run when a property does not hold, and says which.
#define HOLDS(condition, what)                                                 \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::fprintf(stderr, "%s:%d: violated: %s\n", __FILE__, __LINE__, what); \
      std::abort();                                                            \
    }                                                                          \
  } while (false)
