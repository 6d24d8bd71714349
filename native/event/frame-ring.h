#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// The first bytes of frames that one worker has dropped, each with its event, for a reader that
// wants to see them. While nobody does, nothing is copied. A full ring never stops the worker: the
// frame is left out, and the next one that fits carries the count in its event.
//
// Threads: one pushes, one drains and asks, at the same time.
class FrameRing {
 public:
  // Shape:  `capacity` is a power of two, at most 2^16.
  // Errors: Argument, Limit.
  static Status create(uint32_t capacity, std::unique_ptr<FrameRing>* ring) noexcept;

  // Whether frames are wanted from now on. Those that wait stay.
  void ask(bool wanted) noexcept { wanted_.store(wanted, std::memory_order_relaxed); }
  [[nodiscard]] bool wanted() const noexcept { return wanted_.load(std::memory_order_relaxed); }

  // Cost: a copy of DROPPED_FRAME_BYTES at most; no lock, no wait.
  void push(const FlowEvent& event, std::span<const std::byte> frame) noexcept;

  // Copies the oldest frames out and frees their places; returns how many.
  size_t drain(std::span<DroppedFrame> into) noexcept;

 private:
  explicit FrameRing(uint32_t capacity) noexcept : capacity_(capacity) {}

  const uint64_t capacity_;
  std::unique_ptr<DroppedFrame[]> frames_;
  std::atomic<bool> wanted_ = false;
  alignas(64) std::atomic<uint64_t> head_ = 0;
  uint32_t lostSince_ = 0;
  alignas(64) std::atomic<uint64_t> tail_ = 0;
};

}  // namespace sluice
