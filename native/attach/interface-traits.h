#pragma once

#include <cstdint>
#include <string>

#include "native/packet/status.h"

namespace sluice {

// What tells which kind of link suits an interface.
struct InterfaceTraits {
  uint32_t index = 0;
  std::string driver;  // as ethtool names it
  uint32_t mtu = 0;
  uint32_t queues = 1;        // that frames come in by
  bool segmentation = false;  // it takes TCP superframes, as a veth's peer then sends them
  bool hardware = false;      // a device stands behind it
};

// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status readInterfaceTraits(int namespaceFd, const std::string& interface,
                           InterfaceTraits* traits) noexcept;

}  // namespace sluice
