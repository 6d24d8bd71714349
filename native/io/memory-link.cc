#include "native/io/memory-link.h"

#include <algorithm>
#include <cstring>

#include "native/io/frame-buffers.h"

namespace sluice {

MemoryLink::Store::Store(size_t capacity) : bytes(capacity * FRAME_BYTES_MAX), frames(capacity) {}

bool MemoryLink::Store::push(const Frame& frame) noexcept {
  if (count == frames.size() || frame.length > FRAME_BYTES_MAX) return false;
  Frame& copy = frames[count];
  copy = frame;
  copy.bytes = bytes.data() + count * FRAME_BYTES_MAX;
  std::memcpy(copy.bytes, frame.bytes, frame.length);
  ++count;
  return true;
}

MemoryLink::MemoryLink(size_t capacity, bool carriesOffload)
    : in_(capacity), out_(capacity), carriesOffload_(carriesOffload) {}

bool MemoryLink::arrive(const Frame& frame) noexcept { return in_.push(frame); }

void MemoryLink::clearSent() noexcept {
  out_.count = 0;
  flushed_ = 0;
}

size_t MemoryLink::receive(std::span<Frame> frames) noexcept {
  const size_t wanted = std::min(frames.size(), in_.count - taken_);
  size_t count = 0;
  size_t bytes = 0;
  while (count < wanted && bytes < FrameBuffers::BATCH_BYTES) {
    frames[count] = in_.frames[taken_++];
    bytes += FrameBuffers::batchBytesOf(frames[count++]);
  }
  return count;
}

void MemoryLink::release() noexcept {
  if (taken_ < in_.count) return;
  in_.count = 0;
  taken_ = 0;
}

bool MemoryLink::transmit(const Frame& frame) noexcept { return out_.push(frame); }

size_t MemoryLink::flush() noexcept {
  flushed_ = out_.count;
  return 0;
}

}  // namespace sluice
