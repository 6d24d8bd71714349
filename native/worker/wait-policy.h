#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "native/layout/layout.gen.h"

namespace sluice {

// Decides whether a worker that found no frame looks again or sleeps.
//
// Waking a thread on another core of a virtual machine takes 50 to 100 µs. Polling for that long
// costs no more than a wake-up, if frames do arrive soon. The polling window opens after a short
// sleep, for as long as that sleep was: the frame that ended it would have been found. It halves
// after a long sleep, and closes after several polls in a row found nothing. A longer window for
// all would cost those more who have nothing to find in it. One of 50 µs for all never finds the
// next SYN of a client that makes one connection after another through a link of the kernel, where
// nothing else of a connection comes up: some 100 µs lie between two, and each woke a worker.
// Between two looks the worker yields its core. If another thread keeps the core, the worker moves
// to another core: a sender that never sleeps then has a core of its own, and the worker shares one
// with the receiver, which sleeps in between. If the move did not help, polling only delays the
// worker, and the window closes too.
//
// Units: nanoseconds, any origin. Threads: the worker's.
class WaitPolicy {
 public:
  // A window is closed below this, and opens with no less than WINDOW_NS_OPEN.
  static constexpr uint64_t WINDOW_NS_MIN = 5'000;
  static constexpr uint64_t WINDOW_NS_OPEN = 50'000;
  // Polling could have replaced a sleep up to this long, wake-up included: so no window is longer.
  static constexpr uint64_t SHORT_SLEEP_NS = 150'000;
  // A thread that keeps the core this long does more than answer a frame.
  static constexpr uint64_t KEPT_NS = 200'000;
  // The move to another core did not help when a thread keeps the new core, too, this soon after
  // it.
  static constexpr uint64_t MOVED_NS = 10'000'000;
  // Then the worker stays for this long: where each core is wanted by many, moves cost more than
  // they gain.
  static constexpr uint64_t STAYS_NS = 1'000'000'000;
  // No other thread wanted the core when yielding took less than this.
  static constexpr uint64_t SHARED_NS = 1'500;
  static constexpr size_t FRAMES_OF_ONE = 2;  // a request-response exchange, not a stream
  static constexpr uint32_t LOOKS_MIN = 4;    // cheap, and enough where all share one core
  static constexpr uint32_t VAIN_MAX = 8;     // windows in a row
  static constexpr uint32_t CLOSED_FOR = 64;  // sleeps

  // `mayLook` is false when no core is left for the sender of the frames.
  explicit WaitPolicy(PollMode mode = PollMode::Adaptive, bool mayLook = true) noexcept
      : mode_(mode), mayLook_(mayLook) {}

  // Whether to look once more, after `looks` without a frame over the last `idleNs`.
  [[nodiscard]] bool lookAgain(uint32_t looks, uint64_t idleNs) const noexcept {
    if (mode_ != PollMode::Adaptive) return mode_ == PollMode::Spin;
    return closedFor_ == 0 && (looks < LOOKS_MIN || idleNs < windowNs_);
  }

  // Records that a yield between two looks took `tookNs`, until `nowNs`. True when the worker
  // should move to another core; it calls moved() then, or stays() when there is none.
  [[nodiscard]] bool yielded(uint64_t tookNs, uint64_t nowNs) noexcept {
    shared_ = tookNs >= SHARED_NS;
    if (tookNs < KEPT_NS) return false;
    // Since the move: the yield itself may take longer than MOVED_NS.
    const uint64_t stayedNs = nowNs - tookNs - movedNs_;
    if (mayLook_ && mode_ == PollMode::Adaptive && stayedNs >= staysNs_) return true;
    if (stayedNs < MOVED_NS) staysNs_ = STAYS_NS;
    close();
    return false;
  }
  // The worker runs on another core, since `nowNs`.
  void moved(uint64_t nowNs) noexcept {
    movedNs_ = nowNs;
    staysNs_ = MOVED_NS;
  }
  void stays() noexcept { close(); }

  // Whether to yield the core right after sending `frames`, before looking for more. The receivers
  // share the core then, and no frame comes until they have run.
  [[nodiscard]] bool givesWay(size_t frames) const noexcept {
    return shared_ && frames <= FRAMES_OF_ONE && mode_ == PollMode::Adaptive && closedFor_ == 0;
  }

  // A frame came, `idleNs` after the last one, while the worker was polling or after it had
  // `slept`.
  void found(bool slept, uint64_t idleNs) noexcept {
    if (!slept) {
      vain_ = 0;
      return;
    }
    if (closedFor_ > 0) --closedFor_;
    if (closedFor_ > 0 || !mayLook_) return;
    if (windowNs_ > 0 && ++vain_ >= VAIN_MAX) {
      close();
    } else if (idleNs <= SHORT_SLEEP_NS) {
      windowNs_ = std::max(idleNs, WINDOW_NS_OPEN);
    } else {
      windowNs_ = windowNs_ / 2 < WINDOW_NS_MIN ? 0 : windowNs_ / 2;
    }
  }

  [[nodiscard]] PollMode mode() const noexcept { return mode_; }

 private:
  void close() noexcept {
    windowNs_ = 0;
    vain_ = 0;
    closedFor_ = CLOSED_FOR;
  }

  PollMode mode_;
  bool mayLook_;
  bool shared_ = false;
  uint64_t windowNs_ = 0;
  uint64_t movedNs_ = 0;
  uint64_t staysNs_ = MOVED_NS;  // after a move
  uint32_t vain_ = 0;
  uint32_t closedFor_ = 0;
};
static_assert(POLL_MODE_COUNT == 3, "lookAgain() has an answer for each mode");

}  // namespace sluice
