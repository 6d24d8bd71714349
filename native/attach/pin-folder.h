#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "native/bpf/map.h"
#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// What a folder of a bpf file system keeps when a process ends: maps, programs and links.

// Opens the map that is pinned there if it has this shape, or makes one and pins it in its place.
// `*isNew` is set when it was made. Errors: System.
Status keepMap(const std::string& place, const BpfMapShape& shape, Descriptor* map,
               bool* isNew = nullptr) noexcept;

// Removes the pins that `goes` names; the folder may be absent. Errors: System.
Status removePins(const std::string& folder,
                  const std::function<bool(std::string_view)>& goes) noexcept;

// The number of the calling thread's network namespace: a part of the names of pins of what is
// attached in it. Errors: System, "statx".
Status networkNamespaceNumber(uint64_t* number) noexcept;

}  // namespace sluice
