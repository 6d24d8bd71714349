#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/conntrack/address-hash.h"
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
// From when on a connection of another protocol than TCP that is answered goes on, and is assured.
inline constexpr uint32_t ASSURED_AFTER_MS = 2'000;

// How long a connection lives without a packet from now on. UDP that is answered and not assured
// has an unanswered one's time, as in Linux: most of it is one question and one answer.
[[nodiscard]] inline uint64_t timeoutOf(const ConnEntry& entry) noexcept {
  switch (entry.protocol()) {
    case PROTOCOL_TCP:
      return CONN_TIMEOUT_US[static_cast<size_t>(entry.state)];
    case PROTOCOL_UDP:
      return CONN_TIMEOUT_US[static_cast<size_t>(
          (entry.flags & ConnEntry::ASSURED) != 0 ? ConnState::Replied : ConnState::Unreplied)];
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
      return ICMP_TIMEOUT_US;
    default:
      return OTHER_TIMEOUT_US;
  }
}

// Who a connection counts for.
struct ConnCharge {
  uint16_t owner = 0;     // from ConnTable::attach(); 0: nobody
  uint8_t remoteEnd = 0;  // which end is not the owner's: 0 the lower, 1 the higher
};

// What one owner has.
struct OwnerUse {
  uint32_t connections = 0;
  uint64_t evicted = 0;  // of its connections, to make room for new ones
  uint64_t refused = 0;  // of its new connections, since it was at its quota
};

// The connections of one worker, in memory of a fixed size.
//
// Each counts for one owner, a local endpoint, which has a quota. When there is no room for a new
// connection, others give way: those that are closing first, then those that nobody has answered,
// then those that are answered and not assured; each oldest first. At its quota an owner's new
// connection takes the place of one of its own. When the table is full, an owner that is below its
// quota takes from those that are above, and then from its own. An assured connection gives way
// only where its owner is above its quota since other owners have come.
//
// Shape:   an index of 64-byte buckets, each with seven hash tags and entry numbers; a connection
//          stands in its home bucket or in one of the next few. A list of each owner's connections
//          of each class, linked by entry numbers.
// Threads: one.
// Cost:    a hit takes two cache lines, a miss one; no allocation after create(). The memory of an
//          entry is touched when it is first used.
// Source:  keyed hashes against chosen keys: Crosby and Wallach, USENIX Security 2003. The order of
//          giving way: Linux's nf_conntrack (tcp_can_early_drop, IPS_ASSURED).
class ConnTable {
 public:
  static constexpr uint16_t NOBODY = 0;
  static constexpr uint32_t OWNERS_MAX = 2 * LINKS_MAX;

  // Errors: Argument for a size of 0 or above CONNECTIONS_MAX, and for a quota above the size;
  // Limit
  //         when there is no memory.
  // Shape:  `quota` of each owner; 0: an equal share.
  static Status create(uint32_t entriesMax, const HashSecret& secret, ConnTable* table,
                       uint32_t quota = 0) noexcept;

  // Takes an owner in, with no connections; NOBODY when there are too many.
  [[nodiscard]] uint16_t attach() noexcept;
  // Lets an owner go. What connections it has left are removed by and by, and give way first.
  void detach(uint16_t owner) noexcept;
  [[nodiscard]] uint32_t quota() const noexcept {
    return __atomic_load_n(&quota_, __ATOMIC_RELAXED);
  }
  // Threads: any.
  [[nodiscard]] OwnerUse use(uint16_t owner) const noexcept;

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

  // Makes an entry for a name that find() did not find, of the class Unanswered.
  //
  // Shape:  state None and no timer: the caller sets them.
  // Errors: nullptr and a reason, ConnectionQuota or ConntrackFull: there is no room, and nothing
  // may
  //         give way.
  [[nodiscard]] ConnEntry* insert(const ConnName& name, const ConnHint& hint, ConnCharge charge,
                                  uint64_t nowUs, DropReason* reason) noexcept;

  // Brings an entry's class up to date after a packet: a TCP connection's from its state, another's
  // from whether it is answered and goes on. Nothing to do while an assured one keeps its state.
  void settleTcp(ConnEntry& entry, uint8_t sender) noexcept;
  void settleOther(ConnEntry& entry, uint8_t sender, uint64_t nowUs) noexcept;
  void settle(ConnEntry& entry, ConnClass to) noexcept;

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
  // Shape: `number` is below placesUsed().
  [[nodiscard]] ConnEntry* at(uint32_t number) noexcept {
    ConnEntry& entry = entries_[number];
    return entry.state == ConnState::None ? nullptr : &entry;
  }
  // Places that have ever held a connection: those behind them are free.
  [[nodiscard]] uint32_t placesUsed() const noexcept { return placesUsed_; }

  // Threads: any.
  [[nodiscard]] uint32_t size() const noexcept { return __atomic_load_n(&size_, __ATOMIC_RELAXED); }
  [[nodiscard]] uint32_t entriesMax() const noexcept { return entriesMax_; }
  [[nodiscard]] size_t memoryBytes() const noexcept { return entries_.bytes() + buckets_.bytes(); }
  // Connections that were removed because their time was over, whichever call found out.
  [[nodiscard]] uint64_t timedOut() const noexcept { return timedOut_; }
  // Connections that gave way to new ones. Threads: any.
  [[nodiscard]] uint64_t evicted(ConnClass of) const noexcept {
    return __atomic_load_n(&evicted_[static_cast<size_t>(of)], __ATOMIC_RELAXED);
  }

