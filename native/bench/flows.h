#pragma once

#include <cstddef>
#include <cstdint>

#include "native/packet/flow-key.h"
#include "native/packet/packet-view.h"

namespace sluice::bench {

inline constexpr uint32_t FLOWS_MAX = 20'000'000;

// A small random number generator, the same on every machine and in every compared program.
//
// Source: Marsaglia, "Xorshift RNGs", 2003.
class Random {
 public:
  [[nodiscard]] uint32_t next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32);
  }
  [[nodiscard]] uint32_t below(uint32_t limit) noexcept {
    return static_cast<uint32_t>(uint64_t{next()} * limit >> 32);
  }

 private:
  uint64_t state_ = 0x9e3779b97f4a7c15;
};

// One of FLOWS_MAX different TCP flows, from clients in 10.0.0.0/8 to one server, 100.64.0.1, as
// the client sends it.
[[nodiscard]] inline FlowKey flowKeyOf(uint32_t number) noexcept {
  const uint32_t client = number / 16;
  FlowKey key;
  key.family = 4;
  key.protocol = PROTOCOL_TCP;
  key.source = {10, static_cast<uint8_t>(client >> 16), static_cast<uint8_t>(client >> 8),
                static_cast<uint8_t>(client)};
  key.destination = {100, 64, 0, 1};
  key.sourcePort = static_cast<uint16_t>(32'768 + number % 16 * 1'021 + client % 997);
  key.destinationPort = 443;
  return key;
}

// The same flow as the server sends it.
[[nodiscard]] inline FlowKey reversed(const FlowKey& key) noexcept {
  FlowKey back = key;
  back.source = key.destination;
  back.destination = key.source;
  back.sourcePort = key.destinationPort;
  back.destinationPort = key.sourcePort;
  return back;
}

// Prefetches the list of items to find one batch ahead, as a worker prefetches frames: the speed of
// reading the list is not to be measured.
template <typename Element>
void askAhead(const Element* list, size_t size, size_t first, size_t count) noexcept {
  constexpr size_t LINE_BYTES = 64;
  const size_t end = first + 2 * count < size ? first + 2 * count : size;
  for (size_t at = first + count; at < end; at += LINE_BYTES / sizeof(Element)) {
    __builtin_prefetch(&list[at]);
  }
}

}  // namespace sluice::bench
