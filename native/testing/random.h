#pragma once

#include <cstdint>

namespace sluice::testing {

// Numbers that a seed gives again (xorshift).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint32_t below(uint32_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>((state_ >> 32) * limit >> 32);
  }

 private:
  uint64_t state_;
};

}  // namespace sluice::testing
