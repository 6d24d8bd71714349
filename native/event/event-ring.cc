#include "native/event/event-ring.h"

#include <bit>
#include <new>

namespace sluice {

Status EventRing::create(uint32_t capacity, std::unique_ptr<EventRing>* ring) noexcept {
  if (!std::has_single_bit(capacity) || capacity > 1u << 20) return {StatusCode::Argument};
  std::unique_ptr<EventRing> made(new (std::nothrow) EventRing(capacity));
  if (made == nullptr) return {StatusCode::Limit};
  made->events_.reset(new (std::nothrow) FlowEvent[capacity]);
  if (made->events_ == nullptr) return {StatusCode::Limit};
  *ring = std::move(made);
  return {};
}

}  // namespace sluice
