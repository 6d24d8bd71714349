#include "native/attach/forward-queue.h"

#include <new>
#include <utility>

#include "native/attach/forward-match.h"
#include "native/bpf/program.h"

namespace sluice {
namespace {

constexpr uint32_t PACKET_BYTES = 1'024;  // of each packet: its headers, and what an error is about
constexpr uint32_t QUEUE_PACKETS_MAX = 4'096;

}  // namespace

Status ForwardQueue::open(std::span<const Descriptor> roots,
                          std::unique_ptr<ForwardQueue>* queue) noexcept {
  std::unique_ptr<ForwardQueue> made(new (std::nothrow) ForwardQueue(roots));
  if (made == nullptr) return {StatusCode::Limit};
  NfQueues::Options options;
  options.first = QUEUE_FIRST;
  options.count = MATCH_ROLES;
  options.packetBytes = PACKET_BYTES;
  options.packetsMax = QUEUE_PACKETS_MAX;
  const ForwardQueue* const self = made.get();
  const auto judge = [self](size_t role, std::span<const uint8_t> packet, uint32_t bytes) {
    return self->passes(role, packet, bytes);
  };
  const Status status = NfQueues::open(options, judge, &made->queues_);
  if (status.ok()) *queue = std::move(made);
  return status;
}

bool ForwardQueue::passes(size_t role, std::span<const uint8_t> packet,
                          uint32_t bytes) const noexcept {
  if (role >= MATCH_ROLES || packet.empty()) return false;
  const size_t family = packet[0] >> 4 == 6 ? 1 : 0;
  constexpr uint32_t ACCEPT = 1;
  uint32_t result = 0;
  const Status status = runSocketFilter(roots_[family * MATCH_ROLES + role].get(),
                                        std::as_bytes(packet), {&bytes, 1}, &result);
  return status.ok() && result == ACCEPT;
}

}  // namespace sluice
