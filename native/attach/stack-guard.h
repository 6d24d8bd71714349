#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "native/host/descriptor.h"
#include "native/netlink/tc-filters.h"
#include "native/packet/status.h"

namespace sluice {

// Blocks the kernel stack on an interface that a packet socket reads, in both directions. Otherwise
// a denied packet could bypass the filter: through the stack, or from the host, a bridge or a route
// straight to the pod. Only frames of our packet sockets go out.
//
// The guard is BPF programs attached by descriptors, if we may load them: they end with the
// process, whatever ends it. Otherwise it is tc filters, which stay after a kill: traffic then
// stops until the next hold() of the interface takes over the filters.
//
// Owner: the destructor restores the interface. Filters made by holdStack() stay until
//        releaseStack().
class StackGuard {
 public:
  explicit StackGuard(uint32_t interfaceIndex) noexcept : interfaceIndex_(interfaceIndex) {}
  ~StackGuard();
  StackGuard(const StackGuard&) = delete;
  StackGuard& operator=(const StackGuard&) = delete;

  // `lasting`: holdStack() guards the interface already, or does it now.
  //
  // Detaches what a process of before has left there to pass packets (ProgramFilter::Wire).
  //
  // Errors: System, when neither programs nor filters can be attached.
  static Status hold(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                     std::unique_ptr<StackGuard>* guard) noexcept;

  // Continues with the predecessor's guard, from the descriptors that its descriptors() returned.
  // If there are none, or they are not of the expected kind, guards the interface like hold().
  // Takes over existing filters.
  //
  // Owner: takes the descriptors.
  static Status adopt(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                      std::vector<Descriptor> descriptors,
                      std::unique_ptr<StackGuard>* guard) noexcept;
  // The descriptors that keep the programs attached; empty when the guard is filters. The guard
  // still owns them.
  [[nodiscard]] std::vector<int> descriptors() const;
  // Until own(), the destructor leaves the filters in place: another process uses the interface,
  // too.
  void leave() noexcept { owned_ = false; }
  void own() noexcept { owned_ = true; }

 private:
  static Status guard(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                      std::unique_ptr<StackGuard>* guard) noexcept;

  Descriptor namespace_;  // our own copy; invalid for the process's own namespace
  uint32_t interfaceIndex_;
  Descriptor ingress_;  // the attached programs' links
  Descriptor egress_;
  std::optional<StackFilters> filters_;  // in place of the programs
  uint64_t namespaceNumber_ = 0;
  bool owned_ = true;  // the destructor removes the filters
};

// Blocks the kernel stack on an interface by the tc filters, which only releaseStack() removes, and
// detaches what StackGuard::hold() does:
// whatever ends this process, the interface carries nothing afterwards. Both may be called
// repeatedly.
//
// Errors: System.
Status holdStack(int namespaceFd, uint32_t interfaceIndex) noexcept;
Status releaseStack(int namespaceFd, uint32_t interfaceIndex) noexcept;

// Reports whether tc filters block the kernel stack on an interface, whichever process added them.
// Errors: System.
Status isStackHeld(int namespaceFd, uint32_t interfaceIndex, bool* held) noexcept;

}  // namespace sluice
