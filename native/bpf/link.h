#pragma once

#include <cstdint>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Where a program runs. The numbers are defined here since the headers of an older kernel lack
// some; the running kernel may know them.
enum class BpfHook : uint32_t { Xdp = 37, Netfilter = 45, TcxIngress = 46, TcxEgress = 47 };

// Before the programs that are attached to a tcx hook already (BPF_F_BEFORE).
constexpr uint32_t BPF_LINK_FIRST = 1u << 3;

// Attaches a program to an interface of the calling thread's namespace; it is detached when
// `*attached` closes. `flags` are the hook's: BPF_LINK_FIRST, XDP_FLAGS_….
//
// Errors: System, "BPF_LINK_CREATE".
Status attachProgram(int program, uint32_t interfaceIndex, BpfHook hook, uint32_t flags,
                     Descriptor* attached) noexcept;

// Attaches a netfilter program at the forward hook of the calling thread's namespace: NFPROTO_IPV4
// or NFPROTO_IPV6. Of programs with other priorities, the one with the lowest number comes first.
//
// Errors: System, "BPF_LINK_CREATE": EBUSY when the priority is taken, EINVAL when the kernel has
// no
//         such hook for programs.
Status attachForwardProgram(int program, uint32_t family, int32_t priority,
                            Descriptor* attached) noexcept;

// Puts a program in the place of the one that a link has attached. Errors: System,
// "BPF_LINK_UPDATE".
Status exchangeProgram(int link, int program) noexcept;

// Gives an object a name in a bpf file system, where it outlives the process, or opens it there.
//
// Errors: System, "BPF_OBJ_PIN", "BPF_OBJ_GET": ENOENT when there is none.
Status pin(int fd, const char* path) noexcept;
Status openPinned(const char* path, Descriptor* object) noexcept;

// Whether a descriptor keeps a program attached to this interface, at this hook.
[[nodiscard]] bool isAttached(int fd, uint32_t interfaceIndex, BpfHook hook) noexcept;

}  // namespace sluice
