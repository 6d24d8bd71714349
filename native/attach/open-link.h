#pragma once

#include <cstdint>
#include <string>

#include "native/attach/opened-link.h"
#include "native/attach/tap.h"
#include "native/attach/xdp-program.h"
#include "native/packet/status.h"

namespace sluice {

// An existing interface to take.
struct InterfacePlace {
  int namespaceFd = -1;  // -1: this process's own
  std::string interface;
  bool lasting = false;  // see StackGuard::hold()
};

// Makes a TAP, or takes one that was left. Errors: what openTap() returns.
Status openTapLink(int namespaceFd, const TapOptions& options, const LinkWorkers& workers,
                   OpenedLink* opened);

// Takes an interface by AF_PACKET, with a socket for each worker: the kernel spreads the frames.
// `slots`: see PacketLinkOptions.
//
// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status openPacketLink(const InterfacePlace& place, uint32_t slots, const LinkWorkers& workers,
                      OpenedLink* opened);

// Takes an interface by AF_XDP. Worker w gets the queues w, w + workers, …; one that gets none
// sends by a packet socket, and is handed what belongs to it by the others.
//
// Errors: what XdpProgram and XdpLink return; "SIOCGIFINDEX" with ENODEV as above.
Status openXdpLink(const InterfacePlace& place, XdpProgram::Mode mode, const LinkWorkers& workers,
                   OpenedLink* opened);

}  // namespace sluice
