#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Opens an AF_XDP socket in a namespace. Errors: System, EPERM without CAP_NET_RAW.
Status openXdpSocket(int namespaceFd, Descriptor* fd) noexcept;

// Directs every frame that arrives on an interface to AF_XDP sockets, one for each queue, and drops
// frames of a queue without a socket: the kernel stack sees nothing.
//
// Owner: attached by a descriptor. The interface is restored when this is destroyed or the process
//        ends, whatever ends it.
class XdpProgram {
 public:
  // Loads the program. Errors: System; EPERM without CAP_BPF, in a user namespace for example.
  static Status load(uint32_t queues, std::unique_ptr<XdpProgram>* program) noexcept;

  // Directs a queue to a bound socket. Errors: System.
  Status give(uint32_t queue, int socketFd) noexcept;

  enum class Mode {
    Native,   // in the driver, before the kernel processes the frame
    Generic,  // for drivers that have no such hook
  };

  // Errors: System; EOPNOTSUPP when the driver has no such mode, EBUSY when another program is
  // attached, ERANGE when the MTU is too large for a veth.
  Status attach(int namespaceFd, uint32_t interfaceIndex, Mode mode) noexcept;

  // Continues with the predecessor's program, from the descriptors that its descriptors() returned.
  //
  // Owner:  takes the descriptors.
  // Errors: Argument when they are not of the expected kind, or not of this interface.
  static Status adopt(uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                      std::unique_ptr<XdpProgram>* program) noexcept;
  // The map, and the descriptor that keeps the program attached. The object still owns them.
  [[nodiscard]] std::vector<int> descriptors() const { return {map_.get(), attached_.get()}; }

 private:
  Descriptor map_;
  Descriptor program_;
  Descriptor attached_;
};

}  // namespace sluice
