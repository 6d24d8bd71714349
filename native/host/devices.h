#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "native/host/descriptor.h"
#include "native/host/rtnetlink.h"
#include "native/packet/bytes.h"
#include "native/packet/status.h"

namespace sluice {

struct TapOptions {
  std::string name;
  MacAddress mac = {};
  uint32_t mtu = 1500;
};

// Makes a TAP interface, down, in a namespace. It is not persistent: it goes with `*fd`.
//
// Shape:  frames on `*fd` have an Offload header before them, both ways; reads do not wait. The
//         kernel may hand over superframes and partial checksums.
// Errors: System; "open /dev/net/tun" as the call when that device cannot be had.
Status openTap(int namespaceFd, const TapOptions& options, Descriptor* fd) noexcept;

// Makes a veth pair, down, one end in each namespace. Errors: System.
Status createVethPair(int namespaceA, const std::string& nameA, int namespaceB,
                      const std::string& nameB) noexcept;

struct PacketSocket {
  Descriptor fd;
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 0;
};

// Opens a packet socket in a namespace for one of its interfaces: TPACKET_V2 with Offload headers,
// not bound yet, so that it sees nothing.
//
// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status openPacketSocket(int namespaceFd, const std::string& interface,
                        PacketSocket* opened) noexcept;

// Keeps the kernel's own stack from handling what comes in by an interface that a packet socket
// reads, else a denied packet would find its way around the filter.
//
// A program attached through a descriptor where we may load one (it goes with the process, whatever
// ends it), else a tc filter, which stays after a kill: traffic has then stopped for good, until
// the next hold() of the interface takes the filter over.
//
// Owner: released by the destructor: the interface is then as it was.
class IngressGuard {
 public:
  explicit IngressGuard(uint32_t interfaceIndex) noexcept : interfaceIndex_(interfaceIndex) {}
  ~IngressGuard();
  IngressGuard(const IngressGuard&) = delete;
  IngressGuard& operator=(const IngressGuard&) = delete;

  // Errors: System, when neither way is open.
  static Status hold(int namespaceFd, uint32_t interfaceIndex,
                     std::unique_ptr<IngressGuard>* guard) noexcept;

 private:
  Descriptor namespace_;  // our own copy; none for the process's own
  uint32_t interfaceIndex_;
  Descriptor program_;  // the attached program's link
  IngressDrop filter_;
  bool filtered_ = false;  // `filter_` is there, and ours to take out
};

}  // namespace sluice
