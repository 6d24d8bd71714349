#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"
#include "native/worker/filter.h"

namespace sluice {

struct CaptureJudgeOptions {
  std::span<const std::byte> blob;
  // The pod behind the inside of a wire that lets router advertisements pass. NONE: the interface
  // is watched (LinkRole::Watched), and connections may be picked up midway.
  uint32_t endpointId = NONE;
  std::span<const uint8_t> podMac;  // six bytes; empty when unknown
  uint32_t connectionsMax = CONNECTIONS_DEFAULT_MIN;
  std::array<uint64_t, 2> hashSecret = {};  // random for live traffic
};

// Judges captured frames in batches. The filter keeps its state between batches.
//
// The frames' timestamps are the filter's clock. When they go back, the clock stands still.
//
// Threads: one.
// Cost:    memory for connections and fragments, allocated once; more frames need no more.
class CaptureJudge {
 public:
  // Errors: what TableSlot::publish returns; Argument for an endpoint that is not in the table, or
  //         for a MAC that is not six bytes.
  static Status create(const CaptureJudgeOptions& options,
                       std::unique_ptr<CaptureJudge>* judge) noexcept;

  // Finds the frames that the pod sent: those whose source is its MAC or one of its addresses. When
  // the MAC is not known, it is taken from the first frame with such a source address.
  //
  // Shape:  sets `fromOutside` of each frame; `bytes` holds all frames and is not written to.
  // Errors: Argument when a frame lies outside `bytes`.
  Status findSides(std::span<std::byte> bytes, std::span<CapturedFrame> frames) const noexcept;

  // Judges the frames that follow those of the previous call.
  //
  // Shape:  `judged` has as many elements as `frames`. A truncated frame is dropped on a wire. On a
  //         watched interface it is judged by its headers, as if zeros followed.
  // Errors: Argument when a frame lies outside `bytes`, or the spans differ in size.
  Status judge(std::span<std::byte> bytes, std::span<const CapturedFrame> frames,
               std::span<JudgedFrame> judged) noexcept;

 private:
  CaptureJudge(std::unique_ptr<Filter> filter, LinkContext inside, LinkContext outside) noexcept
      : filter_(std::move(filter)), inside_(inside), outside_(outside) {}

  [[nodiscard]] bool isWatching() const noexcept { return inside_.role == LinkRole::Watched; }
  [[nodiscard]] Frame frameOf(std::span<std::byte> bytes, const CapturedFrame& captured) noexcept;
  void judgeFrame(const Frame& frame, const LinkContext& from, JudgedFrame& judged) noexcept;
  void tellConnection(const PacketView& view, JudgedFrame& judged) noexcept;

  TableSlot slot_{1};
  const TableInForce* table_ = nullptr;
  std::unique_ptr<Filter> filter_;
  LinkContext inside_;
  LinkContext outside_;
  uint64_t nowUs_ = 0;
  size_t frames_ = 0;
  std::array<std::byte, FRAME_BYTES_MAX> scratch_ = {};
};

}  // namespace sluice
