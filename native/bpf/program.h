#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

struct BpfProgramTraits {
  const char* license = "Apache-2.0";
  uint32_t attachType = 0;  // where the type of program wants one
};

// Loads a program.
//
// Errors: System, "BPF_PROG_LOAD"; when the verifier refuses the program, `detail` is the end of
//         its log. EPERM without CAP_BPF, in a user namespace for example.
Status loadProgram(bpf_prog_type type, std::span<const bpf_insn> instructions, Descriptor* program,
                   const BpfProgramTraits& traits = {}) noexcept;

// Runs a program on one packet, as the kernel does for tests: a netfilter program from the packet's
// IP header on, one of an interface from its Ethernet header on.
//
// Errors: System, "BPF_PROG_TEST_RUN".
Status runOnce(int program, std::span<const std::byte> packet, uint32_t* result) noexcept;

// Runs a program of an interface on a frame, as runOnce(). `*mark` is the frame's, before and
// after.
//
// Errors: as runOnce().
Status runFrame(int program, std::span<const std::byte> frame, uint32_t* mark,
                uint32_t* result) noexcept;

// Runs a socket filter on the first bytes of a packet, from its IP header on. `control` is what its
// control buffer begins with, at most five words.
//
// Errors: as runOnce().
Status runSocketFilter(int program, std::span<const std::byte> packet,
                       std::span<const uint32_t> control, uint32_t* result) noexcept;

}  // namespace sluice
