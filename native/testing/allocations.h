#pragma once

#include <cstdint>

namespace sluice::testing {

// How often this thread has called operator new, of any kind. The packet path must not.
[[nodiscard]] uint64_t allocationsOfThread() noexcept;

// While it lives, this thread gets no memory from its `number`-th call on of a kind of new that may
// fail; 0 is the first.
class OutOfMemory {
 public:
  explicit OutOfMemory(uint64_t number) noexcept;
  ~OutOfMemory();
  OutOfMemory(const OutOfMemory&) = delete;
  OutOfMemory& operator=(const OutOfMemory&) = delete;
};

}  // namespace sluice::testing
