#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Queues of netfilter, whose packets a thread of its own judges.
//
// When it ends, the kernel drops what is in the queues and what rules send there, unless they say
// otherwise.
//
// Source: include/uapi/linux/netfilter/nfnetlink_queue.h of the kernel.
class NfQueues {
 public:
  // Whether a packet passes: by its queue, counted from the first, the bytes that were copied of it
  // from its IP header on, and how many it has. Called in the thread.
  using Judge = std::function<bool(size_t queue, std::span<const uint8_t> packet, uint32_t bytes)>;

  struct Options {
    uint16_t first = 0;
    uint16_t count = 1;
    uint32_t packetBytes = 0;  // copied of each packet
    uint32_t packetsMax = 0;   // that wait in a queue
  };

  // Takes the queues of this network namespace.
  //
  // Errors: System: "bind NFQUEUE" (EBUSY or EPERM when another process has the queues),
  //         "socket NETLINK_NETFILTER", "eventfd", "pthread_create".
  static Status open(const Options& options, Judge judge,
                     std::unique_ptr<NfQueues>* queues) noexcept;
  ~NfQueues();
  NfQueues(const NfQueues&) = delete;
  NfQueues& operator=(const NfQueues&) = delete;

 private:
  NfQueues(const Options& options, Judge judge) : options_(options), judge_(std::move(judge)) {}
  void run() noexcept;
  // Answers each packet of a datagram.
  void answer(std::span<const uint8_t> datagram) noexcept;

  Options options_;
  Judge judge_;
  Descriptor link_;
  Descriptor stop_;
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace sluice
