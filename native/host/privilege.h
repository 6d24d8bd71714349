#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/packet/status.h"

namespace sluice {

// Restricts the calling thread to what a packet thread needs. It loses every capability, any way to
// regain one by an exec, and every system call except those that move frames, wait, read clocks and
// end a thread. Other calls fail with EPERM. This cannot be undone.
//
// Another thread makes the links, so this one needs no more for them.
//
// Errors: System. A kernel without seccomp is no error: the capabilities are dropped there all the
//         same.
// Source: man 2 seccomp, man 7 capabilities.
Status confinePacketThread() noexcept;

// Drops all capabilities except those in `keep` from every thread of the process, and sets
// no_new_privs on each. This cannot be undone.
//
// Shape:   bit n of `keep` is capability n; capabilities that the process does not have are not
//          added.
// Threads: one call at a time. Other threads are interrupted for a moment: their sleeps may end
//          early.
// Errors:  System; ETIMEDOUT when a thread cannot be reached: it then keeps more than the others.
Status dropCapabilities(uint64_t keep) noexcept;

// Resource limits of a process that serves untrusted clients.
struct ListenerLimits {
  uint32_t descriptorsMax = 0;
  uint64_t dataBytesMax = 0;  // private memory, without shared libraries
};

// Restricts a process that only serves sockets that it has already. It loses every capability. On
// all of its threads, the system calls that name a file, run a program, make a socket, or act on
// another process or the machine fail with EPERM. This cannot be undone.
//
// All other system calls stay allowed: those that the JavaScript engine needs differ from version
// to version.
//
// Errors:  System. A kernel without seccomp is no error, as above.
// Threads: as dropCapabilities().
Status confineListener(const ListenerLimits& limits) noexcept;

// Reports whether all of `paths` can be opened for reading without any capability.
bool readableWithoutCapabilities(const std::vector<std::string>& paths) noexcept;

}  // namespace sluice
