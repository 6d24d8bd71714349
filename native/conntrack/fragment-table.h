#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "native/conntrack/siphash.h"
#include "native/packet/packet-view.h"
#include "native/packet/status.h"

namespace sluice {

inline constexpr uint64_t FRAGMENT_TIMEOUT_V4_US = 30'000'000;
inline constexpr uint64_t FRAGMENT_TIMEOUT_V6_US = 60'000'000;

// By what a datagram's first fragment was let through: enough to judge it again.
struct FragmentVerdict {
  uint32_t generation = 0;  // of the table that judged
  uint16_t port = 0;        // destination port of its connection's first packet
  uint8_t protocol = 0;
  bool isReply = false;  // it goes against that packet
  bool related = false;  // it is an error about another packet
};

// Datagrams of which an allowed first fragment has passed, so that the later ones may follow.
//
// Shape:   sets of eight by keyed hash; a full set refuses new datagrams until one times out.
// Threads: one.
// Cost:    a set is searched; no allocation after create().
// Source:  RFC 1858, RFC 3128, RFC 5722 (overlaps), RFC 8200 section 4.5.
class FragmentTable {
 public:
  struct Datagram;

  // Errors: Argument for a size of 0 or above 2^20, Limit when there is no memory.
  static Status create(uint32_t datagramsMax, const HashSecret& secret,
                       FragmentTable* table) noexcept;
  FragmentTable() noexcept;
  ~FragmentTable();
  FragmentTable(FragmentTable&&) noexcept;
  FragmentTable& operator=(FragmentTable&&) noexcept;

  // Finds room for the datagram of a first fragment. Nothing is noted before admit().
  //
  // Errors: FragmentOverlap when the datagram is under way already, FragmentFull.
  [[nodiscard]] DropReason reserve(const PacketView& view, uint8_t zone, uint64_t nowUs,
                                   Datagram** datagram) noexcept;

  // Notes that the first fragment, for which `datagram` was reserved, has passed.
  void admit(const PacketView& view, uint8_t zone, uint64_t nowUs, Datagram* datagram,
             const FragmentVerdict& verdict) noexcept;

  // By what the datagram of a later fragment was let through, to be brought up to date; nullptr
  // when it is not known.
  [[nodiscard]] FragmentVerdict* verdictOf(const PacketView& view, uint8_t zone,
                                           uint64_t nowUs) noexcept;

  // Lets nothing more of a datagram through, nor another first fragment in its place: who has its
  // start could put what follows that one behind it.
  void seal(const PacketView& view, uint8_t zone, uint64_t nowUs) noexcept;

  // Says whether a later fragment may follow, and notes it. When its datagram is whole, it is
  // forgotten.
  //
  // Errors: FragmentOrphan, FragmentTiny for TCP at offset 8, FragmentFull when it leaves more gaps
  //         than are kept, FragmentOverlap. After an overlap (but for a plain copy) and after
  //         FragmentTiny the rest of the datagram is refused too.
  [[nodiscard]] DropReason follow(const PacketView& view, uint8_t zone, uint64_t nowUs) noexcept;

 private:
  struct Key {
    std::array<uint64_t, 5> words = {};
    bool operator==(const Key&) const = default;
  };
  static constexpr uint32_t SET_SIZE = 8;

  static Key keyOf(const PacketView& view, uint8_t zone) noexcept;
  [[nodiscard]] Datagram* setOf(const Key& key) noexcept;
  [[nodiscard]] Datagram* find(const Key& key, uint64_t nowUs) noexcept;

  std::unique_ptr<Datagram[]> datagrams_;
  HashSecret secret_ = {};
  uint32_t setMask_ = 0;
};

}  // namespace sluice
