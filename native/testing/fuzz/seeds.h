#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::testing {

// An input to start fuzzing from; native/testing/corpus holds each as a file of this name.
struct Seed {
  const char* target;
  std::string name;
  std::vector<uint8_t> bytes;
};

[[nodiscard]] std::vector<Seed> allSeeds();

}  // namespace sluice::testing
