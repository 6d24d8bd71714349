#include "native/event/frame-ring.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace sluice {

Status FrameRing::create(uint32_t capacity, std::unique_ptr<FrameRing>* ring) noexcept {
  if (!std::has_single_bit(capacity) || capacity > 1u << 16) return {StatusCode::Argument};
  std::unique_ptr<FrameRing> made(new (std::nothrow) FrameRing(capacity));
  if (made == nullptr) return {StatusCode::Limit};
  made->frames_.reset(new (std::nothrow) DroppedFrame[capacity]);
  if (made->frames_ == nullptr) return {StatusCode::Limit};
  *ring = std::move(made);
  return {};
}

void FrameRing::push(const FlowEvent& event, std::span<const std::byte> frame) noexcept {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  if (head - tail_.load(std::memory_order_acquire) == capacity_) {
    ++lostSince_;
    return;
  }
  DroppedFrame& kept = frames_[head & (capacity_ - 1)];
  FlowEvent own = event;
  own.lostBefore = lostSince_;
  lostSince_ = 0;
  std::memcpy(kept.event, &own, sizeof own);
  kept.capturedBytes = static_cast<uint32_t>(std::min<size_t>(frame.size(), DROPPED_FRAME_BYTES));
  kept.reserved = 0;
  if (kept.capturedBytes > 0) std::memcpy(kept.frame, frame.data(), kept.capturedBytes);
  head_.store(head + 1, std::memory_order_release);
}

size_t FrameRing::drain(std::span<DroppedFrame> into) noexcept {
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  const uint64_t waiting = head_.load(std::memory_order_acquire) - tail;
  const size_t count = std::min<uint64_t>(waiting, into.size());
  for (size_t index = 0; index < count; ++index) {
    into[index] = frames_[(tail + index) & (capacity_ - 1)];
  }
  tail_.store(tail + count, std::memory_order_release);
  return count;
}

}  // namespace sluice
