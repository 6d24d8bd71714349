#pragma once

#include <cstdint>

namespace sluice::testing {

// How often this thread has called operator new, of any kind. The packet path must not.
[[nodiscard]] uint64_t allocationsOfThread() noexcept;

}  // namespace sluice::testing
