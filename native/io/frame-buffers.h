#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "native/layout/layout.gen.h"
#include "native/packet/frame.h"
#include "native/packet/status.h"

namespace sluice {

// Memory for one batch of frames of any size, each with its Offload header before it.
//
// One worker handles one batch at a time, so all its links may share these buffers. Hundreds of
// TAPs then need no buffers of their own.
//
// Threads: the worker's.
class FrameBuffers {
 public:
  // Bytes from one frame's Offload header to the next; IP headers fall on a multiple of 8.
  static constexpr size_t STRIDE = (sizeof(Offload) + FRAME_BYTES_MAX + 63) / 64 * 64;

  // A batch ends with the frame that reaches this size. Its bytes are then still in the cache when
  // they are copied out. A full batch of superframes would be twice the size of a core's cache.
  static constexpr size_t BATCH_BYTES = 96 << 10;

  // What a frame counts towards BATCH_BYTES. Each segment adds SEGMENT_BYTES: a superframe of many
  // small segments takes longer than its size suggests, and other links wait for the end of the
  // batch.
  [[nodiscard]] static size_t batchBytesOf(const Frame& frame) noexcept {
    return frame.length + size_t{segmentsOf(frame)} * SEGMENT_BYTES;
  }

  // Errors: Limit when there is no memory.
  static Status create(std::shared_ptr<FrameBuffers>* buffers) noexcept;

  // The address of frame `index`'s Offload header. Shape: `index` is below BATCH_FRAMES_MAX.
  [[nodiscard]] std::byte* at(size_t index) noexcept { return memory_.get() + index * STRIDE; }

 private:
  static constexpr size_t SEGMENT_BYTES = 256;

  struct Free {
    void operator()(std::byte* memory) const noexcept;
  };
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace sluice
