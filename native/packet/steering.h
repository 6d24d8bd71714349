#pragma once

#include <cstdint>

#include "native/packet/flow-key.h"
#include "native/packet/frame.h"

namespace sluice {

// Assigns frames to workers, so that each connection belongs to one worker.
//
// The worker follows from the pair of addresses, whichever is the source. So both directions of a
// connection, all its fragments and all connections between two hosts go to one worker. An ICMP
// error goes to the worker of the packet that it quotes. ARP, neighbour discovery and multicast
// listener messages go to the first worker: an answer has another pair of addresses than its
// question, and their rate is counted for each link. Other frames without an IP header stay with
// the worker that received them.
//
// The kernel distributes frames by the same sum (native/attach/steering-program.h). A worker that
// still gets another worker's frame hands it over.
//
// Threads: any; it is a value.
struct Steering {
  uint32_t workers = 1;
  uint32_t multiplier = 1;  // odd and random: a remote host chooses its addresses

  // The worker of `frame`; `own`, the calling worker, when any worker would do.
  //
  // Cost: a few loads; ICMP and IPv6 extension headers are parsed once more.
  [[nodiscard]] uint32_t workerOf(const Frame& frame, uint32_t own) const noexcept;

  // The worker of a connection, by its first packet.
  [[nodiscard]] uint32_t workerOfKey(const FlowKey& key) const noexcept;

  // The worker for the exclusive or of all words (host order) of both addresses.
  [[nodiscard]] uint32_t workerOfPair(uint32_t folded) const noexcept {
    return (folded * multiplier >> STEERING_SHIFT) % workers;
  }

  // The low bits of a product are a function of the factors' low bits alone.
  static constexpr uint32_t STEERING_SHIFT = 16;
};

}  // namespace sluice
