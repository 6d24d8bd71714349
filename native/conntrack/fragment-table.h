#pragma once

#include <array>
#include <cstdint>

#include "native/conntrack/address-hash.h"
#include "native/conntrack/conn-table.h"
#include "native/conntrack/forgotten-datagrams.h"
#include "native/conntrack/huge-array.h"
#include "native/packet/packet-view.h"
#include "native/packet/status.h"

namespace sluice {

// How long a receiver may keep a start. Linux keeps it for 30 s (IPv6: 60 s), and its timer wheel
// may add a granule to that, which is at most 12.7 % at any HZ.
inline constexpr uint64_t FRAGMENT_TIMEOUT_V4_US = 34'000'000;
inline constexpr uint64_t FRAGMENT_TIMEOUT_V6_US = 68'000'000;

// The owner that a datagram counts for.
struct FragmentCharge {
  uint16_t owner = ConnTable::NOBODY;
  bool localSends = true;  // the owner's address is the source
};

// Usage of one owner.
struct FragmentUse {
  uint32_t datagrams = 0;
  uint32_t share = 0;
  uint64_t evicted = 0;  // its datagrams that gave way to new ones
};

// Datagrams whose first fragment was allowed and has passed, so that the later fragments may
// follow.
//
// Each datagram counts for one owner, a local endpoint, which may have an equal share of the table.
// At its share, an owner's new datagram evicts one of its own: one of the remote network that has
// more than a quarter of them, otherwise one of the oldest. When the table is full, an owner below
// its share evicts from the owner that is most above its own.
//
// Shape:   chains by keyed hash; a list of each owner's datagrams by remote network, hashed, oldest
//          first. All are linked by entry numbers, of which 0 is none.
// Threads: one; use() and evicted() also from others, while no owner comes or goes.
// Cost:    a call searches one chain; no allocation after create(). Memory is touched when it is
//          first used.
// Source:  RFC 1858, RFC 3128, RFC 5722 (overlaps), RFC 8200 section 4.5.
class FragmentTable {
 public:
  struct Datagram;

  // Errors: Argument for a size of 0 or above FRAGMENTS_MAX, Limit when there is no memory.
  static Status create(uint32_t datagramsMax, const HashSecret& secret,
                       FragmentTable* table) noexcept;
  FragmentTable() noexcept;
  ~FragmentTable();
  FragmentTable(FragmentTable&&) noexcept;
  FragmentTable& operator=(FragmentTable&&) noexcept;

  // Adds or removes an owner by its number in the connection table. The datagrams of a removed
  // owner, or of nobody, are forgotten: its wire may come back in another zone, where they would
  // not be found.
  void attach(uint16_t owner) noexcept;
  void detach(uint16_t owner, uint64_t nowUs) noexcept;

  // The datagram of a fragment, if its first fragment has passed and it is incomplete; otherwise
  // nullptr.
  [[nodiscard]] Datagram* find(const PacketView& view, uint8_t zone, uint64_t nowUs) noexcept;

  // Whether a datagram may begin with this first fragment. Otherwise changes no state; admit()
  // records the datagram.
  //
  // Errors: FragmentOverlap when the datagram has begun already. Unless the fragment is an exact
  //         copy, the rest of the datagram is refused then.
  [[nodiscard]] DropReason checkFirst(const PacketView& view, uint8_t zone,
                                      uint64_t nowUs) noexcept;

  // Whether the table of this generation, by `allows(question)`, allows every datagram of this
  // fragment's name that is forgotten here and that its receiver may still hold in part.
  template <typename Allows>
  [[nodiscard]] bool allowsForgotten(const PacketView& view, uint32_t generation, uint64_t nowUs,
                                     const Allows& allows) const noexcept {
    // Which of the addresses is local may have changed since.
    const auto [source, destination] = hashesOf(keyOf(view, 0));
    const auto sent = ForgottenDatagrams::spotOf(source, destination, true);
    const auto received = ForgottenDatagrams::spotOf(destination, source, false);
    return forgotten_.allAllowed(sent, generation, nowUs, allows) &&
           forgotten_.allAllowed(received, generation, nowUs, allows);
  }

