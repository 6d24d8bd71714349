#pragma once

#include <linux/bpf.h>

#include <cstdint>

namespace sluice {

// Empty attributes. All bytes are zero, also those for other commands: the kernel refuses unknown
// bytes that are set.
[[nodiscard]] bpf_attr noAttributes() noexcept;

// Makes the system call and returns its result: a descriptor or 0, or -1 with errno.
int callBpf(bpf_cmd command, bpf_attr* attributes) noexcept;

// Reads the kernel's information about a map, a program or a link; false when it gives none.
template <typename Info>
bool readBpfInfo(int fd, Info* info) noexcept {
  bpf_attr query = noAttributes();
  query.info.bpf_fd = static_cast<uint32_t>(fd);
  query.info.info_len = sizeof *info;
  query.info.info = reinterpret_cast<uint64_t>(info);
  return callBpf(BPF_OBJ_GET_INFO_BY_FD, &query) == 0;
}

}  // namespace sluice
