#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/bytes.h"
#include "native/packet/status.h"
#include "native/packet/steering.h"

namespace sluice {

struct TapOptions {
  std::string name;
  MacAddress mac = {};
  uint32_t mtu = 1500;
  bool lasting = false;
  uint32_t index = 0;  // that a new interface asks for; any when 0, or when it is taken
};

// Makes a TAP interface, down, in a namespace, with a queue for each worker. It goes with the last
// of `*queues`; a lasting one stays, without a carrier and with all that was put on it, and a later
// call with its name gets it as it is then: EINVAL when that has one queue and this wants many, or
// the other way round.
//
// Shape:  frames have an Offload header before them, both ways; reads do not wait. The kernel may
//         hand over superframes and partial checksums. Where we may load no program the kernel
//         chooses queues by itself, not always the worker's own.
// Errors: System; TunDevice as the fault when /dev/net/tun cannot be had.
Status openTap(int namespaceFd, const TapOptions& options, const Steering& steering,
               std::vector<Descriptor>* queues) noexcept;

// Has the kernel choose a TAP's queues by `steering`, where we may load programs. `tap` is the
// first of as many queues as there are workers. Errors: System.
Status steerTapQueues(int tap, const Steering& steering) noexcept;

}  // namespace sluice
