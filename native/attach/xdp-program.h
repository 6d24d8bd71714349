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

// Leads everything that comes in by an interface to AF_XDP sockets, a queue each, and drops what
// comes in by a queue without one: the kernel's own stack sees nothing.
//
// Owner: attached by a descriptor, so that the interface is as it was when this goes or the
//        process ends, whatever ends it.
class XdpProgram {
 public:
  // Loads the program. Errors: System; EPERM without CAP_BPF, in a user namespace for example.
  static Status load(uint32_t queues, std::unique_ptr<XdpProgram>* program) noexcept;

  // Gives a queue to a bound socket. Errors: System.
  Status give(uint32_t queue, int socketFd) noexcept;

  enum class Mode {
    Native,   // in the driver, before the kernel has made anything of the frame
    Generic,  // for drivers that have no such hook
  };

  // Errors: System; EOPNOTSUPP when the driver has no such mode, EBUSY when another program is
  // attached, ERANGE when the MTU is too large for a veth.
  Status attach(int namespaceFd, uint32_t interfaceIndex, Mode mode) noexcept;

  // Goes on with another process's program by what descriptors() gave there.
  //
  // Owner:  takes the descriptors.
  // Errors: Argument when they are not what they should be, or not of this interface.
  static Status adopt(uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                      std::unique_ptr<XdpProgram>* program) noexcept;
  // The map and what keeps the program attached. They stay ours.
  [[nodiscard]] std::vector<int> descriptors() const { return {map_.get(), attached_.get()}; }

 private:
  Descriptor map_;
  Descriptor program_;
  Descriptor attached_;
};

}  // namespace sluice
