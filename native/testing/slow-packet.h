#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/packet/flow-key.h"

namespace sluice::testing {

// A frame read in a slow and obvious way, by code that shares nothing with native/packet. It shows
// what a receiver would read; tests compare the filter's verdicts with it.
struct SlowPacket {
  bool arp = false;
  int family = 0;
  AddressBytes source = {};  // ARP: the sender's protocol address
  AddressBytes destination = {};
  int protocol = -1;
  int hopLimit = 0;
  bool extensions = false;  // IPv6 headers between the fixed one and layer 4
  bool fragmentHeader = false;
  bool more = false;        // fragments after this one
  size_t offset = 0;        // bytes, of a fragment
  uint32_t id = 0;          // of a fragment's datagram
  size_t l4Offset = 0;      // in the frame
  size_t trailing = 0;      // bytes behind the packet
  std::vector<uint8_t> l4;  // as much of it as this frame has

  [[nodiscard]] bool fragment() const { return more || offset > 0; }
  [[nodiscard]] bool later() const { return offset > 0; }
};

// Nothing when the frame's lengths, versions or checksum are inconsistent.
[[nodiscard]] std::optional<SlowPacket> readSlowly(std::span<const uint8_t> frame);
// The same from the IP header on; a packet quoted by ICMP may be `cut` anywhere.
[[nodiscard]] std::optional<SlowPacket> readSlowIp(std::span<const uint8_t> ip, int family,
                                                   bool cut);

// The key that all packets of a connection share, seen from the sender of this one.
struct SlowFlow {
  int family = 0;
  AddressBytes source = {};
  AddressBytes destination = {};
  int protocol = 0;
  int sourcePort = 0;
  int destinationPort = 0;
  int query = -1;  // ICMP: the type that asks

  auto operator<=>(const SlowFlow&) const = default;
  [[nodiscard]] SlowFlow reverse() const;
};

enum class SlowRole {
  Opens,   // may be a connection's first
  Goes,    // only part of one: TCP that is no lone SYN, a query's answer
  Error,   // ICMP about another packet
  Single,  // ICMP that is neither
};

// The flow and role of a whole packet or a first fragment; nothing when layer 4 is cut short.
[[nodiscard]] std::optional<SlowFlow> flowOf(const SlowPacket& packet, SlowRole* role);

// Whether layer 4's own checksum fits, for a packet that is whole: TCP and UDP only.
[[nodiscard]] bool transportChecksumFits(const SlowPacket& packet);

}  // namespace sluice::testing
