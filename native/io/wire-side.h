#pragma once

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
};

}  // namespace sluice
