#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Who may reach the inside: addresses under a prefix, on one port. In host order.
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

// Joins two interfaces of a namespace by eBPF programs on their ingress, which let the outside open
// connections to the inside where a rule says so, and everything that the inside opens. What stands
// between is an LRU map of connections before a longest-prefix trie and a hash of ports: the policy
// of a benchmark in the kernel's own path, with no TCP states and no IPv6, so a bound for any
// filter that has them.
//
// Shape:  prefixes that repeat share their rules' ports.
// Errors: System; BPF_LINK_CREATE on kernels before 6.6, EPERM in a user namespace.
Status attachKernelFilter(int namespaceFd, const char* inside, const char* outside,
                          std::span<const KernelFilterRule> rules, KernelFilter* filter) noexcept;

}  // namespace sluice
