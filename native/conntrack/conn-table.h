#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/conntrack/address-hash.h"
#include "native/conntrack/conn-entry.h"
#include "native/conntrack/conn-hash.h"
#include "native/conntrack/conn-name.h"
#include "native/conntrack/conn-room.h"
#include "native/conntrack/hit-table.h"
#include "native/conntrack/huge-array.h"
#include "native/conntrack/timeouts.h"
#include "native/host/grace-periods.h"
#include "native/packet/status.h"

namespace sluice {

inline constexpr uint64_t SECOND_US = 1'000'000;
// By ConnState.
inline constexpr std::array<uint64_t, CONN_STATE_COUNT> CONN_TIMEOUT_US = {
    0,  // None
    SLUICE_TIMEOUT_US_SynSent,
    SLUICE_TIMEOUT_US_SynReceived,
    SLUICE_TIMEOUT_US_Established,
    SLUICE_TIMEOUT_US_FinWait,
    SLUICE_TIMEOUT_US_CloseWait,
    SLUICE_TIMEOUT_US_LastAck,
    SLUICE_TIMEOUT_US_TimeWait,
    SLUICE_TIMEOUT_US_Close,
    SLUICE_TIMEOUT_US_SynSent2,
    SLUICE_TIMEOUT_US_Unreplied,
    SLUICE_TIMEOUT_US_Replied,
};
inline constexpr uint64_t ICMP_TIMEOUT_US = SLUICE_TIMEOUT_US_ICMP;
inline constexpr uint64_t OTHER_TIMEOUT_US = SLUICE_TIMEOUT_US_Other;
// Age from which an answered connection of another protocol than TCP is assured, on its next
// packet.
inline constexpr uint32_t ASSURED_AFTER_MS = 2'000;

// How long a connection lives without a packet from now on. Answered UDP that is not assured gets
// the time of unanswered UDP, as in Linux: most of it is one question and one answer.
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

// The owner that a connection counts for.
struct ConnCharge {
  uint16_t owner = 0;     // from ConnTable::attach(); 0: nobody
  uint8_t remoteEnd = 0;  // the end that is not the owner: 0 the lower, 1 the higher
};

// Memory for a table that eBPF programs read too, all zero: for its entries, and the descriptor of
// a map, a BPF_F_MMAPABLE array of SluiceConnBucket, with the table's first element there, a
// multiple of ConnTable::PER_PAGE: several tables may lie in the same map.
struct ConnMemory {
  ConnRoom* room = nullptr;  // outlives the table
  int buckets = -1;
  uint32_t firstBucket = 0;
};

// Usage of one owner.
struct OwnerUse {
  uint32_t connections = 0;
  uint64_t evicted = 0;  // its connections that gave way to new ones
  uint64_t refused = 0;  // new connections refused, at its quota
};

// The connections of one worker, in memory of a fixed size.
//
// Each connection counts for one owner, a local endpoint, which has a quota. When there is no room
// for a new connection, others are evicted: first closing ones, then unanswered ones, then answered
// ones that are not assured; each class oldest first. At its quota, an owner's new connection
// evicts one of its own. When the table is full, an owner below its quota evicts from owners above
// theirs, and then from its own. An assured connection is evicted only when its owner is above its
// quota because other owners have joined.
//
// Shape:   an index of 64-byte buckets, each with seven hash tags and entry numbers. A connection
//          is stored in its home bucket or in one of the next few. Each owner has a list of its
//          connections for each class, linked by entry numbers.
// Threads: one.
// Cost:    a hit touches two cache lines, a miss one; no allocation after create(). An entry's
//          memory is first touched when the entry is first used.
// Source:  keyed hashes against chosen keys: Crosby and Wallach, USENIX Security 2003. The order of
//          giving way: Linux's nf_conntrack (tcp_can_early_drop, IPS_ASSURED).
class ConnTable {
 public:
  static constexpr uint16_t NOBODY = 0;
  static constexpr uint32_t OWNERS_MAX = 2 * LINKS_MAX;

  // Errors: Argument for a size of 0 or above CONNECTIONS_MAX, or for a quota above the size; Limit
  //         when there is no memory, or what is shared is too small.
  // Shape:  `quota` of each owner; 0: an equal share. `shared`: memory for entriesMax entries and
  //         bucketsFor() buckets that programs only read, or nullptr for memory of its own.
  static Status create(uint32_t entriesMax, const HashSecret& secret, ConnTable* table,
                       uint32_t quota = 0, const ConnMemory* shared = nullptr) noexcept;

