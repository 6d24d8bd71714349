#pragma once

#include <cstddef>
#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// Checks the cold sections of a blob, which are read only for events and questions: every reference
// in them to a text, list or number is valid.
//
// Shape:  the caller has checked the header, and that each section lies inside the blob.
// Cost:   one pass over these sections. Row lists may not share elements, so no blob can make the
//         pass longer.
// Errors: TableBounds.
[[nodiscard]] StatusCode checkProvenance(std::span<const std::byte> blob,
                                         const TableHeader& header) noexcept;

}  // namespace sluice
