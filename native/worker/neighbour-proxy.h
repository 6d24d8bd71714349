#pragma once

#include <cstdint>
#include <span>

#include "native/packet/bytes.h"
#include "native/packet/flow-key.h"
#include "native/packet/frame.h"

namespace sluice {

// The questions of ARP and neighbour discovery that the gateway of a switch answers: an endpoint
// reaches every address by the gateway's MAC.
//
// Source: RFC 826, RFC 4861 sections 4.3 and 4.4, RFC 4389.

inline constexpr uint32_t NEIGHBOUR_REPLY_BYTES_MAX = 86;

// Who is asked for. An ARP probe and duplicate address detection ask whether an address is free:
// they come without a sender's address and are no question here.
struct NeighbourQuestion {
  AddressBytes target = {};
  uint8_t family = 0;
};

// Reads the question out of a frame that the filter has let pass; false when it is none.
[[nodiscard]] bool readNeighbourQuestion(const Frame& frame, NeighbourQuestion* question) noexcept;

// Writes the answer "it is at `mac`" to a frame whose question has been read.
//
// Shape: `into` has NEIGHBOUR_REPLY_BYTES_MAX bytes, and is what `answer` points to.
void writeNeighbourAnswer(const Frame& asked, const NeighbourQuestion& question,
                          const MacAddress& mac, std::span<std::byte> into, Frame* answer) noexcept;

}  // namespace sluice
