#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "native/bpf/ring.h"
#include "native/host/descriptor.h"
#include "native/layout/layout.gen.h"
#include "native/packet/frame.h"
#include "native/packet/reject.h"
#include "native/packet/status.h"

namespace sluice {

// Writes answers to packets of the forward hook, as their senders expect them.
class ForwardAnswerWriter {
 public:
  // Writes the answer to a packet, as writeReject(), from the address that its sender has sent it
  // to; what an ICMP error quotes has that address too. The checksum of the quoted message is the
  // translated one's: nobody checks it.
  //
  // Shape:  an Ethernet frame, whose first header has no meaning.
  // Owner:  the answer lies here until the next one.
  // Errors: false when it may have no answer (isAnswerable(); a group at one of its ends), or
  //         cannot be read.
  [[nodiscard]] bool write(const RefusedPacket& refused, Frame* answer) noexcept;

 private:
  static constexpr size_t PACKET_BYTES_MAX = 40 + 65'535;
  // A packet as long as its header says; behind what is known of it there are zeros.
  std::array<std::byte, ETHERNET_HEADER_BYTES + PACKET_BYTES_MAX> denied_ = {};
  std::array<std::byte, REJECT_BYTES_MAX> answer_ = {};
};

// Answers the senders of packets that policy denies at the forward hook, in a thread of its own
// that confinePacketThread() restricts, by raw sockets of this process's network namespace. Such
// answers do not come by the hook, and belong to no connection that the kernel would track anew.
//
// Bounded by RejectLimit: what is beyond it waits in the ring until that is full, and then the
// programs leave the rest alone.
class ForwardAnswers {
 public:
  static constexpr size_t RING_BYTES = 1 << 18;

  // Reads from a ring of RING_BYTES with RefusedPackets, which must outlive it.
  //
  // Errors: System: "socket SOCK_RAW" (EPERM without CAP_NET_RAW), "mmap", "eventfd",
  //         "pthread_create"; as confinePacketThread().
  static Status open(int ring, std::unique_ptr<ForwardAnswers>* answers) noexcept;
  ~ForwardAnswers();
  ForwardAnswers(const ForwardAnswers&) = delete;
  ForwardAnswers& operator=(const ForwardAnswers&) = delete;

  // Answers that the kernel took. From any thread.
  [[nodiscard]] uint64_t sent() const noexcept { return sent_.load(std::memory_order_relaxed); }

 private:
  ForwardAnswers() = default;
  void run() noexcept;
  // Answers what waits; false when there may be no more answers now.
  [[nodiscard]] bool answerAll() noexcept;
  void send(const Frame& answer) noexcept;

  BpfRing ring_;
  Descriptor sockets_[2];  // of IPv4 and IPv6
  Descriptor stop_;
  int ringDescriptor_ = -1;
  RejectLimit limit_;
  ForwardAnswerWriter writer_;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<bool> started_ = false;
  Status confined_;  // once it has started
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace sluice
