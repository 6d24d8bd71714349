// Goal:   when there is no room, the oldest datagram of the owner with too many is evicted, and no
//         other owner's.
// Method: named cases, then random operations, after each of which at most one datagram may be
//         gone: whose, is known.
#include <algorithm>
#include <array>
#include <vector>

#include "native/conntrack/fragment-table.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};
constexpr uint32_t BYTES = 64;
constexpr uint64_t SECOND = 1'000'000;

// Datagram `id` of a remote host to a pod: its first fragment, and one behind it. 250 hosts make a
// network.
struct Name {
  uint32_t id;
  uint32_t host = 0;
  uint8_t pod = 1;
  uint8_t family = 4;
};
PacketView pieceOf(const Name& name, bool first) {
  PacketView view;
  view.key.family = name.family;
  view.key.protocol = PROTOCOL_UDP;
  const auto network = static_cast<uint16_t>(name.host / 250);
  view.key.source = {9, static_cast<uint8_t>(network >> 8), static_cast<uint8_t>(network),
                     static_cast<uint8_t>(name.host % 250 + 1)};
  view.key.destination = {10, 0, 0, name.pod};
  view.fragmented = view.moreFragments = true;
  view.fragmentOffset = first ? 0 : BYTES;
  view.fragmentId = name.id;
  view.l4Bytes = BYTES;
  return view;
}

// What the filter does with a first fragment that is allowed.
bool begins(FragmentTable& table, const Name& name, uint16_t owner, uint64_t nowUs) {
  const PacketView first = pieceOf(name, true);
  if (table.checkFirst(first, 0, nowUs) != DropReason::None) return false;
  table.admit(first, 0, nowUs, {.owner = owner, .localSends = false},
              {.generation = 1, .question = {}});
  return true;
}
bool isThere(FragmentTable& table, const Name& name, uint64_t nowUs) {
  return table.find(pieceOf(name, false), 0, nowUs) != nullptr;
}
bool goesOn(FragmentTable& table, const Name& name, uint64_t nowUs) {
  const PacketView piece = pieceOf(name, false);
  return table.follow(piece, table.find(piece, 0, nowUs), nowUs) == DropReason::None;
}
bool ends(FragmentTable& table, const Name& name, uint64_t nowUs) {
  PacketView piece = pieceOf(name, false);
  piece.moreFragments = false;
  return table.follow(piece, table.find(piece, 0, nowUs), nowUs) == DropReason::None;
}

}  // namespace

TEST("fragment share: the oldest gives way, and what follows it is nobody's") {
  constexpr uint32_t SIZE = 8;
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  for (uint32_t id = 0; id < 3 * SIZE; ++id) CHECK(begins(table, {id}, ConnTable::NOBODY, id));
  for (uint32_t id = 0; id < 3 * SIZE; ++id) {
    CHECK(isThere(table, {id}, 3 * SIZE) == (id >= 2 * SIZE));
  }
  CHECK(table.follow(pieceOf({0}, false), table.find(pieceOf({0}, false), 0, 3 * SIZE), 3 * SIZE) ==
        DropReason::FragmentOrphan);
  CHECK(table.evicted() == 2 * SIZE);
}

TEST("fragment share: those that are whole or over leave their places and nobody gives way") {
  constexpr uint32_t SIZE = 8;
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  for (uint32_t id = 0; id < 3 * SIZE; ++id) {
    CHECK(begins(table, {id}, ConnTable::NOBODY, 0) && ends(table, {id}, 0));
  }
  for (uint32_t id = 0; id < SIZE; ++id) CHECK(begins(table, {id}, ConnTable::NOBODY, 0));
  for (uint32_t id = 0; id < SIZE; ++id) {
    CHECK(begins(table, {SIZE + id}, ConnTable::NOBODY, 34 * SECOND));
  }
  CHECK(table.evicted() == 0);
  for (uint32_t id = 0; id < SIZE; ++id) CHECK(isThere(table, {SIZE + id}, 34 * SECOND));
}

