#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/netlink/rtnetlink.h"
#include "native/packet/bytes.h"
#include "native/packet/status.h"
#include "native/packet/steering.h"

namespace sluice {

struct TapOptions {
  std::string name;
  MacAddress mac = {};
  uint32_t mtu = 1500;
  bool lasting = false;
  uint32_t index = 0;  // that a new interface asks for; any when 0, or when it is taken
};

// Makes a TAP interface, down, in a namespace, with a queue for each worker. It goes with the last
// of `*queues`; a lasting one stays, without a carrier and with all that was put on it, and a later
// call with its name gets it as it is then: EINVAL when that has one queue and this wants many, or
// the other way round.
//
// Shape:  frames have an Offload header before them, both ways; reads do not wait. The kernel may
//         hand over superframes and partial checksums. Where we may load no program the kernel
//         chooses queues by itself, not always the worker's own.
// Errors: System; TunDevice as the fault when /dev/net/tun cannot be had.
Status openTap(int namespaceFd, const TapOptions& options, const Steering& steering,
               std::vector<Descriptor>* queues) noexcept;

// Has the kernel choose a TAP's queues by `steering`, where we may load programs. `tap` is the
// first of as many queues as there are workers. Errors: System.
Status steerTapQueues(int tap, const Steering& steering) noexcept;

// Makes a veth pair, down, one end in each namespace. Errors: System.
Status createVethPair(int namespaceA, const std::string& nameA, int namespaceB,
                      const std::string& nameB) noexcept;

struct PacketSocket {
  Descriptor fd;
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 0;
  bool queuesSuperframes = false;  // it may queue as many bytes as a burst of superframes has
};

// Opens a packet socket in a namespace for one of its interfaces: TPACKET_V2 with Offload headers,
// not bound yet, so that it sees nothing.
//
// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status openPacketSocket(int namespaceFd, const std::string& interface,
                        PacketSocket* opened) noexcept;

// What tells which kind of link suits an interface.
struct InterfaceTraits {
  uint32_t index = 0;
  std::string driver;  // as ethtool names it
  uint32_t mtu = 0;
  uint32_t queues = 1;        // that frames come in by
  bool segmentation = false;  // it takes TCP superframes, as a veth's peer then sends them
  bool hardware = false;      // a device stands behind it
};

// Errors: System; "SIOCGIFINDEX" with ENODEV when there is no such interface.
Status readInterfaceTraits(int namespaceFd, const std::string& interface,
                           InterfaceTraits* traits) noexcept;

// Takes an interface that a packet socket reads from the kernel's own stack, in both directions:
// else a denied packet would find its way around the filter, through the stack, or from the host, a
// bridge or a route straight to the pod. Only what our packet sockets send goes out.
//
// Programs attached through descriptors where we may load them (they go with the process, whatever
// ends it), else tc filters, which stay after a kill: traffic has then stopped for good, until the
// next hold() of the interface takes the filters over.
//
// Owner: released by the destructor: the interface is then as it was. Filters that holdStack() has
//        made are left to releaseStack().
class StackGuard {
 public:
  explicit StackGuard(uint32_t interfaceIndex) noexcept : interfaceIndex_(interfaceIndex) {}
  ~StackGuard();
  StackGuard(const StackGuard&) = delete;
  StackGuard& operator=(const StackGuard&) = delete;

  // `lasting`: holdStack() guards the interface already, or does it now.
  //
  // Errors: System, when neither way is open.
  static Status hold(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                     std::unique_ptr<StackGuard>* guard) noexcept;

  // Goes on with another process's guard by what descriptors() gave there; where they are none, or
  // not what they should be, holds the interface like any other. Takes over filters that are there.
  //
  // Owner: takes the descriptors.
  static Status adopt(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                      std::vector<Descriptor> descriptors,
                      std::unique_ptr<StackGuard>* guard) noexcept;
  // What keeps the programs attached; none where there are filters. They stay ours.
  [[nodiscard]] std::vector<int> descriptors() const;
  // Leaves the filters where they are when this goes, since the interface is another process's too,
  // until own().
  void leave() noexcept { owned_ = false; }
  void own() noexcept { owned_ = true; }

 private:
  Descriptor namespace_;  // our own copy; none for the process's own
  uint32_t interfaceIndex_;
  Descriptor ingress_;  // the attached programs' links
  Descriptor egress_;
  StackFilters filters_;
  uint64_t namespaceNumber_ = 0;
  bool filtered_ = false;  // `filters_` are there
  bool owned_ = true;      // and ours to take out
};

// Takes an interface from the kernel's own stack by the tc filters, which nothing but
// releaseStack() takes out: whatever ends this process, the interface carries nothing afterwards.
// Both may be called again.
//
// Errors: System.
Status holdStack(int namespaceFd, uint32_t interfaceIndex) noexcept;
Status releaseStack(int namespaceFd, uint32_t interfaceIndex) noexcept;

// Says whether an interface is held by tc filters, whoever did it. Errors: System.
Status isStackHeld(int namespaceFd, uint32_t interfaceIndex, bool* held) noexcept;

}  // namespace sluice
