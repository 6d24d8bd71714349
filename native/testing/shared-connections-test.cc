// Goal:   beside programs that pass packets of its connections, the table keeps its promises: what
// has
//         ended is told with all that was counted, its place is nobody's meanwhile, and times and
//         classes are those that programs have noted.
// Method: the test writes to entries what programs would write.
#include <vector>

#include "native/conntrack/tcp-track.h"
#include "native/testing/one-pod.h"
#include "native/testing/shared-memory.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};
constexpr uint32_t SIZE = 128;
constexpr uint64_t NOW = 1'000 * SECOND_US;

ConnName nameOf(uint32_t number, uint8_t protocol = PROTOCOL_TCP) {
  FlowKey key;
  key.family = 4;
  key.protocol = protocol;
  key.source = {10, 0, 0, 1};
  key.destination = {10, 1, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)};
  key.sourcePort = 40'000;
  key.destinationPort = 8'080;
  return connNameOf(key, IcmpRole::None, 0, 0);
}

ConnEntry* findIn(ConnTable& table, const ConnName& name, uint64_t nowUs) {
  return table.find(name, table.hintOf(name), nowUs);
}

// What programs step the state to.
void step(ConnEntry& entry, ConnState to) { entry.enter(to, ConnEntry::UNREPLIED); }

struct Bench {
  SharedMemory memory{ConnTable::placesFor(SIZE)};
  std::unique_ptr<GracePeriods> periods;
  ConnTable table;

  Bench() {
    CHECK(memory.valid());
    CHECK(GracePeriods::start(&periods).ok());
    CHECK(ConnTable::create(SIZE, SECRET, &table).ok());
  }
  void share() { CHECK(table.share(memory.descriptors(), periods.get()).ok()); }

  ConnEntry* open(uint32_t number, bool admits, uint16_t owner = ConnTable::NOBODY,
                  uint8_t protocol = PROTOCOL_TCP) {
    const ConnName name = nameOf(number, protocol);
    DropReason reason;
    ConnEntry* const entry = table.insert(name, table.hintOf(name), {owner, 1}, NOW, &reason);
    if (entry == nullptr) return nullptr;
    entry->state = ConnState::Unreplied;
    if (protocol == PROTOCOL_TCP) {
      TcpSegment syn;
      syn.flags = TCP_SYN;
      syn.window = 1'000;
      openTcp(*entry, name.sender, syn);
    } else {
      entry->noteOpening(NOW);
    }
    entry->count(name.sender, 60);
    entry->expiresUs = NOW + timeoutOf(*entry);
    for (SluiceConnEnd& end : entry->ends) end.seenUs = NOW;
    if (admits) entry->admit(1);
    return entry;
  }
  // Sees the grace periods of all that has been taken back out.
  void reclaim() {
    periods->wait();
    while (table.reclaim() > 0) continue;
  }
};

// Memory of which the kernel gives only some places.
class TightRoom final : public ConnRoom {
 public:
  TightRoom(uint32_t all, uint32_t given) {
    CHECK(memory_.create(all));
    entries_ = memory_.get();
    give(given);
  }
  void give(uint32_t places) { places_ = places; }
  void prepare(uint32_t) noexcept override {}
  [[nodiscard]] bool grow(uint32_t places) noexcept override { return places <= places_; }

 private:
  HugeArray<ConnEntry> memory_;
};

}  // namespace

TEST("shared connections: a table moves with all its connections") {
  Bench bench;
  for (uint32_t number = 0; number < SIZE; ++number) REQUIRE(bench.open(number, false) != nullptr);
  bench.table.remove(*findIn(bench.table, nameOf(7), NOW));
  bench.table.forgetClosed();
  bench.share();
  CHECK(bench.table.size() == SIZE - 1);
  for (uint32_t number = 0; number < SIZE; ++number) {
    ConnEntry* const found = findIn(bench.table, nameOf(number), NOW);
    CHECK((found != nullptr) == (number != 7));
    if (found == nullptr) continue;
    CHECK(found->packets() == 1 && found->shared == 0);
    bench.table.remove(*found);
  }
  CHECK(bench.table.size() == 0);
  // Nobody but the worker has had them: each is told at once.
  CHECK(bench.table.closed().size() == SIZE - 1);
}

