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
// One worker handles one batch at a time, so all its links may share this: hundreds of TAPs then
// need no memory of their own.
//
// Threads: the worker's.
class FrameBuffers {
 public:
  // Bytes from one frame's Offload header to the next; IP headers fall on a multiple of 8.
  static constexpr size_t STRIDE = (sizeof(Offload) + FRAME_BYTES_MAX + 63) / 64 * 64;

  // A batch ends with the frame that reaches this. What was just copied in is then still in the
  // cache when it is copied out; a full batch of superframes has twice as much as a core's cache.
  static constexpr size_t BATCH_BYTES = 96 << 10;

  // What a frame counts towards them. A superframe of many small segments takes longer than its
  // bytes tell, and other links wait for the end of the batch.
  [[nodiscard]] static size_t batchBytesOf(const Frame& frame) noexcept {
    return frame.length + size_t{segmentsOf(frame)} * SEGMENT_BYTES;
  }

  // Errors: Limit when there is no memory.
  static Status create(std::shared_ptr<FrameBuffers>* buffers) noexcept;

  // Where the Offload header of frame `index` stands, below BATCH_FRAMES_MAX.
  [[nodiscard]] std::byte* at(size_t index) noexcept { return memory_.get() + index * STRIDE; }

 private:
  static constexpr size_t SEGMENT_BYTES = 256;

  struct Free {
    void operator()(std::byte* memory) const noexcept;
  };
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace sluice