  // Moves the table, with its connections, to memory that eBPF programs read: from then on entries
  // may be admitted. `periods` outlive the table.
  //
  // Shape:  room for placesFor() entries in the end, and for bucketsFor() buckets.
  // Errors: Limit when there is less, or no memory yet for those that are in use.
  Status share(const ConnMemory& memory, GracePeriods* periods) noexcept;
  [[nodiscard]] bool isShared() const noexcept { return periods_ != nullptr; }
  // The places of a shared table: some more than connections, since one that has been removed keeps
  // its place for a grace period.
  [[nodiscard]] static uint32_t placesFor(uint32_t entriesMax) noexcept {
    return entriesMax + std::min(entriesMax / 4 + PER_PAGE, LEAVING_MAX);
  }
  // The connections that so many places are for: the other way round.
  [[nodiscard]] static uint32_t connectionsFor(uint32_t places) noexcept {
    const uint32_t some = places > PER_PAGE ? (places - PER_PAGE) / 5 * 4 : 0;
    const uint32_t many = places > LEAVING_MAX ? places - LEAVING_MAX : 0;
    return std::max({some, many, 1u});
  }
  static constexpr uint32_t PER_PAGE = 64;
  // How many buckets a table has. A full one has four entries for each bucket of seven slots, so
  // that almost no new entry finds its home bucket and the next ones full.
  [[nodiscard]] static uint32_t bucketsFor(uint32_t entriesMax) noexcept {
    return entriesMax / 4 > PROBE_BUCKETS ? entriesMax / 4 : PROBE_BUCKETS;
  }

  // Adds an owner without connections; NOBODY when there are too many owners.
  [[nodiscard]] uint16_t attach() noexcept;
  // Removes an owner. Its remaining connections are removed gradually, and are the first to be
  // evicted.
  void detach(uint16_t owner) noexcept;
  [[nodiscard]] uint32_t quota() const noexcept {
    return __atomic_load_n(&quota_, __ATOMIC_RELAXED);
  }
  // Threads: any.
  [[nodiscard]] OwnerUse use(uint16_t owner) const noexcept;

  // Hashes the names of a batch and prefetches the memory that finding them will touch.
  //
  // Shape: as many hints as names. Hints stay valid when entries are added or removed meanwhile.
  void prepare(std::span<const ConnName> names, ConnHint* hints) const noexcept;
  [[nodiscard]] ConnHint hintOf(const ConnName& name) const noexcept {
    return {hash_.one(name.key), nullptr};
  }

  // Finds the entry of `name`, or nullptr. A timed-out entry is removed, not found.
  [[nodiscard]] ConnEntry* find(const ConnName& name, const ConnHint& hint,
                                uint64_t nowUs) noexcept {
    // A free entry counts as timed out, and a name has at most one entry.
    ConnEntry* likely = hint.likely;
    if (likely != nullptr && likely->key == name.key && likely->expiresUs > nowUs) return likely;
    return search(name.key, hint.hash, nowUs);
  }

  // Makes an entry of class Unanswered for a name that find() did not find.
  //
  // Shape:  state None and no timer: the caller sets them.
  // Errors: nullptr and a reason, ConnectionQuota or ConntrackFull, when there is no room and
  //         nothing may be evicted.
  [[nodiscard]] ConnEntry* insert(const ConnName& name, const ConnHint& hint, ConnCharge charge,
                                  uint64_t nowUs, DropReason* reason) noexcept;

  // Updates an entry's class after a packet: for TCP from its state; for other protocols from
  // whether it is answered and lasts. Not needed while an assured connection keeps its state.
  void settleTcp(ConnEntry& entry, uint8_t sender) noexcept;
  void settleOther(ConnEntry& entry, uint8_t sender, uint64_t nowUs) noexcept;
  void settle(ConnEntry& entry, ConnClass to) noexcept;

  void remove(ConnEntry& entry) noexcept;
  // The same for one that has timed out.
  void removeOver(ConnEntry& entry) noexcept;

  // Of a shared table. Reads the time and the class of a connection from what programs have noted;
  // false when it has timed out. The caller removes it then.
  bool renew(ConnEntry& entry, uint64_t nowUs) noexcept;
  // Lets programs pass nothing of a connection any more. Once reclaim() has seen its grace period
  // out, it is the worker's alone.
  void takeBack(ConnEntry& entry) noexcept;
  // Sees grace periods out: what was removed is free then, and listed in closed(). Returns how many
  // were; there may be more when it is RECLAIMED_MAX.
  static constexpr size_t RECLAIMED_MAX = 64;
  size_t reclaim() noexcept;

