#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "native/host/descriptor.h"
#include "native/netlink/nf-queue.h"
#include "native/packet/status.h"

namespace sluice {

// Judges the packets that the rules of putMatchRules() queue, in a thread of its own: it runs the
// programs on them that the kernel would run as a match.
//
// When it ends, the kernel drops what is in the queues and what the rules send there.
class ForwardQueue {
 public:
  // Takes the queues of this network namespace. `roots` of loadMatchRoots() must outlive it.
  //
  // Errors: as NfQueues::open().
  static Status open(std::span<const Descriptor> roots,
                     std::unique_ptr<ForwardQueue>* queue) noexcept;

 private:
  explicit ForwardQueue(std::span<const Descriptor> roots) : roots_(roots) {}
  [[nodiscard]] bool passes(size_t role, std::span<const uint8_t> packet,
                            uint32_t bytes) const noexcept;

  std::span<const Descriptor> roots_;
  std::unique_ptr<NfQueues> queues_;
};

}  // namespace sluice
