#pragma once

#include <cstdint>

#include "native/packet/flow-key.h"
#include "native/packet/frame.h"

namespace sluice {

// Says which of several workers a frame belongs to, so that each connection has one.
//
// What counts is the pair of addresses, whichever is the source: both directions of a connection,
// all its fragments and all connections between two hosts meet one worker. An ICMP error goes where
// the packet that it quotes belongs. ARP, neighbour discovery and multicast listener messages are
// the first worker's: an answer has another pair of addresses than what it answers, and how many
// pass is counted for each link. Other frames without an IP header stay where they came in.
//
// The kernel is asked to hand each worker its own frames by the same sum
// (native/attach/steering-program.h); a frame that comes to another all the same is handed over.
//
// Threads: any; it is a value.
struct Steering {
  uint32_t workers = 1;
  uint32_t multiplier = 1;  // odd and random: a remote host chooses its addresses

  // The worker of `frame`; `own`, who asks, when any would do.
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
