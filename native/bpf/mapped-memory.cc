#include "native/bpf/mapped-memory.h"

#include <sys/mman.h>

#include <cerrno>

namespace sluice {

Status MappedMemory::map(int fd, size_t bytes, int protection, size_t offset) noexcept {
  void* const at = mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return Status::system("mmap", errno);
  reset();
  data_ = static_cast<std::byte*>(at);
  bytes_ = bytes;
  return {};
}

void MappedMemory::reset() noexcept {
  if (data_ != nullptr) munmap(data_, bytes_);
  data_ = nullptr;
}

}  // namespace sluice
