#pragma once

#include <cstddef>
#include <vector>

namespace sluice::bench {

// Reads a whole file; false when that is not possible, and the reason has been printed.
[[nodiscard]] bool readFile(const char* path, std::vector<std::byte>* bytes) noexcept;

}  // namespace sluice::bench
