#pragma once

#include <array>
#include <cstdint>

namespace sluice {

// An address of either family. IPv4 stands in the first four bytes, the others are zero.
using AddressBytes = std::array<uint8_t, 16>;

// The key of a flow, in the direction of the packet.
//
// Units: ports are in host order; for ICMP and ICMPv6 echo both hold the identifier.
struct FlowKey {
  AddressBytes source = {};
  AddressBytes destination = {};
  uint16_t sourcePort = 0;
  uint16_t destinationPort = 0;
  uint8_t protocol = 0;
  uint8_t family = 0;  // 4 or 6

  bool operator==(const FlowKey&) const = default;
};

}  // namespace sluice
