#pragma once

#include <vector>

#include "native/bpf/image.h"
#include "native/packet/status.h"

namespace sluice {

// Appends the symbols of a wire's program that follow from the running kernel. Where the kernel has
// no way to read a frame's offload, from Linux 6.2 on, the program sends every frame up.
//
// Errors: as KernelTypes::read(); Argument when the kernel's structures are not as expected.
Status appendWireSymbols(std::vector<BpfSymbol>* symbols) noexcept;

}  // namespace sluice
