#pragma once

#include <pthread.h>

#include <cstddef>
#include <memory>
#include <span>

#include "native/host/descriptor.h"
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
  // Errors: System: "bind NFQUEUE" (EBUSY or EPERM when another process has the queues),
  //         "socket NETLINK_NETFILTER", "eventfd", "pthread_create".
  static Status open(std::span<const Descriptor> roots,
                     std::unique_ptr<ForwardQueue>* queue) noexcept;
  ~ForwardQueue();
  ForwardQueue(const ForwardQueue&) = delete;
  ForwardQueue& operator=(const ForwardQueue&) = delete;

 private:
  explicit ForwardQueue(std::span<const Descriptor> roots) : roots_(roots) {}
  void run() noexcept;
  // Answers each packet of a datagram.
  void answer(std::span<const uint8_t> datagram) noexcept;
  [[nodiscard]] bool passes(size_t role, std::span<const uint8_t> packet, uint32_t bytes) noexcept;

  std::span<const Descriptor> roots_;
  Descriptor link_;
  Descriptor stop_;
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace sluice
