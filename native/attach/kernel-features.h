#pragma once

#include <array>
#include <cstddef>

namespace sluice {

// What the data plane would ask of this kernel, in this process.
enum class KernelFeature {
  PacketSocket,  // AF_PACKET
  XdpSocket,     // AF_XDP
  Tun,           // /dev/net/tun
  LoadProgram,   // bpf(BPF_PROG_LOAD) of a program for tc
  AttachTcx,     // a bpf link on an interface's ingress
  Seccomp,
  Count
};

// Tries each of them, and leaves nothing behind.
//
// Shape: by KernelFeature: 0 when it works, else the errno of the refusal.
// Cost:  a few system calls each.
std::array<int, static_cast<size_t>(KernelFeature::Count)> tryKernelFeatures() noexcept;

}  // namespace sluice
