#pragma once

#include <atomic>
#include <cstdint>

#include "native/conntrack/conn-entry.h"

namespace sluice {

// Memory for the entries of a table that programs read: addresses for all of them, and memory for
// the first ones, all zero. There is more of it as the table fills, since the kernel takes what
// programs read at once, not on first use.
class ConnRoom {
 public:
  ConnRoom() = default;
  virtual ~ConnRoom() = default;
  ConnRoom(const ConnRoom&) = delete;
  ConnRoom& operator=(const ConnRoom&) = delete;

  [[nodiscard]] ConnEntry* entries() const noexcept { return entries_; }
  // As many places have memory. Threads: any.
  [[nodiscard]] uint32_t places() const noexcept { return places_.load(std::memory_order_acquire); }
  // Asks for memory in time, where so many places are in use.
  virtual void prepare(uint32_t used) noexcept = 0;
  // Waits for the memory of so many places, some 20 ms for each map of them; false when there is
  // none, or none has come for a second. Then it does not wait again before some has.
  [[nodiscard]] virtual bool grow(uint32_t places) noexcept = 0;

 protected:
  ConnEntry* entries_ = nullptr;
  std::atomic<uint32_t> places_ = 0;
};

}  // namespace sluice
