#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "native/io/link.h"

namespace sluice {

// Several queues of one interface as one link, which sends by the first queue. For a worker that
// takes over the queues of several workers.
//
// Shape: one receive() takes frames of one queue only, so the queues may share frame buffers.
class JoinedLink final : public Link {
 public:
  // Errors: System.
  static Status create(std::vector<std::unique_ptr<Link>> links,
                       std::unique_ptr<JoinedLink>* joined) noexcept;
  ~JoinedLink() override;
  JoinedLink(const JoinedLink&) = delete;
  JoinedLink& operator=(const JoinedLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override { links_[current_]->release(); }
  bool transmit(const Frame& frame) noexcept override { return links_.front()->transmit(frame); }
  size_t flush() noexcept override { return links_.front()->flush(); }
  [[nodiscard]] bool hasUnsent() const noexcept override { return links_.front()->hasUnsent(); }
  [[nodiscard]] int descriptor() const noexcept override { return poll_; }
  [[nodiscard]] bool recover() noexcept override;
  [[nodiscard]] uint32_t interfaceIndex() const noexcept override {
    return links_.front()->interfaceIndex();
  }
  [[nodiscard]] uint64_t lostFrames() noexcept override;
  [[nodiscard]] bool carriesOffload() const noexcept override {
    return links_.front()->carriesOffload();
  }
  [[nodiscard]] bool passesInKernel() const noexcept override {
    return links_.front()->passesInKernel();
  }
  Status passTo(const WirePartner& partner) noexcept override {
    return links_.front()->passTo(partner);
  }
  [[nodiscard]] KernelCounts kernelCounts() const noexcept override {
    return links_.front()->kernelCounts();
  }
  [[nodiscard]] bool appendHandoff(std::vector<LinkHandoff>* queues) const override;

 private:
  explicit JoinedLink(std::vector<std::unique_ptr<Link>> links) noexcept
      : links_(std::move(links)) {}

  std::vector<std::unique_ptr<Link>> links_;
  size_t current_ = 0;
  int poll_ = -1;
};

}  // namespace sluice
