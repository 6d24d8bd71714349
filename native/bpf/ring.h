#pragma once

#include <linux/bpf.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/bpf/mapped-memory.h"
#include "native/packet/status.h"

namespace sluice {

// The reader of a ring that programs write, a map of the type RINGBUF: one at a time.
//
// Source: kernel/bpf/ringbuf.c and Documentation/bpf/ringbuf.rst of the kernel.
class BpfRing {
 public:
  // Shape:  `bytes` is the size of the map, which must outlive this.
  // Errors: System, "mmap".
  Status map(int fd, size_t bytes) noexcept;

  // Bytes that all records so far have taken: it changes when there is something to read.
  [[nodiscard]] uint64_t pushed() const noexcept { return wordOf(written_).load(ACQUIRE); }

  // Calls `take` with each record that waits, oldest first, and frees its place; ends where it
  // returns false, and keeps that record.
  template <typename Take>
  void read(Take take) noexcept {
    const std::atomic_ref<uint64_t> reader = wordOf(read_);
    const uint64_t end = pushed();
    uint64_t at = reader.load(std::memory_order_relaxed);
    while (at < end) {
      const std::byte* const record = records_ + (at & (bytes_ - 1));
      const uint32_t length = lengthAt(record);
      if ((length & BPF_RINGBUF_BUSY_BIT) != 0) return;
      const uint32_t bytes = length & ~BPF_RINGBUF_DISCARD_BIT;
      const bool isThere = (length & BPF_RINGBUF_DISCARD_BIT) == 0;
      if (isThere && !take(std::span(record + BPF_RINGBUF_HDR_SZ, bytes))) return;
      at += (bytes + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7};
      reader.store(at, std::memory_order_release);
    }
  }

 private:
  static constexpr auto ACQUIRE = std::memory_order_acquire;
  [[nodiscard]] static std::atomic_ref<uint64_t> wordOf(const MappedMemory& memory) noexcept {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(memory.data()));
  }
  [[nodiscard]] static uint32_t lengthAt(const std::byte* record) noexcept {
    return __atomic_load_n(reinterpret_cast<const uint32_t*>(record), __ATOMIC_ACQUIRE);
  }

  MappedMemory read_;     // the reader's position
  MappedMemory written_;  // the writer's position, and the records, mapped twice in a row
  const std::byte* records_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sluice
