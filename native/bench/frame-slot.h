#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "native/bench/flows.h"
#include "native/packet/bytes.h"
#include "native/packet/frame.h"

namespace sluice::bench {

// An Ethernet and an IPv4 header and what follows, in a cache line of its own.
struct alignas(64) FrameSlot {
  std::array<uint8_t, 64> bytes = {};

  // A frame with a TCP header and no payload: a SYN or a bare acknowledgement.
  static constexpr uint32_t LENGTH = 54;
  static constexpr uint32_t PAYLOAD_MAX = 64 - LENGTH;

  void put16(size_t at, uint32_t value) noexcept {
    bytes[at] = static_cast<uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<uint8_t>(value);
  }
  void put32(size_t at, uint32_t value) noexcept {
    put16(at, value >> 16);
    put16(at + 2, value);
  }

  // Shape: `length` of the whole frame.
  void writeIp(const FlowKey& key, uint32_t length) noexcept {
    bytes = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45};
    put16(16, length - 14);
    bytes[22] = 64;
    bytes[23] = key.protocol;
    std::memcpy(&bytes[26], key.source.data(), 4);
    std::memcpy(&bytes[30], key.destination.data(), 4);
    uint32_t sum = 0;
    for (size_t at = 14; at < 34; at += 2) sum += load16(&bytes[at]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(24, ~((sum & 0xffff) + (sum >> 16)));
  }

  // Shape: `payload` bytes, PAYLOAD_MAX at most.
  void write(const FlowKey& key, uint8_t flags, uint32_t sequence, uint32_t acknowledgement,
             uint32_t payload = 0) noexcept {
    writeIp(key, LENGTH + payload);
    put16(34, key.sourcePort);
    put16(36, key.destinationPort);
    put32(38, sequence);
    put32(42, acknowledgement);
    bytes[46] = 5 << 4;
    bytes[47] = flags;
    put16(48, 65'535);
  }

  // With a UDP header and a payload, as long as it may be here.
  void writeUdp(const FlowKey& key) noexcept {
    writeIp(key, 64);
    put16(34, key.sourcePort);
    put16(36, key.destinationPort);
    put16(38, 64 - 34);
  }

  // An ICMP echo request, or the answer to one.
  void writeEcho(const FlowKey& key, bool reply, uint16_t identifier) noexcept {
    writeIp(key, 64);
    bytes[34] = reply ? 0 : 8;
    put16(38, identifier);
  }

  [[nodiscard]] Frame frame(uint32_t length = LENGTH) noexcept {
    Frame frame;
    frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
    frame.length = length;
    return frame;
  }
};

}  // namespace sluice::bench
