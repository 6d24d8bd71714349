#pragma once

#include <cstddef>
#include <cstdint>

#include "native/layout/layout.gen.h"

namespace sluice {

// Decides whether a worker that found no frame looks again or sleeps.
//
// Waking a thread that sleeps on another core of a virtual machine takes 50 to 100 µs, so looking
// on for as long costs no more than being woken, where frames do come soon. The window for it opens
// when a sleep turned out to be short, halves after a long one, and closes when looking on was in
// vain several times in a row. Between two looks others get the core. When somebody keeps it, the
// worker had better go to another core: a sender that never sleeps then has its own, and the
// worker shares one with the receiver, who sleeps in between. When that was of no use, looking on
// only delays the worker, and the window closes too.
//
// Units: nanoseconds, any origin. Threads: the worker's.
class WaitPolicy {
 public:
  static constexpr uint64_t WINDOW_NS_MAX = 50'000;
  static constexpr uint64_t WINDOW_NS_MIN = 5'000;
  // A sleep up to this long, the wake-up included, might have been spared by looking on.
  static constexpr uint64_t SHORT_SLEEP_NS = 150'000;
  // Somebody who keeps the core this long does more than answer a frame.
  static constexpr uint64_t KEPT_NS = 200'000;
  // Going to another core was of no use when somebody keeps that one too, this soon.
  static constexpr uint64_t MOVED_NS = 10'000'000;
  // Nobody else wanted the core when giving it away took less than this.
  static constexpr uint64_t SHARED_NS = 1'500;
  static constexpr size_t FRAMES_OF_ONE = 2;  // an exchange of single frames, no stream
  static constexpr uint32_t LOOKS_MIN = 4;    // cheap, and enough where all share one core
  static constexpr uint32_t VAIN_MAX = 8;     // windows in a row
  static constexpr uint32_t CLOSED_FOR = 64;  // sleeps

  // `mayLook` is false where no core is left for whoever sends the frames.
  explicit WaitPolicy(PollMode mode = PollMode::Adaptive, bool mayLook = true) noexcept
      : mode_(mode), mayLook_(mayLook) {}

  // Whether to look once more, after `looks` in vain since `idleNs` ago.
  [[nodiscard]] bool lookAgain(uint32_t looks, uint64_t idleNs) const noexcept {
    if (mode_ != PollMode::Adaptive) return mode_ == PollMode::Spin;
    return closedFor_ == 0 && (looks < LOOKS_MIN || idleNs < windowNs_);
  }

  // Others had the core for this long between two looks, until `nowNs`. True when it is better to
  // go to another core; stays() tells when there is none.
  [[nodiscard]] bool yielded(uint64_t tookNs, uint64_t nowNs) noexcept {
    shared_ = tookNs >= SHARED_NS;
    if (tookNs < KEPT_NS) return false;
    if (mayLook_ && mode_ == PollMode::Adaptive && nowNs - movedNs_ >= MOVED_NS) {
      movedNs_ = nowNs;
      return true;
    }
    close();
    return false;
  }
  void stays() noexcept { close(); }

  // Whether to let others have the core right after `frames` were handed on, before looking for
  // more: those whom the frames were for run on it too, and nothing comes until they have.
  [[nodiscard]] bool givesWay(size_t frames) const noexcept {
    return shared_ && frames <= FRAMES_OF_ONE && mode_ == PollMode::Adaptive && closedFor_ == 0;
  }

  // A frame came while the worker was looking, or after it had slept; `idleNs` after the last one.
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
      windowNs_ = WINDOW_NS_MAX;
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
  uint32_t vain_ = 0;
  uint32_t closedFor_ = 0;
};
static_assert(POLL_MODE_COUNT == 3, "lookAgain() has an answer for each mode");

}  // namespace sluice
