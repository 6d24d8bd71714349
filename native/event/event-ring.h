#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// A queue of events from one worker to its reader. A full ring never stops the worker: the event is
// lost and counted, and the next event that fits carries the count.
//
// Threads: one pushes, one drains, at the same time.
class EventRing {
 public:
  // Shape:  `capacity` is a power of two, at most 2^20.
  // Errors: Argument, Limit.
  static Status create(uint32_t capacity, std::unique_ptr<EventRing>* ring) noexcept;

  // Cost: a copy of the event; no lock, no wait.
  void push(FlowEvent event) noexcept {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tailSeen_ == capacity_) {
      tailSeen_ = tail_.load(std::memory_order_acquire);
      if (head - tailSeen_ == capacity_) {
        lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        ++lostSince_;
        return;
      }
    }
    event.lostBefore = lostSince_;
    lostSince_ = 0;
    events_[head & (capacity_ - 1)] = event;
    head_.store(head + 1, std::memory_order_release);
  }

  // Copies the oldest events out and frees their places; returns how many.
  size_t drain(std::span<FlowEvent> into) noexcept {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const uint64_t waiting = head_.load(std::memory_order_acquire) - tail;
    const size_t count = waiting < into.size() ? static_cast<size_t>(waiting) : into.size();
    for (size_t index = 0; index < count; ++index) {
      into[index] = events_[(tail + index) & (capacity_ - 1)];
    }
    tail_.store(tail + count, std::memory_order_release);
    return count;
  }

  // Events pushed so far, without lost ones. Threads: any.
  [[nodiscard]] uint64_t pushed() const noexcept { return head_.load(std::memory_order_acquire); }

  // Events lost so far. Threads: any.
  [[nodiscard]] uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  explicit EventRing(uint32_t capacity) noexcept : capacity_(capacity) {}

  const uint64_t capacity_;
  std::unique_ptr<FlowEvent[]> events_;
  // The writer and the reader have separate cache lines, so that neither waits for the other's
  // cache.
  alignas(64) std::atomic<uint64_t> head_ = 0;
  uint64_t tailSeen_ = 0;
  uint32_t lostSince_ = 0;
  std::atomic<uint64_t> lost_ = 0;
  alignas(64) std::atomic<uint64_t> tail_ = 0;
};

}  // namespace sluice
