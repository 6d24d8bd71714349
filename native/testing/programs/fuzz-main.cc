// One fuzz target as a libFuzzer program: SLUICE_FUZZ_TARGET names its function, and
// SLUICE_FUZZ_MUTATE its mutator where it has one of its own.
#include "native/testing/fuzz/fuzz.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* bytes, size_t length, size_t lengthMax);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t length) {
  sluice::testing::SLUICE_FUZZ_TARGET({bytes, length});
  return 0;
}

#ifdef SLUICE_FUZZ_MUTATE
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t length, size_t lengthMax,
                                          unsigned int seed) {
  return sluice::testing::SLUICE_FUZZ_MUTATE(bytes, length, lengthMax, seed, LLVMFuzzerMutate);
}
#endif
