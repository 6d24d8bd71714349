#pragma once

#include <cstdint>
#include <string>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// The mark on frames of our packet sockets, so that they pass where the kernel stack's frames do
// not.
constexpr uint32_t FRAME_MARK = 0x51ce51ce;

struct PacketSocket {
  Descriptor fd;
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 0;
  bool queuesSuperframes = false;  // its queue has room for a burst of superframes
};

// Opens a packet socket in a namespace for one of its interfaces: TPACKET_V2 with Offload headers,
// not bound yet, so that it sees nothing.
//
// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status openPacketSocket(int namespaceFd, const std::string& interface,
                        PacketSocket* opened) noexcept;

}  // namespace sluice
