#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "native/packet/bytes.h"

namespace sluice {

// An address with a prefix length. Its host bits are kept.
struct HostAddress {
  uint8_t family = 0;  // 4 or 6
  uint8_t length = 0;
  std::array<uint8_t, 16> bytes = {};

  [[nodiscard]] size_t size() const noexcept { return family == 4 ? 4 : 16; }
};

// Reads `10.0.0.1/24` or `fd00::1`. Without a length the prefix is the whole address.
[[nodiscard]] bool parseHostAddress(const std::string& text, HostAddress* address) noexcept;

// Reads `02:00:00:00:00:01`.
[[nodiscard]] bool parseMac(const std::string& text, MacAddress* mac) noexcept;

}  // namespace sluice
