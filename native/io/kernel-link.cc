#include "native/io/kernel-link.h"

#include <time.h>

#include <algorithm>

namespace sluice {
namespace {

// After this time, what was sent up and has not come was lost.
constexpr uint64_t LOST_NS = 10'000'000;

uint64_t monotonicNs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

size_t KernelLink::receive(std::span<Frame> frames) noexcept {
  if (side_->beginning() != over_) [[unlikely]]
    return receiveUncounted(frames);
  const size_t count = tap_->receive(frames);
  if (way_ == nullptr) return count;
  taken_ = static_cast<uint32_t>(count);
  if (count > 0) {
    missing_ = 0;
  } else {
    noticeLoss();
  }
  return count;
}

// While frames wait that nobody has counted, none counts as done, and the program lets no frame
// overtake any (KernelSide::resume). Another worker's queue may hold frames of this worker's
// connections: so all queues are emptied first, and a round goes by in which this worker takes what
// it was handed.
size_t KernelLink::receiveUncounted(std::span<Frame> frames) noexcept {
  const uint32_t beginning = side_->beginning();
  const uint32_t sent = way_ != nullptr ? __atomic_load_n(&way_->sent, __ATOMIC_ACQUIRE) : 0;
  const size_t count = tap_->receive(frames);
  taken_ = 0;
  if (count > 0) return count;
  if (emptied_ != beginning) {
    emptied_ = beginning;
    side_->foundEmpty();
  } else if (allEmptied_ != beginning) {
    if (side_->areEmptied()) allEmptied_ = beginning;
  } else {
    if (way_ != nullptr) __atomic_store_n(&way_->done, sent, __ATOMIC_RELEASE);
    missing_ = 0;
    over_ = beginning;
  }
  return 0;
}

void KernelLink::noticeLoss() noexcept {
  const uint32_t sent = __atomic_load_n(&way_->sent, __ATOMIC_ACQUIRE);
  const uint32_t missing = sent - way_->done;
  if (missing == 0) return;
  if (missing != missing_ || sent != sentThen_) {
    missing_ = missing;
    sentThen_ = sent;
    missingSinceNs_ = monotonicNs();
  } else if (monotonicNs() - missingSinceNs_ >= LOST_NS) {
    __atomic_store_n(&way_->done, sent, __ATOMIC_RELEASE);
  }
}

void KernelLink::release() noexcept {
  if (taken_ == 0) return;
  const uint32_t sent = __atomic_load_n(&way_->sent, __ATOMIC_ACQUIRE);
  const uint32_t waiting = sent - way_->done;
  // More than that was counted as lost, and has come after all.
  const uint32_t ours = std::min(taken_, waiting);
  __atomic_store_n(&way_->done, way_->done + ours, __ATOMIC_RELEASE);
  taken_ = 0;
}

bool KernelLink::appendHandoff(std::vector<LinkHandoff>* queues) const {
  if (!tap_->appendHandoff(queues)) return false;
  if (descriptor() >= 0) queues->back().kind = LinkKind::Kernel;
  return true;
}

}  // namespace sluice
