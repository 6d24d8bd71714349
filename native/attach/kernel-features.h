#pragma once

#include <array>
#include <cstddef>

#include "native/layout/layout.gen.h"

namespace sluice {

// Tries each kernel feature that the data plane would use, in this process, and leaves nothing
// behind.
//
// Shape: by KernelFeature: 0 when it works, otherwise the errno.
// Cost:  a few system calls each.
std::array<int, KERNEL_FEATURE_COUNT> tryKernelFeatures() noexcept;

}  // namespace sluice
