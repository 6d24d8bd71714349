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
  // Runs once without reading the clock, for instruction counting. Returns the number of items; 0
  // when this benchmark cannot do so.
  [[nodiscard]] virtual size_t pass() noexcept { return 0; }
  // The memory of the timed structure, in bytes.
  [[nodiscard]] virtual size_t memoryBytes() const noexcept = 0;
  // Further results of the last run, as JSON; empty when there are none.
  [[nodiscard]] virtual std::string detail() const { return {}; }
};

// A benchmark that handles a list in batches, all the same way.
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

// Makes a benchmark from the words after its name. nullptr when they are invalid; the reason has
// been printed then.
using MakeBench = std::unique_ptr<Bench> (*)(std::span<const char* const> words);

// `TABLE TUPLES WAY`: verdicts of a table. WAY: single, scalar, avx2, fastest or
// classify, which takes the tuples as JavaScript hands them over.
std::unique_ptr<Bench> makeLookupBench(std::span<const char* const> words);
// `FLOWS WAY [LOOKUPS]`: work on a connection table. WAY single or batch: finds connections. WAY
// open: a new connection (not found, inserted, removed). WAY sweep: looks for timed-out connections
// when there are none.
std::unique_ptr<Bench> makeConntrackBench(std::span<const char* const> words);
// `TABLE FLOWS WAY [FRAMES]`: the filter over frames of established connections to the table's only
// endpoint, 100.64.0.1, which may be reached on TCP 443. WAY: parse, single or batch.
std::unique_ptr<Bench> makePathBench(std::span<const char* const> words);
// `TABLE SYNS CONNECTIONS`: a flood of SYNs, each of a connection of its own, to the endpoint of
// makePathBench's table; the filter tracks CONNECTIONS at most. An item is a SYN of the flood. The
// answer counts the established connections that survived and the new ones that opened meanwhile:
// FLOOD_ESTABLISHED and FLOOD_LEGITIMATE when none was lost.
inline constexpr uint32_t FLOOD_ESTABLISHED = 1'000;
inline constexpr uint32_t FLOOD_LEGITIMATE = 1'000;
std::unique_ptr<Bench> makeFloodBench(std::span<const char* const> words);
// `TABLE SECONDS CONNECTIONS`: many pods, each behind a wire, for SECONDS of simulated time, with
// floods and ordinary traffic. An item is a frame; detail() gives the fate of each pod's
// connections.
std::unique_ptr<Bench> makeMixedFloodBench(std::span<const char* const> words);
// `FLOWS WAY`: finds connections whose names are drawn at `random`, or `chosen` to collide under
// another secret than the table's, as an attacker without the secret would choose them.
std::unique_ptr<Bench> makeCollidingBench(std::span<const char* const> words);

}  // namespace sluice::bench
