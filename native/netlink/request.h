#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "native/packet/status.h"

namespace sluice {

// Builds an rtnetlink request. end() closes a nested attribute.
class NetlinkRequest {
 public:
  NetlinkRequest(uint16_t type, uint16_t flags) noexcept {
    header()->nlmsg_len = NLMSG_LENGTH(0);
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header()->nlmsg_seq = 1;
  }

  template <typename Body>
  void body(const Body& value) noexcept {
    append(&value, sizeof value);
  }

  void attribute(uint16_t type, const void* data, size_t size) noexcept {
    rtattr head = {static_cast<uint16_t>(RTA_LENGTH(size)), type};
    append(&head, sizeof head);
    append(data, size);
  }

  void text(uint16_t type, const char* value) noexcept {
    attribute(type, value, std::strlen(value) + 1);
  }

  template <typename Number>
  void number(uint16_t type, Number value) noexcept {
    attribute(type, &value, sizeof value);
  }

  [[nodiscard]] size_t begin(uint16_t type) noexcept {
    const size_t start = NLMSG_ALIGN(header()->nlmsg_len);
    attribute(type, nullptr, 0);
    return start;
  }

  void end(size_t start) noexcept {
    reinterpret_cast<rtattr*>(bytes_ + start)->rta_len =
        static_cast<uint16_t>(header()->nlmsg_len - start);
  }

  // Sends the request and waits for the kernel's answer. `call` names it when it fails.
  Status send(const char* call) noexcept;

 private:
  nlmsghdr* header() noexcept { return reinterpret_cast<nlmsghdr*>(bytes_); }

  void append(const void* data, size_t size) noexcept;

  static constexpr size_t BYTES_MAX = 1024;

  alignas(NLMSG_ALIGNTO) std::byte bytes_[BYTES_MAX] = {};
};

}  // namespace sluice
