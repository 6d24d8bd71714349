#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice {

// A connection's name: the same for packets of both directions. The lower end comes first.
//
// Shape: words 0 and 1 the lower end's address, 2 and 3 the higher end's, 4 the ports, protocol,
//        family, ICMP query kind and zone.
struct ConnKey {
  std::array<uint64_t, 5> words = {};

  [[nodiscard]] uint8_t zone() const noexcept { return static_cast<uint8_t>(words[4] >> 56); }

  // No branch for each word: nearly all compared keys are equal.
  bool operator==(const ConnKey& other) const noexcept {
    uint64_t different = 0;
    for (size_t word = 0; word < words.size(); ++word) different |= words[word] ^ other.words[word];
    return different == 0;
  }
};

}  // namespace sluice
