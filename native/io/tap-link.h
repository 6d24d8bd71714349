#pragma once

#include <memory>
#include <string>

#include "native/io/frame-buffers.h"
#include "native/io/link.h"

namespace sluice {

// A TAP interface, by its descriptor: one frame a system call; superframes stay whole.
//
// A read that finds no frame costs as much as half a frame. So receive() asks for as many frames as
// came last time, and for more when that many came several times in a row.
//
// Owner: the descriptor; the interface goes with it.
class TapLink final : public Link {
 public:
  // Shape: `fd` does not block, and has an Offload header before every frame.
  TapLink(int fd, std::shared_ptr<FrameBuffers> buffers) noexcept;
  // Continues with a queue of a TAP named `interface`. Without `receives` it only sends; another
  // link has a copy of the descriptor and receives.
  //
  // Owner:  takes `fd`, also when it fails.
  // Errors: Argument when `fd` is not such a queue.
  static Status adopt(int fd, const std::string& interface, bool receives,
                      std::shared_ptr<FrameBuffers> buffers,
                      std::unique_ptr<TapLink>* link) noexcept;
  ~TapLink() override;
  TapLink(const TapLink&) = delete;
  TapLink& operator=(const TapLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override {}
  bool transmit(const Frame& frame) noexcept override;
  size_t flush() noexcept override { return 0; }
  [[nodiscard]] bool recover() noexcept override { return false; }
  [[nodiscard]] int descriptor() const noexcept override { return receives_ ? fd_ : -1; }
  [[nodiscard]] bool appendHandoff(std::vector<LinkHandoff>* queues) const override;
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }

 private:
  int fd_;
  bool receives_ = true;
  std::shared_ptr<FrameBuffers> buffers_;
  size_t expected_ = 1;     // frames that the next receive() asks for
  uint32_t fulfilled_ = 0;  // times in a row that all of them came
};

}  // namespace sluice
