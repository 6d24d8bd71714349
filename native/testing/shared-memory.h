#pragma once

#include <cstdint>

#include "native/conntrack/conn-table.h"
#include "native/host/descriptor.h"

namespace sluice::testing {

// Memory for a connection table that eBPF programs read: maps, or a file in memory where this
// process may make none.
class SharedMemory {
 public:
  explicit SharedMemory(uint32_t entriesMax);

  [[nodiscard]] bool valid() const { return entries_.valid() && buckets_.valid(); }
  // Whether the kernel has it as maps.
  [[nodiscard]] bool isMapped() const { return mapped_; }
  [[nodiscard]] const ConnMemory& descriptors() const { return descriptors_; }

 private:
  Descriptor entries_;
  Descriptor buckets_;
  ConnMemory descriptors_;
  bool mapped_ = true;
};

}  // namespace sluice::testing
