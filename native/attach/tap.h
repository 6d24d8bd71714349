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
  uint32_t index = 0;        // for a new interface; 0, or an index in use: any
  bool growable = false;     // later calls of addTapQueue() may add queues
  uint32_t queueFrames = 0;  // that may wait in each queue; 0: as the kernel has it
};

// Opens what TAPs are made of; without a TAP it does nothing. Errors: System, with the fault
// TunDevice.
Status openTunDevice(Descriptor* tun) noexcept;

// Makes a TAP interface, which is down, in a namespace, with a queue for each worker. It ends with
// the last of `*queues`. A lasting one stays, without a carrier, with its addresses and routes; a
// later call with its name opens it as it is. EINVAL when one has a single queue and the other
// several.
//
// Shape:  frames have an Offload header before them, both ways; reads do not wait. The kernel may
//         hand over superframes and partial checksums. If we may not load programs, the kernel
//         chooses the queues, and not always the queue of a frame's worker. Others may add queues
//         to a new one only with CAP_NET_ADMIN.
// Errors: System; the fault TunDevice when /dev/net/tun cannot be opened.
Status openTap(int namespaceFd, const TapOptions& options, const Steering& steering,
               std::vector<Descriptor>* queues) noexcept;

// Adds a queue to a TAP of this process's own namespace. Errors: as openTap().
Status addTapQueue(const std::string& name, Descriptor* queue) noexcept;

// Makes the kernel choose a TAP's queues by `steering`, if we may load programs. `tap` is the first
// of as many queues as there are workers. Errors: System.
Status steerTapQueues(int tap, const Steering& steering) noexcept;

}  // namespace sluice