  // Records a first fragment that has passed. checkFirst() must have allowed it.
  void admit(const PacketView& view, uint8_t zone, uint64_t nowUs, FragmentCharge charge,
             const FragmentVerdict& verdict) noexcept;

  // The verdict that let a datagram pass; the caller may update it.
  [[nodiscard]] static FragmentVerdict& verdictOf(Datagram& datagram) noexcept;

  // Blocks the rest of a datagram that a newer table denies, and any other first fragment of its
  // name: a receiver that holds the denied start could append to it what follows the other one.
  static void seal(Datagram& datagram) noexcept;

  // Decides whether a later fragment may follow, and records it. `datagram` is the result of
  // find(). A complete datagram is forgotten.
  //
  // Errors: FragmentOrphan, FragmentTiny for TCP at offset 8, FragmentFull when it leaves more gaps
  //         than are kept, FragmentOverlap. After an overlap (except by an exact copy) and after
  //         FragmentTiny the rest of the datagram is refused, too.
  [[nodiscard]] DropReason follow(const PacketView& view, Datagram* datagram,
                                  uint64_t nowUs) noexcept;

  [[nodiscard]] FragmentUse use(uint16_t owner) const noexcept;
  // Datagrams evicted for new ones.
  [[nodiscard]] uint64_t evicted() const noexcept {
    return __atomic_load_n(&evicted_, __ATOMIC_RELAXED);
  }

 private:
  struct Key {
    std::array<uint64_t, 5> words = {};  // source, destination, the rest
    bool operator==(const Key&) const = default;
  };
  struct AddressHashes {
    uint64_t source;
    uint64_t destination;
  };
  // One owner's datagrams, by remote network.
  static constexpr uint32_t NETWORKS = 64;
  static constexpr uint32_t LISTS_COMPARED = 4;
  struct alignas(64) Owner {
    std::array<uint32_t, NETWORKS> counts;
    std::array<uint32_t, NETWORKS> oldest;
    std::array<uint32_t, NETWORKS> newest;
    uint32_t count;
    bool attached;
    uint64_t evicted;
  };

  static Key keyOf(const PacketView& view, uint8_t zone) noexcept;
  [[nodiscard]] AddressHashes hashesOf(const Key& key) const noexcept {
    return {addressHash_.ofAddress(key.words[0], key.words[1]),
            addressHash_.ofAddress(key.words[2], key.words[3])};
  }
  [[nodiscard]] uint32_t& chainOf(const Key& key) noexcept;
  // The part of the table that each owner can have while all others have theirs.
  [[nodiscard]] uint32_t shareOf(uint16_t owner) const noexcept;
  [[nodiscard]] Datagram& firstToGo(const Owner& owner) noexcept;
  [[nodiscard]] uint16_t mostAboveShare() const noexcept;
  void makeRoom(uint16_t owner, uint64_t nowUs) noexcept;
  void remove(Datagram& datagram) noexcept;
  // Removes a datagram, and notes it while its receiver may not have finished it.
  void forget(Datagram& datagram, uint64_t nowUs) noexcept;

  HugeArray<Datagram> datagrams_;
  HugeArray<uint32_t> chains_;
  HugeArray<Owner> owners_;
  ForgottenDatagrams forgotten_;
  HashSecret secret_ = {};
  AddressHash addressHash_;
  uint64_t evicted_ = 0;
  uint32_t datagramsMax_ = 0;
  uint32_t chainMask_ = 0;
  uint32_t placesUsed_ = 0;
  uint32_t free_ = 0;
  uint32_t size_ = 0;
  uint32_t listsTurn_ = 0;  // the next few lists to compare start here
  uint32_t attached_ = 0;   // owners
  uint16_t ownersUsed_ = 1;
};

}  // namespace sluice
