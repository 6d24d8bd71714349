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

// Reports whether all of `paths` can be opened for reading without any capability.
bool readableWithoutCapabilities(const std::vector<std::string>& paths) noexcept;

}  // namespace sluice
