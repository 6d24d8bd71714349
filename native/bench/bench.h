#pragma once

#include <memory>
#include <span>
#include <string>

#include "native/bench/meter.h"
#include "native/layout/layout.gen.h"

namespace sluice::bench {

// One thing to time, set up once and run as often as asked.
class Bench {
 public:
  virtual ~Bench() = default;
  [[nodiscard]] virtual Measured run() noexcept = 0;
  // Does everything once without looking at a clock, for who counts instructions. Returns how many
  // items that were; 0 when this benchmark cannot.
  [[nodiscard]] virtual size_t pass() noexcept { return 0; }
  // The memory of what is timed, in bytes.
  [[nodiscard]] virtual size_t memoryBytes() const noexcept = 0;
  // What else the last run has to say, as JSON; empty when nothing.
  [[nodiscard]] virtual std::string detail() const { return {}; }
};

// A benchmark that does the same to each batch of a list.
class ListBench : public Bench {
 public:
  [[nodiscard]] Measured run() noexcept final {
    return measure(items(), batch(), [this](size_t at, size_t count) { return work(at, count); });
  }
  [[nodiscard]] size_t pass() noexcept final {
    for (size_t first = 0; first + batch() <= items(); first += batch()) {
      answers_ += work(first, batch());
    }
    return items() / batch() * batch();
  }

 private:
  [[nodiscard]] virtual size_t items() const noexcept = 0;
  [[nodiscard]] virtual size_t batch() const noexcept { return BATCH_FRAMES_MAX; }
  // Handles a batch and returns a sum of its answers.
  virtual uint64_t work(size_t first, size_t count) noexcept = 0;

  uint64_t answers_ = 0;
};

// A benchmark by its name, from the words after it. nullptr when they do not fit; the reason has
// then been printed.
using MakeBench = std::unique_ptr<Bench> (*)(std::span<const char* const> words);

// `TABLE TUPLES WAY`: verdicts of a table. WAY: single, scalar, avx2, fastest or
// classify, which takes the tuples as JavaScript hands them over.
std::unique_ptr<Bench> makeLookupBench(std::span<const char* const> words);
// `FLOWS WAY [LOOKUPS]`: finds in a connection table, WAY: single or batch; what a new connection
// takes (found missing, inserted, removed), WAY: open; or looks for those that have timed out where
// none has, WAY: sweep.
std::unique_ptr<Bench> makeConntrackBench(std::span<const char* const> words);
// `TABLE FLOWS WAY [FRAMES]`: the filter over frames of established connections to the table's only
// endpoint, 100.64.0.1, which may be reached on TCP 443. WAY: parse, single or batch.
std::unique_ptr<Bench> makePathBench(std::span<const char* const> words);
// `TABLE SYNS CONNECTIONS`: a flood of SYNs, each of a connection of its own, to the endpoint of
// makePathBench's table; the filter tracks CONNECTIONS at most. An item is a SYN of the flood. The
// answer counts the established connections that it left alone and the new ones that came to be
// meanwhile: FLOOD_ESTABLISHED and FLOOD_LEGITIMATE when none was lost.
inline constexpr uint32_t FLOOD_ESTABLISHED = 1'000;
inline constexpr uint32_t FLOOD_LEGITIMATE = 1'000;
std::unique_ptr<Bench> makeFloodBench(std::span<const char* const> words);
// `TABLE SECONDS CONNECTIONS`: many pods, each behind a wire, through so many simulated seconds of
// floods and of what else goes on. An item is a frame; detail() says what became of whose
// connections.
std::unique_ptr<Bench> makeMixedFloodBench(std::span<const char* const> words);
// `FLOWS WAY`: finds connections whose names are drawn at `random`, or `chosen` to collide under a
// secret that is not the table's, as somebody would choose them who does not know it.
std::unique_ptr<Bench> makeCollidingBench(std::span<const char* const> words);

}  // namespace sluice::bench
