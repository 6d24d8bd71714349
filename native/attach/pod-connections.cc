#include "native/attach/pod-connections.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace sluice {
namespace {

constexpr uint8_t IP_TCP = 6;

uint64_t timeOfDayUs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000;
}

FlowEvent endOf(const KernelConnection& ended, const ForwardFilter::Standing& standing,
                uint64_t nowUs) noexcept {
  FlowEvent event = {};
  event.timeUs = nowUs;
  std::memcpy(event.source, ended.key.source.data(), sizeof event.source);
  std::memcpy(event.destination, ended.key.destination.data(), sizeof event.destination);
  event.sourcePort = ended.key.sourcePort;
  event.destinationPort = ended.key.destinationPort;
  event.protocol = ended.key.protocol;
  event.family = ended.key.family;
  event.kind = static_cast<uint8_t>(FlowEventKind::Closed);
  event.generation = standing.generation;
  event.linkId = std::numeric_limits<uint16_t>::max();
  event.deniedBy = standing.audited;
  event.totalPackets = ended.packets;
  event.totalBytes = ended.bytes;
  return event;
}

// The kernel numbers TCP's states as ConnState does.
uint8_t stateOf(const KernelConnection& connection) noexcept {
  static_assert(static_cast<int>(ConnState::SynSent) == 1);
  static_assert(static_cast<int>(ConnState::SynSent2) == 9);
  if (connection.key.protocol == IP_TCP) {
    return std::min(connection.tcpState, static_cast<uint8_t>(ConnState::SynSent2));
  }
  return static_cast<uint8_t>(connection.isAnswered ? ConnState::Replied : ConnState::Unreplied);
}

ConnectionRecord recordOf(const KernelConnection& connection,
                          const ForwardFilter::Standing& standing) noexcept {
  ConnectionRecord record = {};
  const FlowKey& key = connection.key;
  std::memcpy(record.source, key.source.data(), sizeof record.source);
  std::memcpy(record.destination, key.destination.data(), sizeof record.destination);
  record.totalPackets = connection.packets;
  record.totalBytes = connection.bytes;
  constexpr uint32_t SECONDS_MAX = std::numeric_limits<uint32_t>::max() / 1'000;
  record.expiresInMs = std::min(connection.expiresInSeconds, SECONDS_MAX) * 1'000;
  record.generation = standing.generation;
  record.sourcePort = key.sourcePort;
  record.destinationPort = key.destinationPort;
  record.protocol = key.protocol;
  record.family = key.family;
  record.state = stateOf(connection);
  record.assured = connection.isAssured ? 1 : 0;
  record.auditedBy = standing.audited;
  return record;
}

}  // namespace

Status PodConnectionEnds::drain(std::span<FlowEvent> into, size_t* count) noexcept {
  *count = 0;
  if (next_ == ended_.size()) {
    ended_.clear();
    next_ = 0;
    if (const Status status = ends_.read(&ended_); !status.ok()) return status;
  }
  const uint64_t nowUs = timeOfDayUs();
  for (; next_ < ended_.size() && *count < into.size(); ++next_) {
    ForwardFilter::Standing standing;
    if (!filter_->findStanding(ended_[next_].key, &standing)) continue;
    into[(*count)++] = endOf(ended_[next_], standing, nowUs);
  }
  return {};
}

Status PodConnectionList::read(std::vector<ConnectionRecord>* records, bool* isEnd) noexcept {
  std::vector<KernelConnection> listed;
  if (const Status status = list_.read(&listed); !status.ok()) return status;
  *isEnd = listed.empty();
  for (const KernelConnection& connection : listed) {
    ForwardFilter::Standing standing;
    if (filter_->findStanding(connection.key, &standing)) {
      records->push_back(recordOf(connection, standing));
    }
  }
  return {};
}

}  // namespace sluice
