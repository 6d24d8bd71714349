#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "native/packet/status.h"

namespace sluice {

// The running kernel's type information, for programs that read its structures.
//
// Source: Documentation/bpf/btf.rst of the kernel.
class KernelTypes {
 public:
  static constexpr uint32_t ABSENT = UINT32_MAX;

  // Errors: System, "open /sys/kernel/btf/vmlinux", where the kernel has none; Argument when it
  //         cannot be read.
  static Status read(KernelTypes* types) noexcept;

  // The number of a structure or of a function; ABSENT when the kernel has none of this name.
  [[nodiscard]] uint32_t structure(std::string_view name) const noexcept;
  [[nodiscard]] uint32_t function(std::string_view name) const noexcept;

  // Where a member starts, in bytes, also one of an unnamed member; ABSENT when there is none.
  [[nodiscard]] uint32_t offsetOf(uint32_t structure, std::string_view member) const noexcept;
  // The same in bits, for a member that is a few bits.
  [[nodiscard]] uint32_t bitOffsetOf(uint32_t structure, std::string_view member) const noexcept;
  [[nodiscard]] uint32_t sizeOf(uint32_t structure) const noexcept;

 private:
  [[nodiscard]] bool index() noexcept;
  [[nodiscard]] uint32_t find(uint32_t kind, std::string_view name) const noexcept;
  [[nodiscard]] std::string_view text(uint32_t at) const noexcept;
  [[nodiscard]] uint32_t word(size_t at) const noexcept;

  std::unique_ptr<std::byte[]> memory_;
  std::span<const std::byte> bytes_;
  std::span<const std::byte> strings_;
  std::vector<uint32_t> types_;  // by number: where it starts; number 0 is void
};

}  // namespace sluice
