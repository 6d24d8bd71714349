#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "native/bpf/programs/wire.h"
#include "native/io/link.h"
#include "native/io/tap-link.h"
#include "native/io/wire-side.h"

namespace sluice {

// An existing interface by a program (native/bpf/programs/wire.bpf.c): frames of admitted
// connections pass in the kernel. The others come up by a TAP, one queue for each worker, and what
// is written into it leaves by the interface.
//
// Owner: the TAP's queue. The side is shared with the links of the other workers.
class KernelLink final : public Link {
 public:
  // Shape: `way` is this worker's, of this side; nullptr for a predecessor's queue that a worker
  // has
  //        besides its own, to which nothing comes any more. The first worker's link tells what is
  //        the side's: counts, and the frames' partner.
  KernelLink(std::unique_ptr<TapLink> tap, SluiceWireWay* way, std::shared_ptr<WireSide> side,
             bool first) noexcept
      : tap_(std::move(tap)), way_(way), side_(std::move(side)), first_(first) {
    side_->addQueue();
  }
  ~KernelLink() override { side_->removeQueue(emptied_ == side_->beginning()); }
  KernelLink(const KernelLink&) = delete;
  KernelLink& operator=(const KernelLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override;
  bool transmit(const Frame& frame) noexcept override { return tap_->transmit(frame); }
  size_t flush() noexcept override { return tap_->flush(); }
  [[nodiscard]] int descriptor() const noexcept override { return tap_->descriptor(); }
  [[nodiscard]] bool recover() noexcept override { return false; }
  [[nodiscard]] uint64_t lostFrames() noexcept override { return kernelCounts().lostFrames; }
  [[nodiscard]] uint32_t interfaceIndex() const noexcept override {
    return side_->interfaceIndex();
  }
  [[nodiscard]] bool appendHandoff(std::vector<LinkHandoff>* queues) const override;
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }
  [[nodiscard]] bool passesInKernel() const noexcept override { return true; }
  Status passTo(const WirePartner& partner) noexcept override {
    return first_ ? side_->join(partner) : Status{};
  }
  [[nodiscard]] KernelCounts kernelCounts() const noexcept override {
    return first_ ? side_->counts() : KernelCounts{};
  }

 private:
  size_t receiveUncounted(std::span<Frame> frames) noexcept;
  void noticeLoss() noexcept;

  std::unique_ptr<TapLink> tap_;
  SluiceWireWay* way_;
  std::shared_ptr<WireSide> side_;
  bool first_;
  uint32_t taken_ = 0;
  // When the queue was first found empty with this many frames missing.
  uint64_t missingSinceNs_ = 0;
  uint32_t missing_ = 0;
  uint32_t sentThen_ = 0;
  // The last beginning of the side whose waiting frames this queue is rid of; all queues are, as
  // seen here; and of which nothing is on its way any more.
  uint32_t emptied_ = 0;
  uint32_t allEmptied_ = 0;
  uint32_t over_ = 0;
};

}  // namespace sluice
