#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/packet/status.h"

namespace sluice {

// Takes from the calling thread what a packet thread never needs: every capability, what an exec
// could give back, and every system call but those that move frames, wait, read clocks and end a
// thread. A call that is not on the list fails with EPERM. There is no way back.
//
// What a link needs of the kernel it is given when it is made, by another thread.
//
// Errors: System. A kernel without seccomp is none: the capabilities are gone there all the same.
// Source: man 2 seccomp, man 7 capabilities.
Status confinePacketThread() noexcept;

// Takes all capabilities but those in `keep` from every thread of the process, and sets
// no_new_privs on each. There is no way back.
//
// Shape:   bit n of `keep` is capability n; those the process lacks stay lacking.
// Threads: one call at a time. Other threads are interrupted for a moment: their sleeps may end
// early. Errors:  System; ETIMEDOUT when a thread cannot be reached: it then has more than the
// others.
Status dropCapabilities(uint64_t keep) noexcept;

// What a process may have that talks to strangers. Units: as the names say.
struct ListenerLimits {
  uint32_t descriptorsMax = 0;
  uint64_t dataBytesMax = 0;  // memory of its own, shared libraries not counted
};

// Takes from a process that only answers on sockets it has, and reads from those, everything else:
// every capability, and on all of its threads the system calls that name a file, run a program,
// make a socket, or touch another process or the machine. They fail with EPERM. There is no way
// back.
//
// What JavaScript's engine asks of the kernel beside these differs from version to version, so they
// are left to it.
//
// Errors: System. A kernel without seccomp is none, as above.
// Threads: as dropCapabilities().
Status confineListener(const ListenerLimits& limits) noexcept;

// Reports whether all of `paths` can be opened for reading without any capability.
bool readableWithoutCapabilities(const std::vector<std::string>& paths) noexcept;

}  // namespace sluice
