#include "native/worker/handover.h"

#include <cstdlib>
#include <cstring>

#include "native/io/frame-buffers.h"

namespace sluice {
namespace {

// A link's frames take at most this many times the room that is left free.
constexpr uint64_t OF_WHAT_IS_LEFT = 3;

}  // namespace

void Handover::Free::operator()(std::byte* memory) const noexcept { std::free(memory); }

Status Handover::create(std::unique_ptr<Handover>* handover) noexcept {
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(ENTRY_ALIGNMENT, RING_BYTES));
  if (memory == nullptr) return {StatusCode::Limit};
  handover->reset(new (std::nothrow) Handover(memory));
  if (*handover != nullptr) return {};
  std::free(memory);
  return {StatusCode::Limit};
}

bool Handover::push(uint32_t linkId, const Frame& frame) noexcept {
  const uint64_t wanted =
      (ENTRY_BYTES + frame.length + ENTRY_ALIGNMENT - 1) / ENTRY_ALIGNMENT * ENTRY_ALIGNMENT;
  uint64_t head = head_.load(std::memory_order_relaxed);
  const uint64_t room = RING_BYTES - (head - tail_.load(std::memory_order_acquire));
  const uint64_t toEnd = RING_BYTES - head % RING_BYTES;
  const uint64_t skipped = wanted > toEnd ? toEnd : 0;
  if (wanted + skipped > room) return false;
  const uint64_t waiting = pushedOf_[linkId] - releasedOf_[linkId].load(std::memory_order_relaxed);
  if (waiting + wanted > (room - wanted - skipped) * OF_WHAT_IS_LEFT) return false;
  pushedOf_[linkId] += wanted;
  if (skipped > 0) {
    ::new (entryAt(head)) Entry{{}, linkId, static_cast<uint32_t>(skipped), true};
    head += skipped;
  }
  Entry* const entry =
      ::new (entryAt(head)) Entry{frame, linkId, static_cast<uint32_t>(wanted), false};
  std::memcpy(reinterpret_cast<std::byte*>(entry) + ENTRY_BYTES, frame.bytes, frame.length);
  head_.store(head + wanted, std::memory_order_release);
  return true;
}

size_t Handover::take(std::span<Frame> frames, uint32_t* linkId) noexcept {
  const uint64_t head = head_.load(std::memory_order_acquire);
  size_t count = 0;
  size_t bytes = 0;
  while (taken_ != head && count < frames.size()) {
    Entry* const entry = entryAt(taken_);
    if (!entry->skip) {
      if (count > 0 && (entry->linkId != *linkId || bytes >= FrameBuffers::BATCH_BYTES)) break;
      *linkId = entry->linkId;
      takenLink_ = entry->linkId;
      takenBytes_ += entry->entryBytes;
      bytes += FrameBuffers::batchBytesOf(entry->frame);
      Frame& frame = frames[count++];
      frame = entry->frame;
      frame.bytes = reinterpret_cast<std::byte*>(entry) + ENTRY_BYTES;
      frame.headroom = false;
    }
    taken_ += entry->entryBytes;
  }
  return count;
}

void Handover::release() noexcept {
  std::atomic<uint64_t>& released = releasedOf_[takenLink_];
  released.store(released.load(std::memory_order_relaxed) + takenBytes_, std::memory_order_relaxed);
  takenBytes_ = 0;
  tail_.store(taken_, std::memory_order_release);
}

void Handover::clear() noexcept {
  taken_ = head_.load(std::memory_order_relaxed);
  tail_.store(taken_, std::memory_order_relaxed);
  takenBytes_ = 0;
  for (uint32_t link = 0; link < LINKS_MAX; ++link) {
    releasedOf_[link].store(pushedOf_[link], std::memory_order_relaxed);
  }
}

}  // namespace sluice
