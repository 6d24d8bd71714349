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
  // The pod behind the inside of a wire that lets router advertisements pass; NONE: an interface is
  // watched (LinkRole::Watched), and connections are joined midway.
  uint32_t endpointId = NONE;
  std::span<const uint8_t> podMac;  // six bytes, or none when it is not known
  uint32_t connectionsMax = CONNECTIONS_DEFAULT_MIN;
  std::array<uint64_t, 2> hashSecret = {};  // of what is seen live: random
};

// Judges captured frames, in batches, by a filter that it keeps between them.
//
// The frames' clock is the filter's; where it goes back, time stands still.
//
// Threads: one.
// Cost:    memory for its connections and fragments; no more, however many frames come.
class CaptureJudge {
 public:
  // Errors: what TableSlot::publish returns; Argument for an endpoint that is not in the table, or
  // a
  //         MAC that is not six bytes.
  static Status create(const CaptureJudgeOptions& options,
                       std::unique_ptr<CaptureJudge>* judge) noexcept;

  // Says which frames the pod sent: those with its MAC or one of its addresses as their source. A
  // MAC that is not known is that of the first frame with such an address.
  //
  // Shape:  sets `fromOutside` of each; `bytes` holds all frames, and is not written.
  // Errors: Argument when a frame lies outside `bytes`.
  Status findSides(std::span<std::byte> bytes, std::span<CapturedFrame> frames) const noexcept;

  // Judges frames, which follow those of the call before.
  //
  // Shape:  `judged` has as many as `frames`. The end of a frame that is truncated is not known: on
  // a
  //         wire it is dropped; watched, it is judged by its headers, as if zeros followed.
  // Errors: Argument when a frame lies outside `bytes`, or the spans do not fit each other.
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
