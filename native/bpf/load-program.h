#pragma once

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sluice {

// Loads a BPF program, and returns its descriptor, or -1 with errno.
//
// The kernel gives up on checking a program when a signal is pending for the thread, and says
// EAGAIN: a child that ends, a reload or a profiler at the wrong moment is no reason to do without
// an interface.
template <typename Attributes>
int loadProgram(const Attributes* load) noexcept {
  constexpr int TRIES_MAX = 100;
  for (int tries = 1;; ++tries) {
    const long made = syscall(SYS_bpf, BPF_PROG_LOAD, load, sizeof *load);
    if (made >= 0 || errno != EAGAIN || tries == TRIES_MAX) return static_cast<int>(made);
  }
}

}  // namespace sluice
