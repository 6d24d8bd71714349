#pragma once

#include <time.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace sluice::bench {

[[nodiscard]] inline uint64_t nowNs(clockid_t clock = CLOCK_MONOTONIC) noexcept {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Resident memory of this process now, in bytes; 0 when the system does not report it. Of
// smaps_rollup: the counters of statm are behind by dozens of pages for each processor.
[[nodiscard]] inline unsigned long long residentBytes() noexcept {
  std::FILE* file = std::fopen("/proc/self/smaps_rollup", "r");
  if (file == nullptr) return 0;
  unsigned long long kibibytes = 0;
  std::array<char, 256> line = {};
  while (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr &&
         std::sscanf(line.data(), "Rss: %llu kB", &kibibytes) != 1) {
  }
  std::fclose(file);
  return kibibytes * 1'024;
}

// Counts durations in buckets that are at most an eighth of their value wide.
//
// Units: nanoseconds.
class Histogram {
 public:
  void add(uint64_t value) noexcept {
    ++counts_[bucketOf(value)];
    ++total_;
  }

  // The upper end of the bucket in which the share `part` of all values is reached.
  [[nodiscard]] uint64_t percentile(double part) const noexcept {
    const auto wanted = static_cast<uint64_t>(part * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
      seen += counts_[bucket];
      if (seen > wanted) return endOf(bucket);
    }
    return 0;
  }

 private:
  static constexpr size_t STEPS = 8;

  static size_t bucketOf(uint64_t value) noexcept {
    if (value < STEPS) return value;
    const auto shift = static_cast<size_t>(std::bit_width(value)) - 4;
    return (shift + 1) * STEPS + ((value >> shift) & (STEPS - 1));
  }
  static uint64_t endOf(size_t bucket) noexcept {
    if (bucket < STEPS) return bucket;
    const size_t shift = bucket / STEPS - 1;
    return ((STEPS + bucket % STEPS + 1) << shift) - 1;
  }

  std::array<uint64_t, 62 * STEPS> counts_ = {};
  uint64_t total_ = 0;
};

// The result of one run of a benchmark.
struct Measured {
  double nsPerItem = 0;
  double p50 = 0;  // of an item, in the median batch
  double p99 = 0;
  uint64_t answers = 0;  // a sum over all answers: equal for equal work
};

// Times `items` items in batches, twice. For the mean: without a pause, in the thread's CPU time,
// so that time taken by other threads does not count. For the percentiles: reading the clock after
// each batch.
//
// Shape: work(first, count) handles a batch and returns a sum of its answers.
template <typename Work>
[[nodiscard]] Measured measure(size_t items, size_t batch, Work&& work) noexcept {
  Measured measured;
  const uint64_t start = nowNs(CLOCK_THREAD_CPUTIME_ID);
  for (size_t first = 0; first < items; first += batch) {
    measured.answers += work(first, first + batch <= items ? batch : items - first);
  }
  measured.nsPerItem =
      static_cast<double>(nowNs(CLOCK_THREAD_CPUTIME_ID) - start) / static_cast<double>(items);

  Histogram histogram;
  uint64_t again = 0;
  uint64_t before = nowNs();
  for (size_t first = 0; first + batch <= items; first += batch) {
    again += work(first, batch);
    const uint64_t after = nowNs();
    histogram.add(after - before);
    before = after;
  }
  asm volatile("" : : "r"(again));  // work whose answer nobody reads would be left out
  measured.p50 = static_cast<double>(histogram.percentile(0.5)) / static_cast<double>(batch);
  measured.p99 = static_cast<double>(histogram.percentile(0.99)) / static_cast<double>(batch);
  return measured;
}

}  // namespace sluice::bench
