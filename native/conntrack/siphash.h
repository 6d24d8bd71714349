#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

using HashSecret = std::array<uint64_t, 2>;

// Hashes whole words with a secret. A party that chooses the words cannot choose collisions without
// it.
//
// Shape:  the message is the words' bytes; one and three rounds.
// Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
[[nodiscard]] inline uint64_t sipHash13(std::span<const uint64_t> words,
                                        const HashSecret& secret) noexcept {
  uint64_t a = 0x736f6d6570736575 ^ secret[0];
  uint64_t b = 0x646f72616e646f6d ^ secret[1];
  uint64_t c = 0x6c7967656e657261 ^ secret[0];
  uint64_t d = 0x7465646279746573 ^ secret[1];
  const auto round = [&]() noexcept {
    a += b;
    c += d;
    b = std::rotl(b, 13) ^ a;
    d = std::rotl(d, 16) ^ c;
    a = std::rotl(a, 32);
    c += b;
    a += d;
    b = std::rotl(b, 17) ^ c;
    d = std::rotl(d, 21) ^ a;
    c = std::rotl(c, 32);
  };
  for (const uint64_t word : words) {
    d ^= word;
    round();
    a ^= word;
  }
  const uint64_t length = static_cast<uint64_t>(words.size() * 8) << 56;
  d ^= length;
  round();
  a ^= length;
  c ^= 0xff;
  round();
  round();
  round();
  return a ^ b ^ c ^ d;
}

}  // namespace sluice
