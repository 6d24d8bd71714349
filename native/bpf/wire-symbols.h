#pragma once

#include <vector>

#include "native/bpf/image.h"
#include "native/packet/status.h"

namespace sluice {

// Appends the symbols of a wire's program that follow from the running kernel: where it has the
// fields of a frame's offload, and how they are read.
//
// Errors: as KernelTypes::read(); Argument when the kernel's structures are not as expected.
Status appendWireSymbols(std::vector<BpfSymbol>* symbols) noexcept;

}  // namespace sluice
