#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/flow-key.h"
#include "native/packet/status.h"

// The connections that the kernel tracks, in this process's own network namespace.
//
// Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h of the kernel.

namespace sluice {

// A connection as the kernel tells of it.
struct KernelConnection {
  // From the client to the server behind any translation of the destination. ICMP has the query's
  // type << 8 | code as its destination port.
  FlowKey key = {};
  uint64_t packets = 0;  // both ways; 0 where the kernel does not count
  uint64_t bytes = 0;    // from the IP header on
  uint32_t expiresInSeconds = 0;
  uint8_t tcpState = 0;  // the kernel's enum tcp_conntrack; 0 when it is no TCP
  bool isAnswered = false;
  bool isAssured = false;
};

// The kernel's reports of connections that have ended. Reads do not wait.
class ConntrackEnds {
 public:
  // Errors: System.
  Status open() noexcept;
  // Goes on with another process's socket, and what waits in it. Errors: Argument, for any other
  // kind of descriptor.
  Status adopt(Descriptor socket) noexcept;
  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }

  // Appends those since the last call, some thousands at most.
  // Errors: System. When the kernel had more than the socket can hold, reports are lost, and
  // overruns() is one more.
  Status read(std::vector<KernelConnection>* ended) noexcept;

  [[nodiscard]] uint64_t overruns() const noexcept { return overruns_; }

 private:
  Descriptor socket_;
  std::vector<uint8_t> datagrams_;
  uint64_t overruns_ = 0;
};

// A list of all connections, read in pieces: the kernel goes on where the last piece ended, and
// waits meanwhile. It may miss connections that open or end meanwhile.
class ConntrackList {
 public:
  // Appends some hundreds; none at the end. May wait for the kernel.
  // Errors: System; ETIMEDOUT when the kernel does not go on within seconds.
  Status read(std::vector<KernelConnection>* listed) noexcept;

 private:
  Status begin() noexcept;

  Descriptor socket_;
  std::vector<uint8_t> datagram_;
  bool hasEnded_ = false;
};

}  // namespace sluice
