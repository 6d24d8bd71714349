#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// The guards at the pods' interfaces on a node: native/bpf/programs/guard.bpf.c passes what has an
// address of the pod behind the interface as its source, and nothing else.
//
// Like the programs of ForwardFilter, whose folder this uses, guards stay attached when the process
// ends. An interface that is deleted takes its guard with it.
//
// Threads: any; where one waits for the kernel in `guard`, so do those that want to guard another
//          interface, or no more.
class SourceGuards {
 public:
  // Opens what is pinned in the folder of a ForwardFilter that is open in this process. What the
  // folder keeps attached in another network namespace, which was left, is detached.
  //
  // Errors: System, "BPF_…".
  static Status open(const std::string& folder, std::unique_ptr<SourceGuards>* guards) noexcept;
  SourceGuards(const SourceGuards&) = delete;
  SourceGuards& operator=(const SourceGuards&) = delete;

  // Guards an interface of this process's network namespace from its next frame on, or changes what
  // is its own; a guard of an earlier version is replaced without a moment between them.
  //
  // Before Linux 6.6 it is a tc filter.
  //
  // Cost:   the kernel waits for a grace period of RCU, some 10 milliseconds, where there was none.
  // Errors: System: "BPF_LINK_CREATE" or "RTM_NEWTFILTER bpf", ENODEV when there is no such
  //         interface; E2BIG when there are too many.
  Status guard(uint32_t interfaceIndex, const GuardedInterface& own) noexcept;
  // Detaches a guard, and forgets what it has counted. Errors: System.
  Status unguard(uint32_t interfaceIndex) noexcept;
  // All guards, also those of interfaces that are gone. Errors: System.
  Status list(std::vector<GuardState>* states) const noexcept;

  // Detaches what a folder keeps of guards that are not pinned: those that are filters. The folder
  // may be absent. Errors: System.
  static Status removeFilters(const std::string& folder) noexcept;

 private:
  explicit SourceGuards(std::string folder) : folder_(std::move(folder)) {}
  Status prepare() noexcept;
  Status load() noexcept;
  [[nodiscard]] std::string placeOf(uint32_t interfaceIndex) const;
  // Opens the link that is attached to this interface; false when there is none.
  [[nodiscard]] bool openAttached(uint32_t interfaceIndex, Descriptor* link) const noexcept;
  // Attaches the program to an interface that has no link.
  Status attach(uint32_t interfaceIndex) noexcept;

  std::string folder_;
  std::string prefix_;  // of the links' pins in this network namespace
  Descriptor guarded_;
  Descriptor counts_;
  Descriptor program_;
  std::mutex change_;           // held while guards come and go
  std::set<uint32_t> current_;  // interfaces whose guard is this process's program
};

}  // namespace sluice
