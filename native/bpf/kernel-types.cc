#include "native/bpf/kernel-types.h"

#include <fcntl.h>
#include <linux/btf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "native/host/descriptor.h"

namespace sluice {
namespace {

// Kinds that headers of an older kernel lack.
constexpr uint32_t KIND_DECL_TAG = 17;
constexpr uint32_t KIND_TYPE_TAG = 18;
constexpr uint32_t KIND_ENUM64 = 19;
constexpr uint32_t UNKNOWN = UINT32_MAX;
constexpr size_t TYPE_BYTES = sizeof(btf_type);
// A member of a member of a member…
constexpr int DEPTH_MAX = 8;

uint32_t kindOf(uint32_t info) noexcept { return info >> 24 & 0x1f; }
uint32_t countOf(uint32_t info) noexcept { return info & 0xffff; }

// Bytes behind a type's head.
uint32_t tailBytes(uint32_t info) noexcept {
  const uint32_t count = countOf(info);
  switch (kindOf(info)) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case KIND_DECL_TAG:
      return 4;
    case BTF_KIND_ARRAY:
      return sizeof(btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      return count * sizeof(btf_member);
    case BTF_KIND_ENUM:
    case BTF_KIND_FUNC_PROTO:
      return count * 8;
    case BTF_KIND_DATASEC:
    case KIND_ENUM64:
      return count * 12;
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case KIND_TYPE_TAG:
      return 0;
    default:
      return UNKNOWN;
  }
}

// Reads a whole file of the kernel's, into memory that nothing has filled before: it is several
// megabytes, and is read at every start.
Status readFile(const char* path, std::unique_ptr<std::byte[]>* memory, size_t* size) noexcept {
  const Descriptor file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return Status::system("open /sys/kernel/btf/vmlinux", errno);
  struct statx found = {};
  if (statx(file.get(), "", AT_EMPTY_PATH, STATX_SIZE, &found) != 0) {
    return Status::system("statx /sys/kernel/btf/vmlinux", errno);
  }
  const auto wanted = static_cast<size_t>(found.stx_size);
  memory->reset(new (std::nothrow) std::byte[wanted]);
  if (*memory == nullptr) return {StatusCode::Limit};
  for (*size = 0; *size < wanted;) {
    const ssize_t got = ::read(file.get(), memory->get() + *size, wanted - *size);
    if (got < 0) return Status::system("read /sys/kernel/btf/vmlinux", errno);
    if (got == 0) break;
    *size += static_cast<size_t>(got);
  }
  return {};
}

}  // namespace

Status KernelTypes::read(KernelTypes* types) noexcept {
  KernelTypes made;
  size_t size = 0;
  const Status status = readFile("/sys/kernel/btf/vmlinux", &made.memory_, &size);
  if (!status.ok()) return status;
  made.bytes_ = {made.memory_.get(), size};
  if (!made.index()) return {StatusCode::Argument};
  *types = std::move(made);
  return {};
}

bool KernelTypes::index() noexcept {
  btf_header header;
  if (bytes_.size() < sizeof header) return false;
  std::memcpy(&header, bytes_.data(), sizeof header);
  const uint64_t typesAt = uint64_t{header.hdr_len} + header.type_off;
  const uint64_t stringsAt = uint64_t{header.hdr_len} + header.str_off;
  if (header.magic != BTF_MAGIC || typesAt + header.type_len > bytes_.size() ||
      stringsAt + header.str_len > bytes_.size()) {
    return false;
  }
  strings_ = bytes_.subspan(stringsAt, header.str_len);
  types_.reserve(header.type_len / TYPE_BYTES);
  types_.push_back(0);
  const uint64_t end = typesAt + header.type_len;
  for (uint64_t at = typesAt; at + TYPE_BYTES <= end;) {
    const uint32_t tail = tailBytes(word(at + offsetof(btf_type, info)));
    if (tail == UNKNOWN || at + TYPE_BYTES + tail > end) return false;
    types_.push_back(static_cast<uint32_t>(at));
    at += TYPE_BYTES + tail;
  }
  return true;
}

uint32_t KernelTypes::word(size_t at) const noexcept {
  uint32_t value;
  std::memcpy(&value, bytes_.data() + at, sizeof value);
  return value;
}

std::string_view KernelTypes::text(uint32_t at) const noexcept {
  if (at >= strings_.size()) return {};
  const char* const start = reinterpret_cast<const char*>(strings_.data()) + at;
  return {start, strnlen(start, strings_.size() - at)};
}

uint32_t KernelTypes::find(uint32_t kind, std::string_view name) const noexcept {
  for (uint32_t number = 1; number < types_.size(); ++number) {
    const uint32_t at = types_[number];
    if (kindOf(word(at + offsetof(btf_type, info))) == kind &&
        text(word(at + offsetof(btf_type, name_off))) == name) {
      return number;
    }
  }
  return ABSENT;
}

uint32_t KernelTypes::structure(std::string_view name) const noexcept {
  return find(BTF_KIND_STRUCT, name);
}

uint32_t KernelTypes::function(std::string_view name) const noexcept {
  return find(BTF_KIND_FUNC, name);
}

uint32_t KernelTypes::sizeOf(uint32_t structure) const noexcept {
  if (structure == 0 || structure >= types_.size()) return ABSENT;
  return word(types_[structure] + offsetof(btf_type, size));
}

uint32_t KernelTypes::offsetOf(uint32_t structure, std::string_view member) const noexcept {
  const uint32_t bits = bitOffsetOf(structure, member);
  return bits == ABSENT ? ABSENT : bits / 8;
}

uint32_t KernelTypes::bitOffsetOf(uint32_t structure, std::string_view member) const noexcept {
  struct Step {
    uint32_t type;
    uint32_t offset;
    int depth;
  };
  std::vector<Step> waiting = {{structure, 0, 0}};
  while (!waiting.empty()) {
    const Step step = waiting.back();
    waiting.pop_back();
    if (step.type == 0 || step.type >= types_.size() || step.depth > DEPTH_MAX) continue;
    const uint32_t at = types_[step.type];
    const uint32_t info = word(at + offsetof(btf_type, info));
    if (kindOf(info) != BTF_KIND_STRUCT && kindOf(info) != BTF_KIND_UNION) continue;
    const bool hasBitfields =
        info >> 31 != 0;  // then the upper byte of an offset is a size in bits
    for (uint32_t index = 0; index < countOf(info); ++index) {
      const size_t place = at + TYPE_BYTES + index * sizeof(btf_member);
      const uint32_t bits = word(place + offsetof(btf_member, offset));
      const uint32_t offset = step.offset + (hasBitfields ? bits & 0xffffff : bits);
      const std::string_view name = text(word(place + offsetof(btf_member, name_off)));
      if (name == member) return offset;
      if (name.empty()) {
        waiting.push_back({word(place + offsetof(btf_member, type)), offset, step.depth + 1});
      }
    }
  }
  return ABSENT;
}

}  // namespace sluice
