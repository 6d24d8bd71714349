#include "native/bpf/ring.h"

#include <sys/mman.h>

namespace sluice {

Status BpfRing::map(int fd, size_t bytes) noexcept {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  Status status = read_.map(fd, page, PROT_READ | PROT_WRITE, 0);
  if (status.ok()) status = written_.map(fd, page + 2 * bytes, PROT_READ, page);
  if (!status.ok()) return status;
  records_ = written_.data() + page;
  bytes_ = bytes;
  return {};
}

}  // namespace sluice
