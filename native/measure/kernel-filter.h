#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// A rule: addresses under a prefix may reach the inside on one port. Units: host byte order.
struct KernelFilterRule {
  uint32_t prefix = 0;
  uint32_t length = 0;
  uint32_t port = 0;
  uint32_t protocol = 0;
};

// Keeps a filter attached.
struct KernelFilter {
  std::array<Descriptor, 2> attachments;
};

// Joins two interfaces of a namespace by eBPF programs on their ingress. The outside may open
// connections to the inside that a rule allows; the inside may open any. The programs look up an
// LRU map of connections, then a longest-prefix trie and a hash of ports. This is a benchmark's
// policy in the kernel's own path. It has no TCP states and no IPv6, so a filter that has them
// cannot be faster.
//
// Shape:  prefixes that repeat share their rules' ports.
// Errors: System; BPF_LINK_CREATE on kernels before 6.6, EPERM in a user namespace.
Status attachKernelFilter(int namespaceFd, const char* inside, const char* outside,
                          std::span<const KernelFilterRule> rules, KernelFilter* filter) noexcept;

}  // namespace sluice
