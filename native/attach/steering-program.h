#pragma once

#include <cstdint>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"
#include "native/packet/steering.h"

struct sock_filter;

namespace sluice {

// The sum of Steering::workerOf for the kernel. It uses the addresses alone, so it may differ for
// ICMP errors. The kernel takes the program's result modulo the number of workers.

// In classic BPF, for packet sockets: needs no privilege of its own.
[[nodiscard]] std::vector<sock_filter> steeringFilter(const Steering& steering);

// Loaded as eBPF, for TAP queues. Errors: System, in a user namespace for example.
Status loadSteeringProgram(const Steering& steering, Descriptor* program) noexcept;

}  // namespace sluice
