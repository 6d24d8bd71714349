#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>

#include "native/netlink/host-address.h"

namespace sluice {

// A socket address of either family.
struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  SocketAddress() = default;
  SocketAddress(const HostAddress& address, uint16_t port) noexcept
      : SocketAddress(address.family, address.bytes.data(), port) {}
  // `bytes` are the address's 4 or 16, in network order.
  SocketAddress(uint8_t family, const uint8_t* bytes, uint16_t port) noexcept {
    if (family == 4) {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      std::memcpy(&v4->sin_addr, bytes, 4);
      size = sizeof *v4;
    } else {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      std::memcpy(&v6->sin6_addr, bytes, 16);
      size = sizeof *v6;
    }
  }
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
};

}  // namespace sluice
