#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "native/host/descriptor.h"
#include "native/netlink/tc-filters.h"
#include "native/packet/status.h"

namespace sluice {

// Takes an interface that a packet socket reads from the kernel's own stack, in both directions:
// else a denied packet would find its way around the filter, through the stack, or from the host, a
// bridge or a route straight to the pod. Only what our packet sockets send goes out.
//
// Programs attached through descriptors where we may load them (they go with the process, whatever
// ends it), else tc filters, which stay after a kill: traffic has then stopped for good, until the
// next hold() of the interface takes the filters over.
//
// Owner: released by the destructor: the interface is then as it was. Filters that holdStack() has
//        made are left to releaseStack().
class StackGuard {
 public:
  explicit StackGuard(uint32_t interfaceIndex) noexcept : interfaceIndex_(interfaceIndex) {}
  ~StackGuard();
  StackGuard(const StackGuard&) = delete;
  StackGuard& operator=(const StackGuard&) = delete;

  // `lasting`: holdStack() guards the interface already, or does it now.
  //
  // Errors: System, when neither way is open.
  static Status hold(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                     std::unique_ptr<StackGuard>* guard) noexcept;

  // Goes on with another process's guard by what descriptors() gave there; where they are none, or
  // not what they should be, holds the interface like any other. Takes over filters that are there.
  //
  // Owner: takes the descriptors.
  static Status adopt(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                      std::vector<Descriptor> descriptors,
                      std::unique_ptr<StackGuard>* guard) noexcept;
  // What keeps the programs attached; none where there are filters. They stay ours.
  [[nodiscard]] std::vector<int> descriptors() const;
  // Leaves the filters where they are when this goes, since the interface is another process's too,
  // until own().
  void leave() noexcept { owned_ = false; }
  void own() noexcept { owned_ = true; }

 private:
  Descriptor namespace_;  // our own copy; none for the process's own
  uint32_t interfaceIndex_;
  Descriptor ingress_;  // the attached programs' links
  Descriptor egress_;
  std::optional<StackFilters> filters_;  // that are there instead
  uint64_t namespaceNumber_ = 0;
  bool owned_ = true;  // the filters are ours to take out
};

// Takes an interface from the kernel's own stack by the tc filters, which nothing but
// releaseStack() takes out: whatever ends this process, the interface carries nothing afterwards.
// Both may be called again.
//
// Errors: System.
Status holdStack(int namespaceFd, uint32_t interfaceIndex) noexcept;
Status releaseStack(int namespaceFd, uint32_t interfaceIndex) noexcept;

// Says whether an interface is held by tc filters, whoever did it. Errors: System.
Status isStackHeld(int namespaceFd, uint32_t interfaceIndex, bool* held) noexcept;

}  // namespace sluice
