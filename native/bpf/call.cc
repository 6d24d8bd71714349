#include "native/bpf/call.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace sluice {

bpf_attr noAttributes() noexcept {
  bpf_attr attributes;
  std::memset(&attributes, 0, sizeof attributes);
  return attributes;
}

int callBpf(bpf_cmd command, bpf_attr* attributes) noexcept {
  return static_cast<int>(syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

}  // namespace sluice