  // Removes timed-out connections among the next `steps` entries; returns how many.
  size_t expire(uint64_t nowUs, size_t steps) noexcept;

  // Connections removed since forgetClosed(), for any cause. Only the first CLOSED_MAX are kept. Of
  // a connection that programs may still count for, see reclaim().
  static constexpr size_t CLOSED_MAX = 256;
  [[nodiscard]] std::span<const ClosedConn> closed() const noexcept {
    return {closed_.data(), closedCount_};
  }
  void forgetClosed() noexcept { closedCount_ = 0; }

  // What passed and was denied, by what decided it.
  [[nodiscard]] HitTable& hits() noexcept { return hits_; }
  [[nodiscard]] const HitTable& hits() const noexcept { return hits_; }
  // From now on, the connection's packets count there.
  void countFor(ConnEntry& entry, uint32_t hits) noexcept;
  // Counts what it has carried since the last tally.
  void tally(ConnEntry& entry) noexcept;
  // Its packets so far are counted elsewhere.
  void skipTally(ConnEntry& entry) noexcept;

  // The connection in one place of the table, or nullptr; for iterating over all connections.
  //
  // Shape: `number` is below placesUsed().
  [[nodiscard]] ConnEntry* at(uint32_t number) noexcept {
    ConnEntry& entry = entries_[number];
    return entry.state == ConnState::None ? nullptr : &entry;
  }
  // Places that have ever held a connection. All later places are free.
  [[nodiscard]] uint32_t placesUsed() const noexcept { return placesUsed_; }

  // Threads: any.
  [[nodiscard]] uint32_t size() const noexcept { return __atomic_load_n(&size_, __ATOMIC_RELAXED); }
  [[nodiscard]] uint32_t entriesMax() const noexcept { return entriesMax_; }
  // Of a table that lies in memory of its own.
  [[nodiscard]] size_t memoryBytes() const noexcept { return entries_.bytes() + buckets_.bytes(); }
  // Connections removed because they timed out, by whichever call.
  [[nodiscard]] uint64_t timedOut() const noexcept { return timedOut_; }
  // Connections evicted for new ones. Threads: any.
  [[nodiscard]] uint64_t evicted(ConnClass of) const noexcept {
    return __atomic_load_n(&evicted_[static_cast<size_t>(of)], __ATOMIC_RELAXED);
  }

 private:
  static constexpr uint32_t PROBE_BUCKETS = SLUICE_CONN_PROBES;
  // Removals in a grace period, at the most that are made room for.
  static constexpr uint32_t LEAVING_MAX = 65'536;
  static_assert(CONNECTIONS_MAX / 4 <= 1u << ConnEntry::HOME_BITS);

  struct alignas(64) Bucket : SluiceConnBucket {
    // A bit for each slot with this tag.
    [[nodiscard]] uint32_t slotsWith(uint32_t tag) const noexcept;
    // Frees the slot of an entry; false when the entry is not in this bucket.
    bool forget(uint32_t number) noexcept;
  };
  static_assert(sizeof(Bucket) == 64);

  // A place that is taken back, until its grace period is over.
  struct Leaving {
    uint64_t period;
    uint32_t number;
  };

  // The first and last entry of a list, by number.
  struct List {
    uint32_t oldest = NONE;
    uint32_t newest = NONE;
  };
  // One owner's connections. Unanswered and unassured ones are kept in separate lists by hashed
  // remote prefix, so that a prefix with more than a quarter of them loses one first.
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
    return sluiceHomeOf(hash, bucketCount_);
  }
  // The bucket `probe` places after `home`.
  [[nodiscard]] uint32_t after(uint32_t home, uint32_t probe) const noexcept {
    const uint32_t bucket = home + probe;
    return bucket < bucketCount_ ? bucket : bucket - bucketCount_;
  }
  [[nodiscard]] uint32_t numberOf(const ConnEntry& entry) const noexcept {
    return static_cast<uint32_t>(&entry - entries_.get());
  }
  [[nodiscard]] bool index(uint32_t home, uint64_t hash, uint32_t number) noexcept;
  [[nodiscard]] uint32_t nextFree() const noexcept { return free_ != NONE ? free_ : placesUsed_; }
  // Whether no place is free, although there may be less connections than the table can have.
  [[nodiscard]] bool isOut() noexcept {
    return free_ == NONE && placesUsed_ == backed_ && !makePlaces();
  }
  // Waits for memory for more places; false when there is none.
  bool makePlaces() noexcept;
  void lookForMemory() noexcept;
  void limitTo(uint32_t connections) noexcept;
  bool takeRoom(ConnRoom* room, uint32_t places) noexcept;
  void place(ConnEntry& entry) noexcept;
  void leave(ConnEntry& entry, uint32_t number) noexcept;
  void noteClosed(const ConnEntry& entry) noexcept;
  void setFree(ConnEntry& entry, uint32_t number) noexcept;
  void linkLast(ConnEntry& entry, uint32_t number, List& list) noexcept;
  void unlink(ConnEntry& entry, Owner& owner) noexcept;
  // The list of a connection's remote prefix in its owner.
  [[nodiscard]] uint32_t peersOf(const ConnKey& key, uint8_t remoteEnd) const noexcept;

