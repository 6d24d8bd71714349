#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Makes a map whose values are words. Errors: System, "BPF_MAP_CREATE".
Status createMap(bpf_map_type type, uint32_t keyBytes, uint32_t entriesMax,
                 Descriptor* map) noexcept;

struct BpfMapShape {
  bpf_map_type type;
  uint32_t keyBytes;
  uint32_t valueBytes;
  uint32_t entriesMax;
  uint32_t flags;
};

// Makes any map. Errors: System, "BPF_MAP_CREATE".
Status createMap(const BpfMapShape& shape, Descriptor* map) noexcept;

// Makes an array whose values are maps of one shape, none at first.
// Errors: System, "BPF_MAP_CREATE".
Status createArrayOfMaps(const BpfMapShape& shapeOfOne, uint32_t entriesMax,
                         Descriptor* map) noexcept;

// Reads an entry: of a map for each processor, the values of all that are possible.
// Errors: System, "BPF_MAP_LOOKUP_ELEM".
Status readFromMap(int map, const void* key, void* value) noexcept;

// How many values a map for each processor has: of all that the machine could have, as in `0-3`.
// Errors: System, "read /sys/devices/system/cpu/possible"; Argument when it cannot be understood.
Status possibleProcessors(size_t* count) noexcept;

// Writes an entry; `flags` are the kernel's: BPF_NOEXIST, ….
// Errors: System, "BPF_MAP_UPDATE_ELEM".
Status putInMap(int map, const void* key, const void* value, uint64_t flags) noexcept;
Status putInMap(int map, const void* key, uint32_t value) noexcept;

// Writes several entries of words. In an array of maps the kernel waits for its programs once, not
// for each, from Linux 6.8 on. Errors: System, "BPF_MAP_UPDATE_ELEM".
Status putInMap(int map, std::span<const uint32_t> keys, const uint32_t* values) noexcept;

// Removes an entry; one that is not there is no error. Errors: System, "BPF_MAP_DELETE_ELEM".
Status removeFromMap(int map, const void* key) noexcept;

// Finds the key that follows another, or the first one with no other; false at the end.
[[nodiscard]] bool nextInMap(int map, const void* key, void* next) noexcept;

[[nodiscard]] bool isMap(int fd, bpf_map_type type) noexcept;
[[nodiscard]] bool isMap(int fd, const BpfMapShape& shape) noexcept;

}  // namespace sluice
