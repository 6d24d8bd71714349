#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "native/packet/flow-key.h"
#include "native/packet/packet-view.h"

namespace sluice {

// The one way on which connections of this process may pass a wire that it filters itself: TCP from
// an address of its own to one port of one server. Family 0: there is none.
struct OwnWay {
  AddressBytes local = {};
  AddressBytes remote = {};
  uint16_t remotePort = 0;
  uint8_t family = 0;  // 4 or 6
};

// Which connections of that way are this process's: by their local ports, each held by a socket
// that shares it with no other. Whoever adds a port holds it until after it is removed.
//
// Threads: set() while no worker runs; add() and remove() on the control thread; has() on any.
class OwnConnections {
 public:
  static constexpr size_t PORTS_MAX = 64;

  void set(const OwnWay& way) noexcept { way_ = way; }

  // False when there are PORTS_MAX already.
  bool add(uint16_t port) noexcept { return exchange(0, port); }
  // From the next frame on, whoever sends from that port is judged as anybody.
  void remove(uint16_t port) noexcept { exchange(port, 0); }

  [[nodiscard]] bool has(const FlowKey& key) const noexcept {
    if (way_.family != key.family || key.protocol != PROTOCOL_TCP) return false;
    const bool goes = key.source == way_.local && key.destination == way_.remote &&
                      key.destinationPort == way_.remotePort;
    const bool comes = key.source == way_.remote && key.destination == way_.local &&
                       key.sourcePort == way_.remotePort;
    return (goes && holds(key.sourcePort)) || (comes && holds(key.destinationPort));
  }

 private:
  [[nodiscard]] bool holds(uint16_t port) const noexcept {
    if (port == 0) return false;
    for (const auto& each : ports_) {
      if (each.load(std::memory_order_relaxed) == port) return true;
    }
    return false;
  }

  bool exchange(uint16_t from, uint16_t to) noexcept {
    for (auto& each : ports_) {
      if (each.load(std::memory_order_relaxed) != from) continue;
      each.store(to, std::memory_order_seq_cst);
      return true;
    }
    return false;
  }

  OwnWay way_;
  std::array<std::atomic<uint16_t>, PORTS_MAX> ports_ = {};
};

}  // namespace sluice
