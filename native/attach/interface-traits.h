#pragma once

#include <cstdint>
#include <string>

#include "native/packet/status.h"

namespace sluice {

// The properties that decide which kind of link suits an interface.
struct InterfaceTraits {
  uint32_t index = 0;
  std::string driver;  // as ethtool names it
  uint32_t mtu = 0;
  uint32_t queues = 1;        // receive queues
  bool segmentation = false;  // it takes TCP superframes, as a veth's peer then sends them
  bool hardware = false;      // it is a hardware device
};

// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status readInterfaceTraits(int namespaceFd, const std::string& interface,
                           InterfaceTraits* traits) noexcept;

}  // namespace sluice
