#pragma once

#include <linux/bpf.h>

#include <span>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Loads a program.
//
// Errors: System, "BPF_PROG_LOAD"; when the verifier refuses the program, `detail` is the end of
//         its log. EPERM without CAP_BPF, in a user namespace for example.
Status loadProgram(bpf_prog_type type, std::span<const bpf_insn> instructions,
                   Descriptor* program) noexcept;

}  // namespace sluice
