#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "native/bench/flows.h"
#include "native/packet/bytes.h"
#include "native/packet/frame.h"

namespace sluice::bench {

// An Ethernet, IPv4 and TCP header without a payload, in a cache line of its own: what a SYN or a
// bare acknowledgement is.
struct alignas(64) FrameSlot {
  std::array<uint8_t, 64> bytes = {};

  static constexpr uint32_t LENGTH = 54;

  void put16(size_t at, uint32_t value) noexcept {
    bytes[at] = static_cast<uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<uint8_t>(value);
  }

  void write(const FlowKey& key, uint8_t flags, uint32_t sequence,
             uint32_t acknowledgement) noexcept {
    bytes = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45};
    put16(16, LENGTH - 14);
    bytes[22] = 64;
    bytes[23] = PROTOCOL_TCP;
    std::memcpy(&bytes[26], key.source.data(), 4);
    std::memcpy(&bytes[30], key.destination.data(), 4);
    uint32_t sum = 0;
    for (size_t at = 14; at < 34; at += 2) sum += load16(&bytes[at]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(24, ~((sum & 0xffff) + (sum >> 16)));
    put16(34, key.sourcePort);
    put16(36, key.destinationPort);
    put16(38, sequence >> 16);
    put16(40, sequence);
    put16(42, acknowledgement >> 16);
    put16(44, acknowledgement);
    bytes[46] = 5 << 4;
    bytes[47] = flags;
    put16(48, 65'535);
  }

  [[nodiscard]] Frame frame() noexcept {
    Frame frame;
    frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
    frame.length = LENGTH;
    return frame;
  }
};

}  // namespace sluice::bench
