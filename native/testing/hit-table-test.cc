// Goal: each packet that was added is read once, under its own key or as nobody's; a count keeps
// its number as long as something holds it. Method: random additions beside a model, in tables with
// room for all keys and with room for few.
#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <vector>

#include "native/conntrack/hit-table.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};

struct Sum {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t connections = 0;

  friend bool operator==(const Sum&, const Sum&) = default;
};

// A key of many that share a leaf; every third is a drop.
HitKey keyOf(uint32_t number) {
  const uint32_t denied = number % 3 == 0 ? uint32_t{DENIED_BY_INGRESS} : 0;
  return {1 + number % 2, number % 5, 7, number | denied << HitKey::DENIED_SHIFT};
}

using Name = std::tuple<uint32_t, uint32_t, uint32_t, uint32_t>;
Name nameOf(const HitRecord& record) {
  return {record.generation, record.sourceLeaf, record.port, record.deniedBy};
}
Name nameOf(const HitKey& key) {
  return {key.generation, key.sourceLeaf, key.flow & 0xffff, key.flow >> HitKey::DENIED_SHIFT};
}

}  // namespace

TEST("hits: what was added is read once; without room it is nobody's, and the sums stay exact") {
  for (const uint32_t room : {4'096u, 5u}) {
    HitTable table;
    REQUIRE(table.create(room, SECRET));
    std::map<Name, Sum> model;
    std::map<Name, Sum> got;
    std::vector<uint32_t> held;
    std::array<HitRecord, 16> records;
    uint32_t random = 1;
    for (uint64_t step = 1; step < 20'000; ++step) {
      random = random * 1'664'525 + 1'013'904'223;
      const HitKey key = keyOf(random >> 20);
      // What is remembered with another count may have been freed since, and be another's.
      const uint32_t before = held.empty() ? HitTable::NOBODYS_PASSED : held.back();
      const uint32_t number = table.findAfter(before, key);
      CHECK(number == table.find(key));
      const bool isNobodys = number <= HitTable::NOBODYS_DENIED;
      CHECK(!isNobodys || room == 5);
      CHECK(!isNobodys ||
            (number == HitTable::NOBODYS_DENIED) == (key.flow >> HitKey::DENIED_SHIFT != 0));
      const Name name = !isNobodys ? nameOf(key)
                        : number == HitTable::NOBODYS_DENIED
                            ? Name{0, 0, 0, DENIED_BY_EGRESS | DENIED_BY_INGRESS}
                            : Name{0, 0, 0, 0};
      Sum& sum = model[name];
      table.add(number, 2, 100 + step % 7, step);
      sum.packets += 2;
      sum.bytes += 100 + step % 7;
      if (random % 5 == 0) {
        table.addConnection(number, step);
        ++sum.connections;
      }
      if (random % 11 == 0 && held.size() < 6) {
        table.hold(number);
        held.push_back(number);
      } else if (random % 13 == 0 && !held.empty()) {
        table.release(held.back());
        held.pop_back();
      }
      if (random % 4 != 0) continue;
      const size_t count = table.read(step, 9, records);
      CHECK(count <= 9);
      for (size_t at = 0; at < count; ++at) {
        const HitRecord& record = records[at];
        Sum& read = got[nameOf(record)];
        read.packets += record.totalPackets;
        read.bytes += record.totalBytes;
        read.connections += record.connections;
        const auto holders = std::count(held.begin(), held.end(), record.number);
        CHECK((record.isOver == 1) == (holders == 0 && record.number > HitTable::NOBODYS_DENIED));
      }
    }
    while (table.waiting() > 0) {
      const size_t count = table.read(20'000, 100, records);
      for (size_t at = 0; at < count; ++at) {
        Sum& read = got[nameOf(records[at])];
        read.packets += records[at].totalPackets;
        read.bytes += records[at].totalBytes;
        read.connections += records[at].connections;
      }
    }
    CHECK(got == model);
    CHECK(room != 5 || got.contains(Name{0, 0, 0, 0}));
  }
}

TEST("hits: a record tells how long ago the last of it was") {
  HitTable table;
  REQUIRE(table.create(64, SECRET));
  const uint32_t number = table.find(keyOf(1));
  table.add(number, 1, 60, 5'000'000);
  table.add(number, 1, 60, 4'000'000);
  std::array<HitRecord, 2> records;
  REQUIRE(table.read(7'500'000, 2, records) == 1);
  CHECK(records[0].agoMs == 2'500 && records[0].totalPackets == 2);
  CHECK(table.read(7'500'000, 2, records) == 0);
}

}  // namespace sluice::testing
