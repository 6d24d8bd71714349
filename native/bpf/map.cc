#include "native/bpf/map.h"

#include <cerrno>

#include "native/bpf/call.h"

namespace sluice {

Status createMap(bpf_map_type type, uint32_t keyBytes, uint32_t entriesMax,
                 Descriptor* map) noexcept {
  const uint32_t flags = type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0;
  return createMap({type, keyBytes, sizeof(uint32_t), entriesMax, flags}, map);
}

Status createMap(const BpfMapShape& shape, Descriptor* map) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_type = shape.type;
  attributes.key_size = shape.keyBytes;
  attributes.value_size = shape.valueBytes;
  attributes.max_entries = shape.entriesMax;
  attributes.map_flags = shape.flags;
  map->reset(callBpf(BPF_MAP_CREATE, &attributes));
  return map->valid() ? Status{} : Status::system("BPF_MAP_CREATE", errno);
}

Status readFromMap(int map, const void* key, void* value) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = reinterpret_cast<uint64_t>(key);
  attributes.value = reinterpret_cast<uint64_t>(value);
  if (callBpf(BPF_MAP_LOOKUP_ELEM, &attributes) == 0) return {};
  return Status::system("BPF_MAP_LOOKUP_ELEM", errno);
}

Status putInMap(int map, const void* key, const void* value, uint64_t flags) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = reinterpret_cast<uint64_t>(key);
  attributes.value = reinterpret_cast<uint64_t>(value);
  attributes.flags = flags;
  if (callBpf(BPF_MAP_UPDATE_ELEM, &attributes) == 0) return {};
  return Status::system("BPF_MAP_UPDATE_ELEM", errno);
}

Status putInMap(int map, const void* key, uint32_t value) noexcept {
  return putInMap(map, key, &value, BPF_ANY);
}

Status removeFromMap(int map, const void* key) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = reinterpret_cast<uint64_t>(key);
  if (callBpf(BPF_MAP_DELETE_ELEM, &attributes) == 0 || errno == ENOENT) return {};
  return Status::system("BPF_MAP_DELETE_ELEM", errno);
}

bool nextInMap(int map, const void* key, void* next) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = reinterpret_cast<uint64_t>(key);
  attributes.next_key = reinterpret_cast<uint64_t>(next);
  return callBpf(BPF_MAP_GET_NEXT_KEY, &attributes) == 0;
}

bool isMap(int fd, bpf_map_type type) noexcept {
  bpf_map_info info = {};
  return readBpfInfo(fd, &info) && info.type == type;
}

bool isMap(int fd, const BpfMapShape& shape) noexcept {
  bpf_map_info info = {};
  return readBpfInfo(fd, &info) && info.type == shape.type && info.key_size == shape.keyBytes &&
         info.value_size == shape.valueBytes && info.max_entries == shape.entriesMax &&
         info.map_flags == shape.flags;
}

}  // namespace sluice
