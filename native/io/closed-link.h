#pragma once

#include "native/io/link.h"

namespace sluice {

// A placeholder for a link without an interface: it receives no frame and sends none.
class ClosedLink final : public Link {
 public:
  size_t receive(std::span<Frame>) noexcept override { return 0; }
  void release() noexcept override {}
  bool transmit(const Frame&) noexcept override { return false; }
  size_t flush() noexcept override { return 0; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }
};

}  // namespace sluice