  // The part of the table that each owner can have while all others have theirs.
  [[nodiscard]] uint32_t shareOf(const Owner& owner) const noexcept;
  [[nodiscard]] ConnEntry* oldestOf(const List& list, uint64_t nowUs) noexcept;
  // The owner's connection to evict first, or nullptr.
  [[nodiscard]] ConnEntry* firstToGo(const Owner& owner, uint64_t nowUs) noexcept;
  // The same among the connections of one remote prefix; nullptr when it has none.
  [[nodiscard]] ConnEntry* firstOfPeers(const Owner& owner, uint32_t peers,
                                        uint64_t nowUs) noexcept;
  // The owner with the most connections, among those above their share or among all, that has one
  // to evict; nullptr when there is none.
  [[nodiscard]] Owner* largestOwner(bool aboveShare) noexcept;
  [[nodiscard]] ConnEntry* nextSwept() noexcept;
  // Whether the connection has timed out, or its owner is gone.
  [[nodiscard]] bool isOver(ConnEntry& entry, uint64_t nowUs) noexcept;
  void evict(ConnEntry& entry, uint64_t nowUs) noexcept;
  // Evicts a connection for a new one of this owner; false when none may be evicted.
  bool makeRoom(Owner& owner, uint64_t nowUs) noexcept;
  bool makeRoomInTable(Owner& owner, uint64_t nowUs) noexcept;
  // The same in the buckets where a name of this home may be stored, which are all full.
  bool makeRoomNear(uint32_t home, uint64_t nowUs) noexcept;
  void shareOut() noexcept;

  // The part of a connection's packets that is in hits_.
  struct Tally {
    uint64_t packets;
    uint64_t bytes;
  };
  void endTally(ConnEntry& entry) noexcept;
  void addUntallied(const ConnEntry& entry) noexcept;

  HugeArray<ConnEntry> entries_;
  HugeArray<Bucket> buckets_;
  HugeArray<Owner> owners_;
  HugeArray<Tally> tallies_;  // by entry; holds nothing for one that is not `tallied`
  HitTable hits_;
  HugeArray<Leaving> leaving_;  // a ring of as many as places
  AddressHash addressHash_;
  ConnHash hash_;
  HashSecret secret_ = {};
  GracePeriods* periods_ = nullptr;  // of a shared table
  uint64_t leavingFirst_ = 0;
  uint64_t leavingNext_ = 0;
  uint32_t entriesMax_ = 0;
  uint32_t limit_ = 0;  // the same; less while the kernel refuses memory for so many
  uint32_t places_ = 0;
  uint32_t backed_ = 0;  // as many have memory
  ConnRoom* room_ = nullptr;
  uint32_t bucketCount_ = 0;
  uint32_t peersTurn_ = 0;  // the next few lists to compare start here
  uint32_t size_ = 0;       // no std::atomic, so that a table can be moved
  uint32_t placesUsed_ = 0;
  uint32_t free_ = NONE;
  uint32_t sweep_ = 0;
  uint32_t quotaWanted_ = 0;
  uint32_t quota_ = 0;       // of each owner
  uint32_t share_ = 0;       // an equal part of the table
  uint16_t ownersUsed_ = 1;  // places of owners_ ever used
  uint16_t attached_ = 0;    // owners
  uint16_t gone_ = 0;        // removed owners with connections left
  uint64_t timedOut_ = 0;
  std::array<uint64_t, CONN_CLASS_COUNT> evicted_ = {};
  size_t closedCount_ = 0;
  std::array<ClosedConn, CLOSED_MAX> closed_ = {};
};

}  // namespace sluice
