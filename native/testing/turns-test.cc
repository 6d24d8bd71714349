#include "native/worker/turns.h"

#include <array>
#include <cstdint>

#include "native/testing/test.h"

namespace sluice {
namespace {

constexpr auto QUANTUM = static_cast<uint64_t>(Turns::QUANTUM);

// Parties that always have more to do, each with batches of one cost; returns what each has done
// after so many rounds.
template <size_t COUNT>
std::array<uint64_t, COUNT> share(const std::array<uint64_t, COUNT>& costs, int rounds) {
  Turns turns;
  std::array<Turns::Party, COUNT> parties = {};
  std::array<uint64_t, COUNT> done = {};
  for (int round = 0; round < rounds; ++round) {
    for (size_t each = 0; each < COUNT; ++each) {
      if (!turns.mayTake(parties[each])) continue;
      turns.took(parties[each], costs[each]);
      done[each] += costs[each];
    }
    turns.endRound();
  }
  return done;
}

TEST("turns: whoever has more to do gets as much as the others, however large the batches") {
  const auto done = share<4>({QUANTUM / 100, QUANTUM / 3, QUANTUM - 1, 20 * QUANTUM}, 100'000);
  for (const uint64_t each : done) {
    CHECK(each > done[0] * 95 / 100 && each < done[0] * 105 / 100);
  }
}

TEST("turns: one alone is never kept waiting for more than a look at the others") {
  Turns turns;
  Turns::Party alone;
  Turns::Party idle;
  for (int round = 0; round < 1'000; ++round) {
    CHECK(turns.mayTake(idle));
    REQUIRE(turns.mayTake(alone));
    turns.took(alone, round % 3 == 0 ? 50 * QUANTUM : 10);
    turns.endRound();
  }
}

TEST("turns: a debt is paid in the time of those who have frames, and credit is not saved up") {
  Turns turns;
  Turns::Party debtor;
  Turns::Party other;
  REQUIRE(turns.mayTake(debtor));
  turns.took(debtor, 4 * QUANTUM);
  REQUIRE(turns.mayTake(other));
  turns.took(other, QUANTUM / 4);
  CHECK(turns.endRound());
  uint64_t othersWork = 0;
  while (!turns.mayTake(debtor)) {
    REQUIRE(turns.mayTake(other));
    turns.took(other, QUANTUM / 4);
    othersWork += QUANTUM / 4;
    turns.endRound();
  }
  CHECK(othersWork >= 2 * QUANTUM && othersWork <= 4 * QUANTUM);
  // A long rest gives no more than a quantum.
  Turns::Party rested;
  for (int round = 0; round < 1'000; ++round) {
    if (turns.mayTake(other)) turns.took(other, QUANTUM);
    turns.endRound();
  }
  REQUIRE(turns.mayTake(rested));
  turns.took(rested, QUANTUM);
  CHECK(!turns.mayTake(rested));
}

TEST("turns: what is done out of turn is paid for, up to a quantum of debt") {
  Turns turns;
  Turns::Party party;
  for (int each = 0; each < 100; ++each) party.payMore(QUANTUM);
  CHECK(!turns.mayTake(party));
  CHECK(turns.endRound());
  CHECK(turns.mayTake(party));
}

}  // namespace
}  // namespace sluice
