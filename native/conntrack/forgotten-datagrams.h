#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "native/conntrack/huge-array.h"

namespace sluice {

// The question to a table about a datagram: the key of its first fragment, or of the first packet
// of the fragment's connection.
struct FragmentQuestion {
  uint16_t port = 0;  // destination port; 0 where the protocol has none
  uint8_t protocol = 0;
  bool isReply = false;  // the datagram goes the other way than that packet
  bool operator==(const FragmentQuestion&) const = default;
};

// The question and the table that let a datagram's first fragment pass: enough to judge the
// datagram again.
struct FragmentVerdict {
  uint32_t generation = 0;  // of the table that judged
  FragmentQuestion question;
  // It cannot be judged again: it is an ICMP error about another packet, or a newer table has
  // denied it already.
  bool once = false;
};

// Datagrams that passed in part, are forgotten here, and may be unfinished at their receivers. Such
// a start could be completed by the later fragments of another datagram of the same name that a
// newer table allows. So the newer table is asked about both datagrams.
//
// Shape:  a place for each local address, direction and remote address, by hash. A place holds a
//         few questions. For a question that does not fit, or cannot be asked again, a newer
//         table's answer counts as "denied". Hash collisions make a place stricter, never looser.
//         A question is kept once, with the groups of remote addresses that it was noted for. All
//         places of a local address lie in one of many regions, whatever other addresses do.
// Source: docs/decisions/0028-forgotten-datagrams.md.
class ForgottenDatagrams {
 public:
  static constexpr size_t QUESTIONS_MAX = 4;

  // False when there is no memory.
  [[nodiscard]] bool create() noexcept { return places_.create(REGIONS * REGION_PLACES); }

  // Where a datagram is noted.
  struct Spot {
    size_t place;
    uint8_t group;  // a bit for its remote address's
  };

  // Shape: AddressHash::ofAddress() of both ends.
  [[nodiscard]] static Spot spotOf(uint64_t local, uint64_t remote, bool localSends) noexcept {
    static_assert(REGIONS == 1u << (64 - 55) && REGION_PLACES == 2u << (64 - 59));
    return {.place = ((local >> 55) << 1 | (localSends ? 1u : 0u)) << (64 - 59) | remote >> 59,
            .group = static_cast<uint8_t>(1u << (remote >> 56 & 7))};
  }

  // Notes a datagram whose start its receiver may keep until `untilUs`.
  void note(Spot spot, const FragmentVerdict& verdict, uint64_t untilUs, uint64_t nowUs) noexcept;

  // Whether the table of this generation, by `allows(question)`, allows all that is noted. Shape:
  // no note is of a newer table.
  template <typename Allows>
  [[nodiscard]] bool allAllowed(Spot spot, uint32_t generation, uint64_t nowUs,
                                const Allows& allows) const noexcept {
    const Place& noted = places_[spot.place];
    const uint32_t nowS = secondsOf(nowUs);
    const bool isOlder = noted.generation != generation;
    const auto concerns = [=](const Term& term) {
      return term.olderUntilS > nowS || (isOlder && term.untilS > nowS);
    };
    if (concerns(noted.rest)) return false;
    for (size_t each = 0; each < QUESTIONS_MAX; ++each) {
      if (!concerns(noted.known[each].term) || (noted.groups[each] & spot.group) == 0) continue;
      if (!allows(noted.known[each].question)) return false;
    }
    return true;
  }

 private:
  static constexpr size_t REGIONS = 512;
  static constexpr size_t REGION_PLACES = 64;

  // How long a receiver may keep what passed by the place's newest table, and by older ones. Apart,
  // so that what passes now does not prolong what passed before a swap.
  struct Term {
    uint32_t untilS;
    uint32_t olderUntilS;

    [[nodiscard]] bool isOver(uint32_t nowS) const noexcept {
      return untilS <= nowS && olderUntilS <= nowS;
    }
    void grow() noexcept {
      olderUntilS = std::max(olderUntilS, untilS);
      untilS = 0;
    }
  };
  struct Known {
    Term term;
    FragmentQuestion question;
  };
  struct alignas(64) Place {
    std::array<Known, QUESTIONS_MAX> known;
    std::array<uint8_t, QUESTIONS_MAX> groups;  // of each known question
    Term rest;
    uint32_t generation;  // the newest that has noted anything
  };
  static_assert(sizeof(Place) == 64);

  [[nodiscard]] static uint32_t secondsOf(uint64_t us) noexcept {
    return static_cast<uint32_t>(us / 1'000'000);
  }

  HugeArray<Place> places_;
};

}  // namespace sluice
