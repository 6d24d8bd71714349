#pragma once

#include <cstddef>

#include "native/packet/status.h"

namespace sluice {

// Memory that is mapped, and unmapped with its owner.
class MappedMemory {
 public:
  MappedMemory() = default;
  ~MappedMemory() { reset(); }
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  // Errors: System, "mmap".
  Status map(int fd, size_t bytes, int protection, size_t offset) noexcept;
  void reset() noexcept;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sluice
