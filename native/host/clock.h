#pragma once

#include <time.h>

#include <cstdint>

namespace sluice {

// Units: nanoseconds of that clock.
[[nodiscard]] inline uint64_t clockNs(clockid_t clock = CLOCK_MONOTONIC) noexcept {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace sluice
