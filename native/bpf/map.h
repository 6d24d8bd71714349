#pragma once

#include <linux/bpf.h>

#include <cstdint>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Makes a map whose values are words. Errors: System, "BPF_MAP_CREATE".
Status createMap(bpf_map_type type, uint32_t keyBytes, uint32_t entriesMax,
                 Descriptor* map) noexcept;

// Errors: System, "BPF_MAP_UPDATE_ELEM".
Status putInMap(int map, const void* key, uint32_t value) noexcept;

[[nodiscard]] bool isMap(int fd, bpf_map_type type) noexcept;

}  // namespace sluice
