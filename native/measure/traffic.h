#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/layout/layout.gen.h"
#include "native/netlink/host-address.h"
#include "native/packet/status.h"

namespace sluice {

struct TrafficResult {
  double seconds = 0;      // the time that the counts below cover
  double sent = 0;         // what the client handed to its kernel: datagrams, bytes or connections
  double received = 0;     // what reached the other program: the same units, or replies
  double busySeconds = 0;  // CPU time of all CPUs together, in that time
  double endsSeconds =
      0;  // of the threads at both ends alone, with the kernel's work in their name
  std::vector<float> roundTripsNs;  // of RoundTrips, in the order they were made
};

// Sends traffic of one kind for `warmupMs`, then for `durationMs`, and counts only the second part.
// `target` is what the client calls the server; null: its own address. Connections have as many
// clients and servers as `streams`.
//
// Cost:    blocks for both times and up to a second more; uses two threads for each stream.
// Threads: clients and servers run in threads of their own, on the CPUs that are named.
// Errors:  System; ETIMEDOUT when nothing arrives in the measured time.
Status measureTraffic(const TrafficRequest& request, const HostAddress* target,
                      TrafficResult* result) noexcept;

// Binds a thread of any process to CPUs; an empty list means all CPUs. Errors: System.
Status pinThread(int threadId, std::span<const uint32_t> cpus) noexcept;

}  // namespace sluice
