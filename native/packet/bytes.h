#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace sluice {

using MacAddress = std::array<uint8_t, 6>;

// Reads a number in network order, at any alignment.
[[nodiscard]] inline uint16_t load16(const uint8_t* bytes) noexcept {
  return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]);
}

[[nodiscard]] inline uint32_t load32(const uint8_t* bytes) noexcept {
  uint32_t valueBe = 0;
  std::memcpy(&valueBe, bytes, 4);
  return __builtin_bswap32(valueBe);
}

// Reads eight bytes as they stand, for comparing and hashing only.
[[nodiscard]] inline uint64_t loadWord(const uint8_t* bytes) noexcept {
  uint64_t word = 0;
  std::memcpy(&word, bytes, 8);
  return word;
}

}  // namespace sluice
