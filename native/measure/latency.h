#pragma once

#include <cstdint>
#include <vector>

#include "native/netlink/host-address.h"
#include "native/packet/status.h"

namespace sluice {

struct LatencyRequest {
  int clientNamespace = -1;
  HostAddress client;
  int serverNamespace = -1;
  HostAddress server;
  uint16_t port = 0;
  uint32_t count = 0;
};

// Times UDP round trips between two sockets, each with a thread that sleeps in recv().
//
// Units:  nanoseconds, in order; first come a tenth as many round trips that are not timed.
// Cost:   blocks for `count` round trips.
// Errors: System; ETIMEDOUT when a reply takes longer than a second.
Status measureLatency(const LatencyRequest& request, std::vector<double>* samples) noexcept;

}  // namespace sluice
