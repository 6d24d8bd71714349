#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/conntrack/conn-entry.h"
#include "native/conntrack/conn-hash.h"
#include "native/conntrack/huge-array.h"
#include "native/packet/status.h"

namespace sluice {

// How long a connection in each state lives without a packet.
//
// Units:  microseconds, by ConnState; Unreplied and Replied are UDP's.
// Source: the defaults of Linux's nf_conntrack, so that a move to Sluice cuts nothing.
inline constexpr uint64_t SECOND_US = 1'000'000;
inline constexpr std::array<uint64_t, CONN_STATE_COUNT> CONN_TIMEOUT_US = {
    0,                    // None
    120 * SECOND_US,      // SynSent
    60 * SECOND_US,       // SynReceived
    432'000 * SECOND_US,  // Established
    120 * SECOND_US,      // FinWait
    60 * SECOND_US,       // CloseWait
    30 * SECOND_US,       // LastAck
    120 * SECOND_US,      // TimeWait
    10 * SECOND_US,       // Close
    120 * SECOND_US,      // SynSent2
    30 * SECOND_US,       // Unreplied
    120 * SECOND_US,      // Replied
};
inline constexpr uint64_t ICMP_TIMEOUT_US = 30 * SECOND_US;
inline constexpr uint64_t OTHER_TIMEOUT_US = 600 * SECOND_US;

// The connections of one worker, in memory of a fixed size.
//
// Shape:   an index of 64-byte buckets, each with seven hash tags and entry numbers; a connection
//          stands in its home bucket or in one of the next few.
// Threads: one.
// Cost:    a hit takes two cache lines, a miss one; no allocation after create().
// Source:  keyed hashes against chosen keys: Crosby and Wallach, USENIX Security 2003.
class ConnTable {
 public:
  // Errors: Argument for a size of 0 or above 2^26, Limit when there is no memory.
  static Status create(uint32_t entriesMax, const HashSecret& secret, ConnTable* table) noexcept;

  // Hashes the names of a batch and asks for the memory that finding them will touch, all at once.
  //
  // Shape: as many hints as names. They stay good whatever comes and goes in between.
  void prepare(std::span<const ConnName> names, ConnHint* hints) const noexcept;
  [[nodiscard]] ConnHint hintOf(const ConnName& name) const noexcept {
    return {hash_.one(name.key), nullptr};
  }

  // Finds the entry of `name`, or nullptr. One that has timed out is removed and not found.
  [[nodiscard]] ConnEntry* find(const ConnName& name, const ConnHint& hint,
                                uint64_t nowUs) noexcept {
    // A free entry's time is over, and a name has one entry at most.
    ConnEntry* likely = hint.likely;
    if (likely != nullptr && likely->key == name.key && likely->expiresUs > nowUs) return likely;
    return search(name.key, hint.hash, nowUs);
  }

  // Makes an entry for a name that find() did not find, in the list of unreplied ones.
  //
  // Shape:  state None and no timer: the caller sets them.
  // Errors: nullptr when the table is full of connections that may not give way. Entries that have
  //         timed out go first, then the oldest unreplied one, of all or of its neighbourhood.
  [[nodiscard]] ConnEntry* insert(const ConnName& name, const ConnHint& hint,
                                  uint64_t nowUs) noexcept;

  // Notes that a connection has been answered: it no longer gives way to new ones.
  void markReplied(ConnEntry& entry) noexcept;

  void remove(ConnEntry& entry) noexcept;

  // Removes what has timed out among the next `steps` entries; returns how many.
  size_t expire(uint64_t nowUs, size_t steps) noexcept;

  // Connections that were removed since forgetClosed(), for whatever cause: CLOSED_MAX at most,
  // those after them are not kept.
  static constexpr size_t CLOSED_MAX = 256;
  [[nodiscard]] std::span<const ClosedConn> closed() const noexcept {
    return {closed_.data(), closedCount_};
  }
  void forgetClosed() noexcept { closedCount_ = 0; }

  // The connection in one place of the table, or nullptr: to go through all of them.
  //
  // Shape: `number` is below entriesMax().
  [[nodiscard]] ConnEntry* at(uint32_t number) noexcept {
    ConnEntry& entry = entries_[number];
    return entry.state == ConnState::None ? nullptr : &entry;
  }

  // Threads: any.
  [[nodiscard]] uint32_t size() const noexcept { return __atomic_load_n(&size_, __ATOMIC_RELAXED); }
  [[nodiscard]] uint32_t entriesMax() const noexcept { return entriesMax_; }
  [[nodiscard]] size_t memoryBytes() const noexcept { return entries_.bytes() + buckets_.bytes(); }
  // Connections that were removed because their time was over, whichever call found out.
  [[nodiscard]] uint64_t timedOut() const noexcept { return timedOut_; }
  // Connections that gave way to new ones.
  [[nodiscard]] uint64_t evicted() const noexcept { return evicted_; }

 private:
  static constexpr size_t BUCKET_SLOTS = 7;
  static constexpr uint32_t PROBE_BUCKETS = 8;

  struct alignas(64) Bucket {
    std::array<uint32_t, BUCKET_SLOTS> tags;  // 0: free
    uint32_t spilled;  // entries whose home this is and that stand in a later bucket
    std::array<uint32_t, BUCKET_SLOTS> entries;
    uint32_t reserved;

    // A bit for each slot with this tag.
    [[nodiscard]] uint32_t slotsWith(uint32_t tag) const noexcept;
  };
  static_assert(sizeof(Bucket) == 64);

  [[nodiscard]] ConnEntry* search(const ConnKey& key, uint64_t hash, uint64_t nowUs) noexcept;
  [[nodiscard]] uint32_t homeOf(uint64_t hash) const noexcept {
    return static_cast<uint32_t>((hash & 0xffffffff) * bucketCount_ >> 32);
  }
  // The bucket some places after another.
  [[nodiscard]] uint32_t after(uint32_t home, uint32_t probe) const noexcept {
    const uint32_t bucket = home + probe;
    return bucket < bucketCount_ ? bucket : bucket - bucketCount_;
  }
  [[nodiscard]] uint32_t numberOf(const ConnEntry& entry) const noexcept {
    return static_cast<uint32_t>(&entry - entries_.get());
  }
  [[nodiscard]] bool index(uint64_t hash, uint32_t number) noexcept;
  void resizeBy(int32_t difference) noexcept {
    __atomic_store_n(&size_, size_ + static_cast<uint32_t>(difference), __ATOMIC_RELAXED);
  }
  void unlinkUnreplied(ConnEntry& entry) noexcept;
  void makeRoom(uint64_t nowUs) noexcept;
  // The same in the buckets where a name may stand, which are all full; false when nobody may go.
  bool makeRoomNear(uint32_t home, uint64_t nowUs) noexcept;

  HugeArray<ConnEntry> entries_;
  HugeArray<Bucket> buckets_;
  ConnHash hash_;
  uint32_t entriesMax_ = 0;
  uint32_t bucketCount_ = 0;
  uint32_t size_ = 0;  // no std::atomic, so that a table can be moved
  uint32_t free_ = NONE;
  uint32_t unrepliedOldest_ = NONE;
  uint32_t unrepliedNewest_ = NONE;
  uint32_t sweep_ = 0;
  uint64_t timedOut_ = 0;
  uint64_t evicted_ = 0;
  size_t closedCount_ = 0;
  std::array<ClosedConn, CLOSED_MAX> closed_ = {};
};

}  // namespace sluice
