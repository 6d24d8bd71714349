#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "native/packet/bytes.h"
#include "native/packet/status.h"

namespace sluice {

// What the other side of a wire is, for the program at this one.
struct WirePartner {
  uint32_t interfaceIndex = 0;  // 0: it has no program, so nothing passes to it in the kernel
  bool isOutside = false;       // this side leads to the network
  uint8_t zone = 0;
  std::optional<MacAddress> mac;  // of the pod behind the wire
};

// What has happened at a side of a wire in the kernel, since it was opened.
struct KernelCounts {
  uint64_t passedFrames = 0;  // to the other side
  uint64_t passedBytes = 0;
  uint64_t lostFrames = 0;  // that should have come up, and could not
};

// An interface whose frames a program takes first: it passes those of admitted connections and
// sends the others up.
//
// Threads: the control thread; the constant calls: any, one at a time.
class WireSide {
 public:
  virtual ~WireSide() = default;
  // Takes frames from now on, or goes on with another partner. Errors: System.
  virtual Status join(const WirePartner& partner) noexcept = 0;
  [[nodiscard]] virtual KernelCounts counts() const noexcept = 0;
  // See Link.
  [[nodiscard]] virtual uint32_t interfaceIndex() const noexcept = 0;

  // Frames that came up before this process's program was in place wait in the TAP's queues, and
  // nobody has counted them. Each beginning has a number. The workers find each queue empty once.
  //
  // Threads: the workers; addQueue() and removeQueue(): the control thread, while they pause.
  void addQueue() noexcept { ++queues_; }
  void removeQueue(bool wasFoundEmpty) noexcept {
    --queues_;
    if (!wasFoundEmpty) foundEmpty();
  }
  [[nodiscard]] uint32_t beginning() const noexcept {
    return beginning_.load(std::memory_order_relaxed);
  }
  void foundEmpty() noexcept { notEmptied_.fetch_sub(1, std::memory_order_release); }
  [[nodiscard]] bool areEmptied() const noexcept {
    return notEmptied_.load(std::memory_order_acquire) == 0;
  }

 protected:
  void beginAnew() noexcept {
    notEmptied_.store(queues_, std::memory_order_relaxed);
    beginning_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  uint32_t queues_ = 0;
  std::atomic<uint32_t> notEmptied_ = 0;
  std::atomic<uint32_t> beginning_ = 0;
};

}  // namespace sluice
