#include "native/testing/shared-memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "native/bpf/map.h"

namespace sluice::testing {

SharedMemory::SharedMemory(uint32_t entriesMax) {
  const auto make = [this](uint32_t bytes, uint32_t count, Descriptor* memory) {
    const Status status =
        createMap({BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), bytes, count, BPF_F_MMAPABLE}, memory);
    if (status.ok() || status.error != EPERM) return;
    mapped_ = false;
    memory->reset(memfd_create("sluice", MFD_CLOEXEC));
    if (memory->valid() && ftruncate(memory->get(), off_t{bytes} * count) != 0) memory->reset(-1);
  };
  make(sizeof(SluiceConn), entriesMax, &entries_);
  make(sizeof(SluiceConnBucket), ConnTable::bucketsFor(entriesMax), &buckets_);
  descriptors_ = {entries_.get(), buckets_.get()};
}

}  // namespace sluice::testing
