#include "native/bpf/map.h"

#include <cerrno>

#include "native/bpf/call.h"

namespace sluice {

Status createMap(bpf_map_type type, uint32_t keyBytes, uint32_t entriesMax,
                 Descriptor* map) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_type = type;
  attributes.key_size = keyBytes;
  attributes.value_size = sizeof(uint32_t);
  attributes.max_entries = entriesMax;
  attributes.map_flags = type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0;
  map->reset(callBpf(BPF_MAP_CREATE, &attributes));
  return map->valid() ? Status{} : Status::system("BPF_MAP_CREATE", errno);
}

Status putInMap(int map, const void* key, uint32_t value) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = reinterpret_cast<uint64_t>(key);
  attributes.value = reinterpret_cast<uint64_t>(&value);
  if (callBpf(BPF_MAP_UPDATE_ELEM, &attributes) == 0) return {};
  return Status::system("BPF_MAP_UPDATE_ELEM", errno);
}

bool isMap(int fd, bpf_map_type type) noexcept {
  bpf_map_info info = {};
  return readBpfInfo(fd, &info) && info.type == type;
}

}  // namespace sluice
