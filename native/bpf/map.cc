#include "native/bpf/map.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "native/bpf/call.h"

namespace sluice {
namespace {

// More than a machine has.
constexpr size_t PROCESSORS_MAX = 1 << 16;

}  // namespace

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

Status createArrayOfMaps(const BpfMapShape& shapeOfOne, uint32_t entriesMax,
                         Descriptor* map) noexcept {
  Descriptor one;  // by which the kernel knows the shape
  const Status status = createMap(shapeOfOne, &one);
  if (!status.ok()) return status;
  bpf_attr attributes = noAttributes();
  attributes.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS;
  attributes.key_size = sizeof(uint32_t);
  attributes.value_size = sizeof(uint32_t);
  attributes.max_entries = entriesMax;
  attributes.inner_map_fd = static_cast<uint32_t>(one.get());
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

Status putInMap(int map, std::span<const uint32_t> keys, const uint32_t* values) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.batch.map_fd = static_cast<uint32_t>(map);
  attributes.batch.keys = reinterpret_cast<uint64_t>(keys.data());
  attributes.batch.values = reinterpret_cast<uint64_t>(values);
  attributes.batch.count = static_cast<uint32_t>(keys.size());
  if (callBpf(BPF_MAP_UPDATE_BATCH, &attributes) == 0) return {};
  // Before Linux 5.19 no array of maps takes them together.
  Status status;
  for (size_t at = 0; at < keys.size() && status.ok(); ++at) {
    status = putInMap(map, &keys[at], values[at]);
  }
  return status;
}

Status removeFromMap(int map, const void* key) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = reinterpret_cast<uint64_t>(key);
  if (callBpf(BPF_MAP_DELETE_ELEM, &attributes) == 0 || errno == ENOENT) return {};
  return Status::system("BPF_MAP_DELETE_ELEM", errno);
}

Status possibleProcessors(size_t* count) noexcept {
  const Descriptor file(open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC));
  char text[64] = {};
  const ssize_t got = file.valid() ? read(file.get(), text, sizeof text - 1) : -1;
  if (got <= 0) return Status::system("read /sys/devices/system/cpu/possible", errno);
  size_t largest = 0;
  for (const char* at = text; *at != '\0' && *at != '\n'; ++at) {
    if (*at == '-' || *at == ',') {
      largest = 0;
    } else if (*at >= '0' && *at <= '9' && largest < PROCESSORS_MAX) {
      largest = largest * 10 + static_cast<size_t>(*at - '0');
    } else {
      return {StatusCode::Argument};
    }
  }
  *count = largest + 1;
  return {};
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
