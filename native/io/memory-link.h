#pragma once

#include <memory>
#include <vector>

#include "native/io/link.h"
#include "native/layout/layout.gen.h"

namespace sluice {

// A link whose other side is the caller, who puts frames in and takes them out. For tests, and for
// frames from a file.
class MemoryLink final : public Link {
 public:
  // Takes memory for `capacity` frames each way, of FRAME_BYTES_MAX each.
  MemoryLink(size_t capacity, bool carriesOffload);

  // Makes a copy of `frame` arrive; false when `capacity` frames are waiting already.
  bool arrive(const Frame& frame) noexcept;

  // Frames flushed since clearSent(), oldest first. Owner: valid until clearSent().
  [[nodiscard]] std::span<const Frame> sent() const noexcept {
    return {out_.frames.data(), flushed_};
  }
  void clearSent() noexcept;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override;
  bool transmit(const Frame& frame) noexcept override;
  size_t flush() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return carriesOffload_; }

 private:
  struct Store {
    explicit Store(size_t capacity);
    [[nodiscard]] bool push(const Frame& frame) noexcept;
    std::vector<std::byte> bytes;
    std::vector<Frame> frames;
    size_t count = 0;
  };

  Store in_;
  Store out_;
  size_t taken_ = 0;
  size_t flushed_ = 0;
  bool carriesOffload_;
};

}  // namespace sluice
