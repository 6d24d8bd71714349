#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// A capture to be judged as if it came in now, on one wire that lets router advertisements pass.
struct Replay {
  std::span<const std::byte> blob;
  uint32_t endpointId = NONE;       // the pod, which is behind the wire's inside
  std::span<const uint8_t> podMac;  // six bytes, or none when it is not known
  std::span<std::byte> bytes;       // all frames; nothing is written
  std::span<const ReplayFrame> frames;
  std::span<uint8_t> reasons;  // gets a DropReason a frame; as many as `frames`
};

// Sends every frame through a filter that knows nothing yet. The capture's clock is the filter's;
// where it goes back, time stands still.
//
// Cost:   memory for as many connections as there are frames, 262,144 at most.
// Errors: what TableSlot::publish returns; Argument when a frame lies outside `bytes`, or the MAC
//         is not six bytes.
Status judgeCapture(const Replay& replay) noexcept;

}  // namespace sluice
