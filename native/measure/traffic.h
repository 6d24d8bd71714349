#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/netlink/rtnetlink.h"
#include "native/packet/status.h"

namespace sluice {

enum class TrafficKind : uint8_t {
  RoundTrips,   // UDP, one datagram at a time, there and back
  Packets,      // UDP datagrams one way, as many as go
  Stream,       // TCP bytes one way, as many as go
  Connections,  // TCP: connect, request, reply, close; one after the other
};

inline constexpr int ANY_CPU = -1;

// Traffic between two sockets of real namespaces.
struct TrafficRequest {
  TrafficKind kind = TrafficKind::RoundTrips;
  int clientNamespace = -1;
  HostAddress client;
  int serverNamespace = -1;
  HostAddress server;
  uint16_t port = 0;
  int clientCpu = ANY_CPU;
  int serverCpu = ANY_CPU;
  uint32_t streams = 1;  // of Stream; each has a thread at both ends
  uint32_t payloadBytes = 18;
  uint32_t flows = 1;  // of Packets: connections that they take turns to belong to
  uint32_t warmupMs = 0;
  uint32_t durationMs = 0;
};

struct TrafficResult {
  double seconds = 0;      // that the counts below are about
  double sent = 0;         // what the client handed to its kernel: datagrams, bytes or connections
  double received = 0;     // what reached the other program: the same, or answers
  double busySeconds = 0;  // of all CPUs together, in that time
  std::vector<float> roundTripsNs;  // of RoundTrips, in the order they were made
};

// Sends traffic of one kind for `warmupMs` and then for `durationMs`, and counts the latter.
//
// Cost:    blocks for both times and up to a second; two threads a stream.
// Threads: clients and servers run in threads of their own, on the CPUs that are named.
// Errors:  System; ETIMEDOUT when nothing arrives in the measured time.
Status measureTraffic(const TrafficRequest& request, TrafficResult* result) noexcept;

// Binds a thread of any process to CPUs; no CPUs are all of them. Errors: System.
Status pinThread(int threadId, std::span<const uint32_t> cpus) noexcept;

}  // namespace sluice