 private:
  static constexpr size_t BUCKET_SLOTS = 7;
  static constexpr uint32_t PROBE_BUCKETS = 8;
  static_assert(CONNECTIONS_MAX / 4 <= 1u << ConnEntry::HOME_BITS);

  struct alignas(64) Bucket {
    std::array<uint32_t, BUCKET_SLOTS> tags;  // 0: free
    uint32_t spilled;  // entries whose home this is and that stand in a later bucket
    std::array<uint32_t, BUCKET_SLOTS> entries;
    uint32_t reserved;

    // A bit for each slot with this tag.
    [[nodiscard]] uint32_t slotsWith(uint32_t tag) const noexcept;
    // Frees the slot of an entry; false when it is not here.
    bool forget(uint32_t number) noexcept;
  };
  static_assert(sizeof(Bucket) == 64);

  // Entry numbers.
  struct List {
    uint32_t oldest = NONE;
    uint32_t newest = NONE;
  };
  // One owner's connections. Those that are unanswered or unassured stand apart by their remote
  // prefix, hashed, so that of these a prefix with more than a quarter of them loses one.
  static constexpr uint32_t PEERS = 64;
  static constexpr uint32_t LISTS_COMPARED = 4;
  struct alignas(64) Owner {
    std::array<uint32_t, PEERS> loose = {};  // in both lists
    std::array<List, PEERS> unanswered;
    std::array<List, PEERS> unassured;
    List closing;
    uint32_t count = 0;
    uint32_t quota = 0;
    uint64_t evicted = 0;
    uint64_t refused = 0;
    bool attached = false;

    [[nodiscard]] List& listOf(ConnClass of, uint32_t peers) noexcept {
      if (of == ConnClass::Closing) return closing;
      return of == ConnClass::Unanswered ? unanswered[peers] : unassured[peers];
    }
  };

  [[nodiscard]] ConnEntry* search(const ConnKey& key, uint64_t hash, uint64_t nowUs) noexcept;
  [[nodiscard]] ConnEntry* searchFrom(uint32_t home, const ConnKey& key, uint32_t tag,
                                      uint64_t nowUs) noexcept;
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
  [[nodiscard]] bool index(uint32_t home, uint64_t hash, uint32_t number) noexcept;
  [[nodiscard]] uint32_t nextFree() const noexcept { return free_ != NONE ? free_ : placesUsed_; }
  void linkLast(ConnEntry& entry, uint32_t number, List& list) noexcept;
  void unlink(ConnEntry& entry, Owner& owner) noexcept;
  // Where a connection's remote prefix is among its owner's.
  [[nodiscard]] uint32_t peersOf(const ConnKey& key, uint8_t remoteEnd) const noexcept;

  // What each owner can have at the same time as all others.
  [[nodiscard]] uint32_t shareOf(const Owner& owner) const noexcept;
  [[nodiscard]] ConnEntry* oldestOf(const List& list) const noexcept {
    return list.oldest == NONE ? nullptr : &entries_[list.oldest];
  }
  // The connection of an owner that gives way first, or nullptr.
  [[nodiscard]] ConnEntry* firstToGo(const Owner& owner, uint64_t nowUs) noexcept;
  // The same among those of one of its remote prefixes; nullptr when these have none.
  [[nodiscard]] ConnEntry* firstOfPeers(const Owner& owner, uint32_t peers,
                                        uint64_t nowUs) const noexcept;
  // Of those that have more than their share, or of all, the owner with most connections of which
  // one may give way; nullptr when there is none.
  [[nodiscard]] Owner* largestOwner(bool aboveShare) noexcept;
  [[nodiscard]] ConnEntry* nextSwept() noexcept;
  // Whether its time is over, or its owner gone.
  [[nodiscard]] bool isOver(const ConnEntry& entry, uint64_t nowUs) const noexcept;
  void removeOver(ConnEntry& entry) noexcept;
  void evict(ConnEntry& entry, uint64_t nowUs) noexcept;
  // False when nothing may give way to a new connection of this owner.
  bool makeRoom(Owner& owner, uint64_t nowUs) noexcept;
  bool makeRoomInTable(Owner& owner, uint64_t nowUs) noexcept;
  // The same in the buckets where a name may stand, which are all full.
  bool makeRoomNear(uint32_t home, uint64_t nowUs) noexcept;
  void shareOut() noexcept;

  HugeArray<ConnEntry> entries_;
  HugeArray<Bucket> buckets_;
  HugeArray<Owner> owners_;
  AddressHash addressHash_;
  ConnHash hash_;
  uint32_t entriesMax_ = 0;
  uint32_t bucketCount_ = 0;
  uint32_t peersTurn_ = 0;  // from which list on a few are compared
  uint32_t size_ = 0;       // no std::atomic, so that a table can be moved
  uint32_t placesUsed_ = 0;
  uint32_t free_ = NONE;
  uint32_t sweep_ = 0;
  uint32_t quotaWanted_ = 0;
  uint32_t quota_ = 0;       // of each owner
  uint32_t share_ = 0;       // an equal part of the table
  uint16_t ownersUsed_ = 1;  // places of owners_ that have ever been used
  uint16_t attached_ = 0;    // owners
  uint16_t gone_ = 0;        // owners that are let go and have connections left
  uint64_t timedOut_ = 0;
  std::array<uint64_t, CONN_CLASS_COUNT> evicted_ = {};
  size_t closedCount_ = 0;
  std::array<ClosedConn, CLOSED_MAX> closed_ = {};
};

}  // namespace sluice