TEST("shared connections: what has ended is told with what was counted in its grace period") {
  Bench bench;
  bench.share();
  ConnEntry* const entry = bench.open(1, true);
  REQUIRE(entry != nullptr);
  bench.table.remove(*entry);
  CHECK(entry->ends[0].admitted == 0 && entry->ends[1].admitted == 0);
  CHECK(findIn(bench.table, nameOf(1), NOW) == nullptr);
  CHECK(bench.table.size() == 0);
  CHECK(bench.table.closed().empty());
  // A program that had begun before passes one more.
  entry->count(0, 500);
  ConnEntry* const next = bench.open(1, true);
  REQUIRE(next != nullptr && next != entry);
  bench.reclaim();
  REQUIRE(bench.table.closed().size() == 1);
  CHECK(bench.table.closed()[0].packets == 2 && bench.table.closed()[0].bytes == 560);
  // Now the place is free.
  CHECK(bench.open(2, false) == entry);
}

TEST(
    "shared connections: where the kernel refuses memory, connections give way as in a full "
    "table") {
  Bench bench;
  TightRoom room(ConnTable::placesFor(SIZE), 100);
  const ConnMemory memory = {&room, bench.memory.descriptors().buckets, 0};
  REQUIRE(bench.table.share(memory, bench.periods.get()).ok());
  const uint16_t greedy = bench.table.attach();
  const uint16_t modest = bench.table.attach();
  uint32_t number = 0;
  while (bench.open(number, true, greedy) != nullptr) ++number;
  CHECK(number >= 28);
  // Whoever comes next may be refused once, until a place that was given up is free.
  bool taken = false;
  for (uint32_t tries = 0; tries < 64 && !taken; ++tries) {
    taken = bench.open(1'000 + tries, true, modest) != nullptr;
    bench.reclaim();
  }
  CHECK(taken);
  for (uint32_t tries = 0; tries < 200; ++tries) (void)bench.open(2'000 + tries, true, greedy);
  // A share is kept for it.
  CHECK(bench.table.use(greedy).connections <= ConnTable::connectionsFor(100) / 2);
  bench.reclaim();
  CHECK(bench.open(3'000, true, modest) != nullptr);
  // And when there is memory again, the table is as large as it was meant to be.
  room.give(ConnTable::placesFor(SIZE));
  uint32_t more = 0;
  for (uint32_t tries = 0; tries < SIZE; ++tries) {
    more += bench.open(4'000 + tries, true, modest) != nullptr ? 1u : 0u;
    bench.reclaim();
  }
  CHECK(more == SIZE && bench.table.use(modest).connections == SIZE / 2);
}

TEST("shared connections: a table that is full of what leaves takes nothing, and then again") {
  Bench bench;
  bench.share();
  const uint32_t places = ConnTable::placesFor(SIZE);
  uint32_t opened = 0;
  while (opened < 2 * places) {
    ConnEntry* const entry = bench.open(opened, true);
    if (entry == nullptr) break;
    ++opened;
    bench.table.remove(*entry);
  }
  // Unless a grace period ended meanwhile, after which nobody has asked.
  CHECK(opened == places);
  bench.reclaim();
  bench.table.forgetClosed();
  CHECK(bench.open(0, true) != nullptr);
}

TEST("shared connections: they live as long as programs see packets, in the state they note") {
  Bench bench;
  bench.share();
  ConnEntry* const entry = bench.open(1, true);
  REQUIRE(entry != nullptr);
  const uint64_t synUs = timeoutOf(*entry);
  step(*entry, ConnState::Established);
  entry->ends[0].seenUs = NOW + synUs - SECOND_US;
  const uint64_t laterUs = NOW + 2 * synUs - 2 * SECOND_US;
  CHECK(findIn(bench.table, nameOf(1), laterUs) == entry);
  CHECK(entry->connClass() == ConnClass::Assured);
  step(*entry, ConnState::TimeWait);
  // It is over sooner than its time was when it was last looked at.
  CHECK(bench.table.expire(laterUs, SIZE) == 0);
  CHECK(entry->connClass() == ConnClass::Closing);
  const uint64_t overUs = entry->ends[0].seenUs + timeoutOf(*entry);
  CHECK(bench.table.expire(overUs - 1, SIZE) == 0);
  CHECK(bench.table.expire(overUs, SIZE) == 1);
}

TEST("shared connections: answered datagrams are assured when they last") {
  Bench bench;
  bench.share();
  ConnEntry* const entry = bench.open(1, true, ConnTable::NOBODY, PROTOCOL_UDP);
  REQUIRE(entry != nullptr);
  step(*entry, ConnState::Replied);
  entry->ends[1].seenUs = NOW + SECOND_US;
  CHECK(bench.table.renew(*entry, NOW + SECOND_US));
  CHECK(entry->connClass() == ConnClass::Unassured);
  entry->ends[1].seenUs = NOW + 3 * SECOND_US;
  CHECK(bench.table.renew(*entry, NOW + 3 * SECOND_US));
  CHECK(entry->connClass() == ConnClass::Assured);
  CHECK(entry->expiresUs == NOW + 3 * SECOND_US + SLUICE_TIMEOUT_US_Replied);
}

TEST("shared connections: who gives way is by what programs have noted") {
  Bench bench;
  bench.share();
  const uint16_t owner = bench.table.attach();
  std::vector<ConnEntry*> all;
  for (uint32_t number = 0; number < SIZE; ++number) {
    all.push_back(bench.open(number, true, owner));
    REQUIRE(all.back() != nullptr);
  }
  // All but one have been answered since.
  for (uint32_t number = 0; number < SIZE; ++number) {
    if (number != 40) step(*all[number], ConnState::Established);
  }
  REQUIRE(bench.open(SIZE, true, owner) != nullptr);
  CHECK(findIn(bench.table, nameOf(40), NOW) == nullptr);
  CHECK(bench.table.evicted(ConnClass::Unanswered) == 1);
  // One has ended: it goes before the one that has just begun.
  step(*all[3], ConnState::TimeWait);
  for (uint32_t sweep = 0; sweep < 2; ++sweep) bench.table.expire(NOW, 2 * SIZE);
  REQUIRE(bench.open(SIZE + 1, true, owner) != nullptr);
  CHECK(findIn(bench.table, nameOf(3), NOW) == nullptr);
  CHECK(bench.table.evicted(ConnClass::Closing) == 1);
}

TEST("shared connections: a segment that sets numbers back waits until the entry is one's own") {
  Bench bench;
  bench.share();
  ConnEntry* const entry = bench.open(1, true);
  REQUIRE(entry != nullptr);
  const uint8_t opener = entry->opener();
  TcpSegment again;
  again.flags = TCP_SYN;
  again.window = 1'000;
  bool restarts = true;
  CHECK(trackSharedTcp(*entry, opener, again, &restarts).fate == TcpFate::Accepted);
  CHECK(!restarts);
  again.sequence = 77'000;
  const SluiceTcpEnd before = entry->ends[opener].tcp;
  (void)trackSharedTcp(*entry, opener, again, &restarts);
  CHECK(restarts);
  CHECK(entry->ends[opener].tcp.sentEnd == before.sentEnd);
  bench.table.takeBack(*entry);
  CHECK(entry->shared == 1);
  bench.reclaim();
  CHECK(entry->shared == 0 && findIn(bench.table, nameOf(1), NOW) == entry);
  CHECK(bench.table.closed().empty());
}

}  // namespace sluice::testing
