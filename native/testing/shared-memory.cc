#include "native/testing/shared-memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "native/bpf/map.h"

namespace sluice::testing {

SharedMemory::SharedMemory(uint32_t entriesMax) {
  const uint32_t buckets = ConnTable::bucketsFor(entriesMax);
  const Status status = ConnRooms::create(1, entriesMax, &rooms_);
  if (status.ok()) {
    (void)createMap(
        {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(SluiceConnBucket), buckets, BPF_F_MMAPABLE},
        &buckets_);
    descriptors_ = {rooms_->room(0), buckets_.get()};
  } else if (status.error == EPERM) {
    plain_ = std::make_unique<PlainRoom>(entriesMax);
    buckets_.reset(memfd_create("sluice", MFD_CLOEXEC));
    const auto bytes = static_cast<off_t>(sizeof(SluiceConnBucket) * buckets);
    if (buckets_.valid() && ftruncate(buckets_.get(), bytes) != 0) buckets_.reset(-1);
    descriptors_ = {plain_.get(), buckets_.get()};
  }
}

}  // namespace sluice::testing
