#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/conntrack/huge-array.h"
#include "native/conntrack/siphash.h"
#include "native/layout/layout.gen.h"

namespace sluice {

// What a verdict follows from: whom the table of this generation knows the ends as, and the port.
// All connections and drops with the same key have the same deciding rules.
struct HitKey {
  uint32_t generation = 0;
  uint32_t sourceLeaf = 0;
  uint32_t destinationLeaf = 0;
  uint32_t flow =
      0;  // slotPort | DeniedBy << DENIED_SHIFT | DeniedBy of the audit << AUDITED_SHIFT

  static constexpr int DENIED_SHIFT = 20;
  static constexpr int AUDITED_SHIFT = 24;
  static constexpr uint32_t SIDES = 0xf;

  friend bool operator==(const HitKey&, const HitKey&) = default;
};

// What passed and what was denied, by key, until somebody reads it. Which rules that were is found
// by the reader, who has the time.
//
// Shape:   a fixed number of counts. When all are in use, a new key counts as nobody's: the sums
//          stay exact, and only whose they are is lost.
// Threads: one; waiting() from any.
// Cost:    nothing for a packet of a connection: a connection adds what it has carried when it
//          ends, when another table judges it, and when somebody asks.
class HitTable {
 public:
  // Where a new key counts when there is no room: what passed, and what was denied.
  static constexpr uint32_t NOBODYS_PASSED = 0;
  static constexpr uint32_t NOBODYS_DENIED = 1;

  // Whether there is memory.
  [[nodiscard]] bool create(uint32_t countsMax, const HashSecret& secret) noexcept;

  // The number of the key's count, which is made if there is none.
  [[nodiscard]] uint32_t find(const HitKey& key) noexcept;
  // The same for a connection that counts for `before`, and that another table has judged: most
  // that do have the next key in common, too. It is found there, without a search.
  [[nodiscard]] uint32_t findAfter(uint32_t before, const HitKey& key) noexcept {
    uint32_t& next = counts_[before].next;
    if (next == NONE || counts_[next].key != key) next = find(key);
    return next;
  }

  void add(uint32_t number, uint64_t packets, uint64_t bytes, uint64_t lastUs) noexcept {
    Count& count = counts_[number];
    count.packets += packets;
    count.bytes += bytes;
    if (lastUs > count.lastUs) count.lastUs = lastUs;
    queue(number);
  }
  void addConnection(uint32_t number, uint64_t nowUs) noexcept {
    Count& count = counts_[number];
    ++count.connections;
    count.lastUs = nowUs;
    queue(number);
  }

  // A connection that will add to a count holds it, so that the count keeps its number.
  void hold(uint32_t number) noexcept {
    if (number > NOBODYS_DENIED) ++counts_[number].holders;
  }
  void release(uint32_t number) noexcept {
    if (number > NOBODYS_DENIED && --counts_[number].holders == 0) queue(number);
  }

  // Moves what was counted since it was last read, at most `steps` counts and as many as fit.
  // Returns how many records were written.
  size_t read(uint64_t nowUs, size_t steps, std::span<HitRecord> records) noexcept;
  // Counts to read. Threads: any.
  [[nodiscard]] uint32_t waiting() const noexcept {
    return __atomic_load_n(&waiting_, __ATOMIC_RELAXED);
  }

 private:
  struct alignas(64) Count {
    HitKey key;
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t lastUs = 0;
    uint32_t connections = 0;
    uint32_t holders = 0;
    uint32_t nextOfBucket = NONE;  // of a free count: the next free one
    uint32_t nextWaiting = NONE;
    uint32_t next = NONE;  // where a connection that counted here counted after a swap
    bool isWaiting = false;
  };
  static_assert(sizeof(Count) == 64);

  [[nodiscard]] uint32_t bucketOf(const HitKey& key) const noexcept;
  [[nodiscard]] uint32_t make(const HitKey& key, uint32_t bucket) noexcept;
  void queue(uint32_t number) noexcept;
  void free(uint32_t number) noexcept;

  HugeArray<Count> counts_;
  HugeArray<uint32_t> buckets_;  // number + 1 of each bucket's first count; 0: empty
  HashSecret secret_ = {};
  uint32_t countsMax_ = 0;
  uint32_t bucketMask_ = 0;
  uint32_t used_ = 2;  // places that were ever in use
  uint32_t free_ = NONE;
  uint32_t firstWaiting_ = NONE;  // the longest
  uint32_t lastWaiting_ = NONE;
  uint32_t waiting_ = 0;
};

}  // namespace sluice
