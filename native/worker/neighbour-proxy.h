#pragma once

#include <cstdint>
#include <span>

#include "native/packet/bytes.h"
#include "native/packet/flow-key.h"
#include "native/packet/frame.h"

namespace sluice {

// ARP and neighbour discovery requests that the gateway of a switch answers: an endpoint reaches
// every address through the gateway's MAC.
//
// Source: RFC 826, RFC 4861 sections 4.3 and 4.4, RFC 4389.

inline constexpr uint32_t NEIGHBOUR_REPLY_BYTES_MAX = 86;

// The address that is asked for. ARP probes and duplicate address detection are not questions here:
// they carry no sender address and only ask whether an address is free.
struct NeighbourQuestion {
  AddressBytes target = {};
  uint8_t family = 0;
};

// Reads the question from a frame that the filter has passed; false when the frame asks none.
[[nodiscard]] bool readNeighbourQuestion(const Frame& frame, NeighbourQuestion* question) noexcept;

// Writes the answer "it is at `mac`" to a frame whose question has been read.
//
// Shape: `into` has NEIGHBOUR_REPLY_BYTES_MAX bytes, and is what `answer` points to.
void writeNeighbourAnswer(const Frame& asked, const NeighbourQuestion& question,
                          const MacAddress& mac, std::span<std::byte> into, Frame* answer) noexcept;

}  // namespace sluice