TEST("fragment share: a flood of one pod's leaves another's alone") {
  constexpr uint32_t SIZE = 64;
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  constexpr uint16_t GREEDY = 1;
  constexpr uint16_t OTHER = 2;
  table.attach(GREEDY);
  // It is alone, and has all of it.
  for (uint32_t id = 0; id < 10 * SIZE; ++id) CHECK(begins(table, {id, 0, 1}, GREEDY, id));
  CHECK(isThere(table, {9 * SIZE, 0, 1}, 10 * SIZE));
  table.attach(OTHER);
  const uint64_t nowUs = 10 * SIZE;
  for (uint32_t id = 0; id < SIZE / 2; ++id) {
    CHECK(begins(table, {id, 0, 2}, OTHER, nowUs));
    // Between the fragments of each, more of the flood than the table has room for.
    for (uint32_t each = 0; each < 2 * SIZE; ++each) {
      CHECK(begins(table, {1'000 + id * 2 * SIZE + each, 0, 1}, GREEDY, nowUs));
    }
    CHECK(goesOn(table, {id, 0, 2}, nowUs));
  }
  for (uint32_t id = 0; id < SIZE / 2; ++id) CHECK(isThere(table, {id, 0, 2}, nowUs));
  const FragmentUse other = table.use(OTHER);
  CHECK(other.datagrams == SIZE / 2 && other.share == SIZE / 2 && other.evicted == 0);
  const FragmentUse greedy = table.use(GREEDY);
  CHECK(greedy.datagrams == SIZE / 2 && greedy.evicted == table.evicted());
  table.detach(GREEDY, nowUs);
  table.attach(GREEDY);
  CHECK(table.use(GREEDY).datagrams == 0 && table.use(GREEDY).evicted == 0);
}

TEST("fragment share: a pod that is gone leaves its places") {
  constexpr uint32_t SIZE = 64;
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  for (const uint16_t owner : {uint16_t{1}, uint16_t{2}}) table.attach(owner);
  for (uint32_t id = 0; id < SIZE / 2; ++id) {
    CHECK(begins(table, {id, 0, 1}, 1, 1) && begins(table, {id, 0, 2}, 2, 1));
  }
  table.detach(1, 2);
  for (uint32_t id = SIZE / 2; id < SIZE; ++id) CHECK(begins(table, {id, 0, 2}, 2, 2));
  for (uint32_t id = 0; id < SIZE; ++id) {
    CHECK(isThere(table, {id, 0, 2}, 2) && !isThere(table, {id, 0, 1}, 2));
  }
  CHECK(table.evicted() == 0);
}

TEST("fragment share: nobody's datagrams leave notes when they are forgotten, as a pod's do") {
  for (const uint16_t owner : {ConnTable::NOBODY, uint16_t{1}}) {
    FragmentTable table;
    REQUIRE(FragmentTable::create(1, SECRET, &table).ok());
    const auto mayBegin = [&table](const Name& name, uint32_t generation, uint64_t nowUs) {
      return table.allowsForgotten(pieceOf(name, true), generation, nowUs,
                                   [](const FragmentQuestion&) { return false; });
    };
    // One of a wire that goes, and one that gives way.
    for (const bool goes : {true, false}) {
      const uint64_t nowUs = goes ? 0 : 100 * SECOND;
      CHECK(begins(table, {1}, owner, nowUs) && mayBegin({1}, 2, nowUs));
      if (goes) table.detach(owner, nowUs);
      if (!goes) CHECK(begins(table, {2, 0, 2}, owner, nowUs));
      CHECK(!isThere(table, {1}, nowUs));
      CHECK(!mayBegin({1}, 2, nowUs) && !mayBegin({1}, 2, nowUs + 33 * SECOND));
      CHECK(mayBegin({1}, 1, nowUs) && mayBegin({1}, 2, nowUs + 35 * SECOND));
    }
  }
}

TEST("fragment share: one remote network's flood takes its own places") {
  constexpr uint32_t SIZE = 1'024;
  constexpr uint32_t OTHERS = 100;
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  table.attach(1);
  for (uint32_t each = 0; each < OTHERS; ++each) {
    CHECK(begins(table, {each, 250 * (10 + each)}, 1, 1));
  }
  for (uint32_t id = 0; id < 20 * SIZE; ++id) CHECK(begins(table, {1'000 + id, id % 250}, 1, 2));
  uint32_t there = 0;
  for (uint32_t each = 0; each < OTHERS; ++each) {
    there += isThere(table, {each, 250 * (10 + each)}, 2);
  }
  // But for those whose networks share a list with the flood's: one of 64.
  CHECK(there > OTHERS * 9 / 10);
}

TEST("fragment share: a flood of many networks ends no datagram that has just begun") {
  constexpr uint32_t SIZE = 1'024;
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  table.attach(1);
  uint32_t host = 0;
  const auto flood = [&](uint32_t count, uint64_t nowUs) {
    for (uint32_t each = 0; each < count; ++each, host += 250) {
      CHECK(begins(table, {1, host}, 1, nowUs));
    }
  };
  flood(2 * SIZE, 1);
  for (uint32_t round = 0; round < 50; ++round) {
    const uint64_t nowUs = 2 + 2 * round;
    const Name name = {7, 250 * 40'000 + 250 * round};
    CHECK(begins(table, name, 1, nowUs));
    flood(SIZE / 2, nowUs + 1);
    CHECK(ends(table, name, nowUs + 1));
  }
}

TEST("fragment share: random operations; at most one gives way, to who has less") {
  constexpr uint32_t SIZE = 40;
  constexpr uint16_t OWNERS = 3;  // and nobody
  struct Held {
    Name name;
    uint16_t owner;
    uint64_t expiresUs;
  };
  FragmentTable table;
  REQUIRE(FragmentTable::create(SIZE, SECRET, &table).ok());
  std::vector<Held> held;
  std::array<bool, OWNERS + 1> attached = {};
  for (uint16_t owner = 1; owner <= OWNERS; ++owner) {
    attached[owner] = true;
    table.attach(owner);
  }
  uint64_t random = 1;
  const auto below = [&random](uint32_t bound) {
    random = random * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    return static_cast<uint32_t>((random >> 33) % bound);
  };
  uint64_t nowUs = 1;
  uint64_t evicted = 0;
  for (uint32_t step = 0; step < 20'000; ++step) {
    nowUs += below(10) == 0 ? below(4) * SECOND : 1;
    if (const auto owner = static_cast<uint16_t>(1 + below(OWNERS)); below(500) == 0) {
      attached[owner] = !attached[owner];
      attached[owner] ? table.attach(owner) : table.detach(owner, nowUs);
      if (!attached[owner]) {
        std::erase_if(held, [owner](const Held& each) { return each.owner == owner; });
      }
    }
    // To look for one that is over removes it.
    std::erase_if(held, [&](const Held& each) {
      return each.expiresUs <= nowUs && !isThere(table, each.name, nowUs);
    });
    const auto owner = static_cast<uint16_t>(below(OWNERS + 1));
    const Name name = {below(30), 250 * below(5), static_cast<uint8_t>(owner),
                       static_cast<uint8_t>(below(2) == 0 ? 4 : 6)};
    const auto known = std::ranges::find_if(held, [&](const Held& each) {
      return each.name.id == name.id && each.name.host == name.host && each.name.pod == name.pod &&
             each.name.family == name.family;
    });
    REQUIRE(isThere(table, name, nowUs) == (known != held.end()));
    if (known != held.end()) {
      if (below(3) == 0) {
        CHECK(ends(table, name, nowUs));
        held.erase(known);
      }
      continue;
    }
    const auto countOf = [&](uint16_t of) {
      return std::ranges::count_if(held, [of](const Held& each) { return each.owner == of; });
    };
    const auto owners = std::ranges::count(attached, true);
    const auto shareOf = [&](uint16_t of) { return attached[of] ? SIZE / owners : int64_t{0}; };
    REQUIRE(begins(table, name, owner, nowUs));
    const auto gone = std::ranges::find_if(
        held, [&](const Held& each) { return !isThere(table, each.name, nowUs); });
    if (gone != held.end()) {
      ++evicted;
      const bool own = gone->owner == owner;
      CHECK(owners == 0 ||
            (own ? countOf(owner) >= shareOf(owner)
                 : countOf(gone->owner) > shareOf(gone->owner) || countOf(owner) == 0));
      held.erase(gone);
    }
    held.push_back({name, owner, nowUs + (name.family == 4 ? 34 : 68) * SECOND});
    REQUIRE(std::ranges::all_of(
        held, [&](const Held& each) { return isThere(table, each.name, nowUs); }));
    REQUIRE(table.evicted() == evicted && held.size() <= SIZE);
    REQUIRE(table.use(owner).datagrams == countOf(owner));
  }
  CHECK(evicted > 1'000);
}

}  // namespace sluice::testing
