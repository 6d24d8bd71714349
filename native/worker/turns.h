#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sluice {

// The cost of handling frames, for sharing a worker's time.
//
// Units: about a nanosecond of an ordinary core; only the ratios matter (docs/decisions/0019).
struct WorkOf {
  static constexpr uint64_t RECEIVED = 300;   // a frame: taken, read, found; reported if dropped
  static constexpr uint64_t SENT = 1'300;     // a frame: the system call's part, and the receiver's
  static constexpr uint64_t LOOKED_UP = 200;  // a frame of an unknown connection: table lookup
  static constexpr uint64_t HANDED_OVER = 100;  // a frame that is copied for another worker
  static constexpr uint64_t CUT = 200;          // a segment that is cut here, without its sending
  static constexpr uint64_t TO_CUT = 50;        // a segment that is left to the kernel or a card
  static constexpr uint64_t REJECTED = 400;     // an answer to a denied frame, without its sending
  [[nodiscard]] static constexpr uint64_t copied(uint64_t bytes) noexcept { return bytes / 8; }
};

// Deficit round robin: gives each party an equal share of a thread.
//
// A party may take a batch while it has credit. It pays afterwards, when the cost is known, so an
// expensive batch leaves a debt. It then waits until all parties with frames have used up their
// credit. A new cycle then gives every party a quantum. Unused credit is not saved. When no other
// party has frames, a new cycle begins at once, so no party waits while the thread is idle.
//
// Units:  WorkOf's.
// Cost:   constant for each call, whatever the number of parties.
// Source: Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995; paying
//         afterwards as in Surplus Round Robin.
class Turns {
 public:
  // A batch of 64 frames of 1,500 bytes, each of a new connection, costs no more.
  static constexpr int64_t QUANTUM = 130'000;

  // A party: a link, or another worker that hands frames over.
  class Party {
   public:
    // Charges the party for work done outside its turn; this adds debt up to one quantum.
    void payMore(uint64_t work) noexcept {
      const int64_t left = credit_ - static_cast<int64_t>(work);
      credit_ = std::max(left, std::min(credit_, -QUANTUM));
    }

   private:
    friend class Turns;
    int64_t credit_ = QUANTUM;
    uint64_t cycle_ = 0;  // the cycle whose quantum it has got
  };

  // Whether it may take a batch now.
  [[nodiscard]] bool mayTake(Party& party) noexcept {
    if (party.cycle_ != cycle_) {
      const uint64_t cycles = std::min<uint64_t>(cycle_ - party.cycle_, CYCLES_MAX);
      party.credit_ = std::min(QUANTUM, party.credit_ + QUANTUM * static_cast<int64_t>(cycles));
      party.cycle_ = cycle_;
    }
    if (party.credit_ > 0) return true;
    owed_ = std::min(owed_, -party.credit_);
    return false;
  }

  // The party has taken frames and may have more.
  void took(Party& party, uint64_t work) noexcept {
    party.credit_ -= static_cast<int64_t>(work);
    if (party.credit_ > 0) {
      someMayGoOn_ = true;
    } else {
      owed_ = std::min(owed_, -party.credit_);
    }
  }

  // Ends a round, in which every party was asked once. True when a party was in debt, which may
  // have credit now.
  bool endRound() noexcept {
    const bool somebodyOwes = owed_ != NOBODY_OWES;
    if (!someMayGoOn_) cycle_ += somebodyOwes ? static_cast<uint64_t>(owed_ / QUANTUM) + 1 : 1;
    someMayGoOn_ = false;
    owed_ = NOBODY_OWES;
    return somebodyOwes;
  }

 private:
  static constexpr int64_t NOBODY_OWES = INT64_MAX;
  static constexpr uint64_t CYCLES_MAX = 1 << 20;  // pays for any debt

  uint64_t cycle_ = 0;
  bool someMayGoOn_ = false;
  int64_t owed_ = NOBODY_OWES;  // the smallest debt
};

}  // namespace sluice
