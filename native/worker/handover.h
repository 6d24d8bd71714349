#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/frame.h"
#include "native/packet/status.h"

namespace sluice {

// A ring of fixed size with copies of frames, from the worker that received them to the worker that
// they belong to.
//
// Threads: one pushes, one takes, at the same time; clear() while neither does.
class Handover {
 public:
  static constexpr size_t RING_BYTES = 1 << 20;
  static_assert(RING_BYTES > 2 * FRAME_BYTES_MAX);

  // Errors: Limit when there is no memory.
  static Status create(std::unique_ptr<Handover>* handover) noexcept;

  // Copies a frame that arrived on `linkId`; false when there is no room now. One link can fill at
  // most three quarters of the ring, so frames of other links still find room.
  [[nodiscard]] bool push(uint32_t linkId, const Frame& frame) noexcept;

  // Takes the oldest frames, all from one link, and stores its id in `*linkId`; returns the number
  // of frames.
  // Owner: their bytes are the ring's, until release(). Call release() before the next one.
  size_t take(std::span<Frame> frames, uint32_t* linkId) noexcept;
  void release() noexcept;

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_relaxed);
  }

  // Forgets every frame.
  void clear() noexcept;

 private:
  // The header of each frame in the ring; the frame's bytes follow it. A skip entry fills the rest
  // of the ring up to its end.
  struct Entry {
    Frame frame;  // `bytes` is set when it is taken
    uint32_t linkId;
    uint32_t entryBytes;  // header, frame and padding
    bool skip;
  };
  static constexpr size_t ENTRY_ALIGNMENT = 64;
  static constexpr size_t ENTRY_BYTES = (sizeof(Entry) + 7) / 8 * 8 + 2;

  struct Free {
    void operator()(std::byte* memory) const noexcept;
  };

  explicit Handover(std::byte* memory) noexcept : memory_(memory) {}
  [[nodiscard]] Entry* entryAt(uint64_t position) const noexcept {
    return reinterpret_cast<Entry*>(memory_.get() + position % RING_BYTES);
  }

  std::unique_ptr<std::byte, Free> memory_;
  alignas(64) std::atomic<uint64_t> head_ = 0;
  std::array<uint64_t, LINKS_MAX> pushedOf_ = {};  // the pusher's: bytes pushed of each link
  alignas(64) std::atomic<uint64_t> tail_ = 0;
  uint64_t taken_ = 0;       // the taker's: end of the frames that it holds
  uint64_t takenBytes_ = 0;  // the taker's: of takenLink_, since release()
  uint32_t takenLink_ = 0;
  std::array<std::atomic<uint64_t>, LINKS_MAX> releasedOf_ = {};  // as pushedOf_
};

}  // namespace sluice
