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

// Frames on their way from the worker that received them to the one they belong to: copies, in a
// ring of fixed memory.
//
// Threads: one pushes, one takes, at the same time; clear() while neither does.
class Handover {
 public:
  static constexpr size_t RING_BYTES = 1 << 20;
  static_assert(RING_BYTES > 2 * FRAME_BYTES_MAX);

  // Errors: Limit when there is no memory.
  static Status create(std::unique_ptr<Handover>* handover) noexcept;

  // Copies a frame that came in by `linkId`; false when there is no room for it now. One link alone
  // fills three quarters at most: what the others bring then still finds room.
  [[nodiscard]] bool push(uint32_t linkId, const Frame& frame) noexcept;

  // Takes the oldest frames that came in by one link, and which link that is; returns how many.
  // Owner: their bytes are the ring's, until release(). Call release() before the next one.
  size_t take(std::span<Frame> frames, uint32_t* linkId) noexcept;
  void release() noexcept;

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_relaxed);
  }

  // Forgets every frame.
  void clear() noexcept;

 private:
  // Stands before each frame; the frame's bytes follow. A skip fills the ring up to its end.
  struct Entry {
    Frame frame;  // `bytes` is set when it is taken
    uint32_t linkId;
    uint32_t entryBytes;  // this, the frame and what aligns the next
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
  std::array<uint64_t, LINKS_MAX> pushedOf_ = {};  // the pusher's: bytes of each link so far
  alignas(64) std::atomic<uint64_t> tail_ = 0;
  uint64_t taken_ = 0;       // the taker's: up to where frames are in its hands
  uint64_t takenBytes_ = 0;  // the taker's: of takenLink_, since release()
  uint32_t takenLink_ = 0;
  std::array<std::atomic<uint64_t>, LINKS_MAX> releasedOf_ = {};  // as pushedOf_
};

}  // namespace sluice
