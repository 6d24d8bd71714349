#pragma once

#include <memory>

#include "native/io/frame-buffers.h"
#include "native/io/link.h"

namespace sluice {

// A TAP interface, by its descriptor: a frame a system call, superframes whole.
//
// Asking for a frame that is not there costs as much as half a frame. So it asks for as many as
// came last time, and for more when there were as many several times in a row.
//
// Owner: the descriptor; the interface goes with it.
class TapLink final : public Link {
 public:
  // Shape: `fd` does not block, and has an Offload header before every frame.
  TapLink(int fd, std::shared_ptr<FrameBuffers> buffers) noexcept;
  ~TapLink() override;
  TapLink(const TapLink&) = delete;
  TapLink& operator=(const TapLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override {}
  bool transmit(const Frame& frame) noexcept override;
  size_t flush() noexcept override { return 0; }
  [[nodiscard]] bool recover() noexcept override { return false; }
  [[nodiscard]] int descriptor() const noexcept override { return fd_; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }

 private:
  int fd_;
  std::shared_ptr<FrameBuffers> buffers_;
  size_t expected_ = 1;     // frames that the next receive() asks for
  uint32_t fulfilled_ = 0;  // times in a row that there were as many
};

}  // namespace sluice
