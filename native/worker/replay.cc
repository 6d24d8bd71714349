#include "native/worker/replay.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "native/worker/filter.h"

namespace sluice {
namespace {

constexpr uint32_t INSIDE = 0;
constexpr uint32_t OUTSIDE = 1;
constexpr uint32_t REPLAY_CONNECTIONS_MIN = 64;
constexpr uint32_t REPLAY_CONNECTIONS_MAX = 262'144;

Status check(const Replay& replay) noexcept {
  const bool macFits = replay.podMac.empty() || replay.podMac.size() == MacAddress{}.size();
  const bool framesFit =
      std::all_of(replay.frames.begin(), replay.frames.end(), [&](const ReplayFrame& frame) {
        return frame.offset <= replay.bytes.size() &&
               frame.frameBytes <= replay.bytes.size() - frame.offset;
      });
  const bool sound = macFits && framesFit && replay.frames.size() == replay.reasons.size();
  return {sound ? StatusCode::Ok : StatusCode::Argument};
}

}  // namespace

Status judgeCapture(const Replay& replay) noexcept {
  Status status = check(replay);
  if (!status.ok()) return status;

  TableView view;
  TableBytes copy;
  status = TableBytes::copy(replay.blob, &copy);
  if (status.ok()) status = TableView::open(copy.span(), &view);
  if (!status.ok()) return status;
  if (replay.endpointId >= view.endpointCount()) return {StatusCode::Argument};
  std::vector<uint32_t> linkByEndpoint(view.endpointCount(), NONE);
  linkByEndpoint[replay.endpointId] = INSIDE;
  TableSlot slot(1);
  uint32_t generation = 0;
  status = slot.publish(replay.blob, linkByEndpoint, &generation);
  if (!status.ok()) return status;

  FilterOptions options;
  options.connectionsMax = static_cast<uint32_t>(
      std::clamp<size_t>(replay.frames.size(), REPLAY_CONNECTIONS_MIN, REPLAY_CONNECTIONS_MAX));
  std::unique_ptr<Filter> filter;
  status = Filter::create(options, &filter);
  if (!status.ok()) return status;

  LinkContext inside;
  inside.linkId = INSIDE;
  inside.endpointId = replay.endpointId;
  inside.role = LinkRole::Endpoint;
  inside.wire = true;
  inside.hasMac = !replay.podMac.empty();
  std::copy(replay.podMac.begin(), replay.podMac.end(), inside.mac.begin());
  LinkContext outside = inside;
  outside.linkId = OUTSIDE;
  outside.role = LinkRole::Uplink;
  outside.routerAdvertisements = true;

  const TableInForce& table = *slot.read(0);
  uint64_t nowUs = 0;
  for (size_t index = 0; index < replay.frames.size(); ++index) {
    const ReplayFrame& captured = replay.frames[index];
    nowUs = std::max(nowUs, captured.timeUs);
    Frame frame;
    frame.bytes = replay.bytes.data() + captured.offset;
    frame.length = captured.frameBytes;
    frame.truncated = captured.truncated != 0;
    const LinkContext& from = captured.fromOutside != 0 ? outside : inside;
    replay.reasons[index] = static_cast<uint8_t>(filter->judge(frame, from, table, nowUs).reason);
    if (index % BATCH_FRAMES_MAX == 0) {
      filter->expire(nowUs, BATCH_FRAMES_MAX);
    }
  }
  return status;
}

}  // namespace sluice
