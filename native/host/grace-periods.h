#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "native/packet/status.h"

namespace sluice {

// Waits, on a thread of its own, until all eBPF programs that had begun have ended: so long may a
// program still write to memory that was taken from it.
//
// Threads: any.
// Source:  membarrier(2), MEMBARRIER_CMD_GLOBAL: it waits for every RCU read-side critical section.
class GracePeriods {
 public:
  // Errors: System, "pthread_create"; Limit.
  static Status start(std::unique_ptr<GracePeriods>* periods) noexcept;
  ~GracePeriods();
  GracePeriods(const GracePeriods&) = delete;
  GracePeriods& operator=(const GracePeriods&) = delete;

  // The number of a period that begins after this call, and asks for it.
  [[nodiscard]] uint64_t next() noexcept;
  [[nodiscard]] bool isOver(uint64_t number) const noexcept {
    return over_.load(std::memory_order_acquire) >= number;
  }
  // Waits for a period that begins now: some 10 ms.
  void wait() noexcept;

 private:
  GracePeriods() = default;
  void run() noexcept;

  std::atomic<uint64_t> wanted_ = 0;
  std::atomic<uint64_t> begun_ = 0;
  std::atomic<uint64_t> over_ = 0;
  std::atomic<bool> end_ = false;
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace sluice
