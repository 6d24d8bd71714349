#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "native/attach/kernel-path.h"
#include "native/attach/opened-link.h"
#include "native/attach/tap.h"
#include "native/attach/xdp-program.h"
#include "native/packet/status.h"

namespace sluice {

// An existing interface to open.
struct InterfacePlace {
  int namespaceFd = -1;  // -1: this process's own
  std::string interface;
  bool lasting = false;  // see StackGuard::hold()
};

// Makes a TAP, or opens a lasting one that exists. Errors: what openTap() returns.
Status openTapLink(int namespaceFd, const TapOptions& options, const LinkWorkers& workers,
                   OpenedLink* opened);

// Opens an interface by AF_PACKET, with a socket for each worker; the kernel distributes the
// frames. `slots`: see PacketLinkOptions.
//
// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status openPacketLink(const InterfacePlace& place, uint32_t slots, const LinkWorkers& workers,
                      OpenedLink* opened);

// Opens an interface by AF_XDP. Worker w gets the queues w, w + workers, …; a worker without a
// queue sends by a packet socket, and the others hand its frames over to it.
//
// Errors: what XdpProgram and XdpLink return; "SIOCGIFINDEX" with ENODEV as above.
Status openXdpLink(const InterfacePlace& place, XdpProgram::Mode mode, const LinkWorkers& workers,
                   OpenedLink* opened);

// Opens an interface by the programs of a KernelPath. Worker w gets queue w of the side's TAP.
//
// Errors: what openTap() and KernelSide::open() return; "SIOCGIFINDEX" with ENODEV as above.
Status openKernelLink(const InterfacePlace& place, const std::shared_ptr<KernelPath>& path,
                      const LinkWorkers& workers, OpenedLink* opened);

}  // namespace sluice
