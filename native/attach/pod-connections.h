#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/attach/forward-filter.h"
#include "native/layout/layout.gen.h"
#include "native/netlink/conntrack.h"
#include "native/packet/status.h"

namespace sluice {

// Of the connections that the kernel tracks, those with a pod of this node at an end: which pods
// these are, the table in force at the forward hook says. Before the first table there are none.

// The ends of such connections, as events.
//
// Threads: one.
class PodConnectionEnds {
 public:
  explicit PodConnectionEnds(std::shared_ptr<ForwardFilter> filter) noexcept
      : filter_(std::move(filter)) {}

  // Errors: System, where the kernel reports no connections.
  Status open() noexcept { return ends_.open(); }
  // As of ConntrackEnds.
  Status adopt(Descriptor socket) noexcept { return ends_.adopt(std::move(socket)); }
  [[nodiscard]] int descriptor() const noexcept { return ends_.descriptor(); }

  // Fills events of the kind Closed, and returns how many. Both totals are 0 where the kernel does
  // not count. Errors: System.
  Status drain(std::span<FlowEvent> into, size_t* count) noexcept;

  // How often reports were lost because they came faster than they were read.
  [[nodiscard]] uint64_t overruns() const noexcept { return ends_.overruns(); }

 private:
  std::shared_ptr<ForwardFilter> filter_;
  ConntrackEnds ends_;
  std::vector<KernelConnection> ended_;
  size_t next_ = 0;  // the first of them that has not been told
};

// A list of such connections, read in pieces.
class PodConnectionList {
 public:
  explicit PodConnectionList(std::shared_ptr<ForwardFilter> filter) noexcept
      : filter_(std::move(filter)) {}

  // Appends those of the kernel's next hundreds, which may be none. May wait for the kernel.
  // Errors: as ConntrackList.
  Status read(std::vector<ConnectionRecord>* records, bool* isEnd) noexcept;

 private:
  std::shared_ptr<ForwardFilter> filter_;
  ConntrackList list_;
};

}  // namespace sluice
