#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/conntrack/siphash13.h"

namespace sluice {

using HashSecret = std::array<uint64_t, 2>;

// Hashes whole words with a secret. A party that chooses the words cannot choose collisions without
// it.
[[nodiscard]] inline uint64_t sipHash13(std::span<const uint64_t> words,
                                        const HashSecret& secret) noexcept {
  return sluiceSipHash13(words.data(), static_cast<uint32_t>(words.size()), secret[0], secret[1]);
}

}  // namespace sluice
