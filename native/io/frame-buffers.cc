#include "native/io/frame-buffers.h"

#include <cstdlib>
#include <new>

namespace sluice {

void FrameBuffers::Free::operator()(std::byte* memory) const noexcept { std::free(memory); }

Status FrameBuffers::create(std::shared_ptr<FrameBuffers>* buffers) noexcept {
  auto made = std::make_shared<FrameBuffers>();
  made->memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, STRIDE * BATCH_FRAMES_MAX)));
  if (made->memory_ == nullptr) return {StatusCode::Limit};
  *buffers = std::move(made);
  return {};
}

}  // namespace sluice
