#pragma once

#include <memory>
#include <span>

#include "native/bench/meter.h"

namespace sluice::bench {

// One thing to time, set up once and run as often as asked.
class Bench {
 public:
  virtual ~Bench() = default;
  [[nodiscard]] virtual Measured run() noexcept = 0;
  // The memory of what is timed, in bytes.
  [[nodiscard]] virtual size_t memoryBytes() const noexcept = 0;
};

// A benchmark by its name, from the words after it. nullptr when they do not fit; the reason has
// then been printed.
using MakeBench = std::unique_ptr<Bench> (*)(std::span<const char* const> words);

// `TABLE TUPLES WAY`: verdicts of a table. WAY: single, scalar, avx2, fastest or
// classify, which takes the tuples as JavaScript hands them over.
std::unique_ptr<Bench> makeLookupBench(std::span<const char* const> words);
// `FLOWS WAY`: finds in a connection table. WAY: single or batch.
std::unique_ptr<Bench> makeConntrackBench(std::span<const char* const> words);
// `TABLE FLOWS WAY`: the filter over frames of established connections to the table's only
// endpoint, 100.64.0.1, which may be reached on TCP 443. WAY: parse, single or batch.
std::unique_ptr<Bench> makePathBench(std::span<const char* const> words);

}  // namespace sluice::bench
