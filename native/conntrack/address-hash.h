#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "native/conntrack/siphash.h"

namespace sluice {

// Hashes addresses, or their networks, to a few bits. Nobody can choose colliding addresses without
// the secret.
//
// Shape:  addresses as two words, as keys hold them: IPv4 in the first four bytes, the rest zero.
//         Use the uppermost bits of a hash: the lower ones are not well mixed.
// Source: Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer
//         arithmetic without primes", 1996.
class AddressHash {
 public:
  AddressHash() = default;
  explicit AddressHash(const HashSecret& secret) noexcept {
    for (uint64_t key = 0; key < keys_.size(); ++key) {
      keys_[key] = sipHash13(std::array<uint64_t, 2>{key, UINT64_MAX}, secret);
    }
  }

  [[nodiscard]] uint64_t ofAddress(uint64_t first, uint64_t second) const noexcept {
    return keys_[0] + first * keys_[1] + second * keys_[2];
  }
  // The hash of an IPv4 address's /24, or of an IPv6 address's /64.
  [[nodiscard]] uint64_t ofNetwork(uint64_t first, bool v4) const noexcept {
    constexpr uint64_t V4_NETWORK = 0xffffff;  // as it lies in memory
    return ofAddress(first & (v4 ? V4_NETWORK : UINT64_MAX), 0);
  }

 private:
  std::array<uint64_t, 3> keys_ = {};
};

}  // namespace sluice
