#pragma once

#include <array>
#include <cstddef>

#include "native/layout/layout.gen.h"

namespace sluice {

// Tries what the data plane would ask of this kernel, in this process, and leaves nothing behind.
//
// Shape: by KernelFeature: 0 when it works, else the errno of the refusal.
// Cost:  a few system calls each.
std::array<int, KERNEL_FEATURE_COUNT> tryKernelFeatures() noexcept;

}  // namespace sluice
