#include <pthread.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "native/event/event-ring.h"
#include "native/event/frame-ring.h"
#include "native/event/notifier.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

FlowEvent numbered(uint32_t number) {
  FlowEvent event = {};
  event.frameBytes = number;
  return event;
}

TEST("event: a capacity that is no power of two is refused") {
  std::unique_ptr<EventRing> ring;
  CHECK(EventRing::create(0, &ring).code == StatusCode::Argument);
  CHECK(EventRing::create(100, &ring).code == StatusCode::Argument);
  CHECK(EventRing::create(1u << 21, &ring).code == StatusCode::Argument);
  CHECK(ring == nullptr);
}

TEST("event: events come out in order, across the end of the ring") {
  std::unique_ptr<EventRing> ring;
  REQUIRE(EventRing::create(8, &ring).ok());
  std::array<FlowEvent, 5> out;
  uint32_t pushed = 0;
  uint32_t drained = 0;
  for (int turn = 0; turn < 7; ++turn) {
    for (int each = 0; each < 5; ++each) ring->push(numbered(pushed++));
    REQUIRE(ring->drain(out) == 5);
    for (const FlowEvent& event : out) CHECK(event.frameBytes == drained++);
  }
  CHECK(ring->drain(out) == 0);
  CHECK(ring->lost() == 0);
}

TEST("event: a full ring loses, counts, and the next record tells") {
  std::unique_ptr<EventRing> ring;
  REQUIRE(EventRing::create(4, &ring).ok());
  for (uint32_t number = 0; number < 7; ++number) ring->push(numbered(number));
  CHECK(ring->lost() == 3);
  std::array<FlowEvent, 8> out;
  REQUIRE(ring->drain(out) == 4);
  CHECK(out[3].frameBytes == 3);
  CHECK(out[3].lostBefore == 0);
  ring->push(numbered(7));
  ring->push(numbered(8));
  REQUIRE(ring->drain(out) == 2);
  CHECK(out[0].lostBefore == 3);
  CHECK(out[1].lostBefore == 0);
}

TEST(
    "event: dropped frames are kept with their events, cut, in order, and the next one tells of "
    "lost ones") {
  std::unique_ptr<FrameRing> ring;
  CHECK(FrameRing::create(3, &ring).code == StatusCode::Argument);
  REQUIRE(FrameRing::create(2, &ring).ok());
  CHECK(!ring->wanted());
  ring->ask(true);
  CHECK(ring->wanted());
  const std::vector<std::byte> large(DROPPED_FRAME_BYTES + 9, std::byte{7});
  const std::array<std::byte, 3> small = {std::byte{1}, std::byte{2}, std::byte{3}};
  ring->push(numbered(1), large);
  ring->push(numbered(2), small);
  ring->push(numbered(3), small);
  std::array<DroppedFrame, 4> out;
  const auto eventOf = [](const DroppedFrame& frame) {
    FlowEvent event;
    std::memcpy(&event, frame.event, sizeof event);
    return event;
  };
  REQUIRE(ring->drain(out) == 2);
  CHECK(eventOf(out[0]).frameBytes == 1);
  CHECK(out[0].capturedBytes == DROPPED_FRAME_BYTES);
  CHECK(out[0].frame[DROPPED_FRAME_BYTES - 1] == 7);
  CHECK(eventOf(out[1]).frameBytes == 2);
  CHECK(out[1].capturedBytes == 3);
  CHECK(out[1].frame[2] == 3);
  ring->push(numbered(4), {});
  REQUIRE(ring->drain(out) == 1);
  CHECK(eventOf(out[0]).frameBytes == 4);
  CHECK(eventOf(out[0]).lostBefore == 1);
  CHECK(out[0].capturedBytes == 0);
}

// Goal: nothing is torn, doubled or out of order while one thread pushes and another drains.
// Method: each event's fields repeat its number; what is missing must be counted as lost.
TEST("event: a writer and a reader at the same time") {
  constexpr uint32_t COUNT = 200'000;
  std::unique_ptr<EventRing> ring;
  REQUIRE(EventRing::create(256, &ring).ok());
  pthread_t writer;
  const auto body = [](void* context) -> void* {
    auto* into = static_cast<EventRing*>(context);
    for (uint32_t number = 1; number <= COUNT; ++number) {
      FlowEvent event = numbered(number);
      event.timeUs = number;
      into->push(event);
      if (number % 1'024 == 0) sched_yield();
    }
    return nullptr;
  };
  REQUIRE(pthread_create(&writer, nullptr, body, ring.get()) == 0);
  std::array<FlowEvent, 64> out;
  uint64_t expected = 1;
  uint64_t received = 0;
  bool inOrder = true;
  const auto take = [&] {
    const size_t count = ring->drain(out);
    for (size_t index = 0; index < count; ++index) {
      expected += out[index].lostBefore;
      inOrder = inOrder && out[index].timeUs == expected && out[index].frameBytes == expected;
      ++expected;
    }
    received += count;
    return count;
  };
  while (ring->pushed() + ring->lost() < COUNT) take();
  pthread_join(writer, nullptr);
  while (take() > 0) continue;
  CHECK(inOrder);
  CHECK(received + ring->lost() == COUNT);
  CHECK(received > 0);
}

TEST(
    "event: a notifier says that events wait, again where it could not, and is silent at the end") {
  std::atomic<uint64_t> pushed = 0;
  std::atomic<uint32_t> asked = 0;
  std::atomic<uint32_t> said = 0;
  std::unique_ptr<Notifier> notifier;
  const auto notify = [&] {
    if (asked++ < 2) return false;  // the queue is full
    ++said;
    return true;
  };
  REQUIRE(Notifier::start([&] { return pushed.load(); }, notify, &notifier).ok());
  pushed = 3;
  while (said == 0) sched_yield();
  CHECK(asked == 3);
  pushed = 4;
  while (said == 1) sched_yield();
  notifier.reset();
  pushed = 5;
  CHECK(said == 2 && asked == 4);
}

}  // namespace
}  // namespace sluice
