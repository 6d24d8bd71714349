#pragma once

#include <cstddef>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// Checks the cold sections of a blob, which are read for events and questions: every text, list and
// number in them leads to what is there.
//
// Shape:  the header has been checked, and that each section lies inside the blob.
// Cost:   one pass over them; row lists share no elements, so that no blob makes it longer.
// Errors: TableBounds.
[[nodiscard]] StatusCode checkProvenance(std::span<const std::byte> blob,
                                         const TableHeader& header) noexcept;

}  // namespace sluice
