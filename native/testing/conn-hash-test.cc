// Goal:   hashes do not depend on the batch size, are evenly spread for any names that a peer may
//         choose, and are unrelated under different secrets; a hint stays valid whatever is added
//         or removed after it.
// Method: both implementations; names that differ in one field only, as an attacker who wants
//         collisions would send them; random changes of the table between hint and find.
#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "native/conntrack/conn-table.h"
#include "native/testing/test.h"

using namespace sluice;

namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};
constexpr uint64_t SIP_OF_SEVEN = 0xe6c9a181a4ebe2da;
constexpr uint64_t AES_OF_SEVEN = 0xe521ed88cac1804c;

FlowKey flowOf(uint32_t number, uint8_t family) {
  FlowKey key;
  key.family = family;
  key.protocol = PROTOCOL_UDP;
  key.source = {10, static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16), 1};
  key.destination = {10, 200, 0, 1};
  key.sourcePort = static_cast<uint16_t>(number);
  key.destinationPort = 53;
  return key;
}

std::vector<ConnHash::Way> ways() {
  std::vector<ConnHash::Way> all = {ConnHash::Way::Sip};
  if (ConnHash::fastestWay() != ConnHash::Way::Sip) all.push_back(ConnHash::fastestWay());
  return all;
}

}  // namespace

TEST("conn hash: many at once are each as one by one, and another secret changes all") {
  for (const ConnHash::Way way : ways()) {
    const ConnHash hash(SECRET, way);
    const ConnHash other({SECRET[0] ^ 1, SECRET[1]}, way);
    for (size_t count = 0; count <= BATCH_FRAMES_MAX; ++count) {
      std::vector<ConnName> names;
      for (uint32_t each = 0; each < count; ++each) {
        names.push_back(
            connNameOf(flowOf(each * 77'777, each % 3 == 0 ? 6 : 4), IcmpRole::None, 0, 0));
      }
      std::vector<ConnHint> hints(count);
      hash.many(names, hints.data());
      for (size_t at = 0; at < count; ++at) {
        CHECK(hints[at].hash == hash.one(names[at].key));
        CHECK(hints[at].hash != other.one(names[at].key));
      }
    }
  }
}

// The constant of the AES rounds was computed from the steps of FIPS 197, byte by byte.
TEST("conn hash: each way gives the same on every processor") {
  const ConnKey key = connNameOf(flowOf(7, 6), IcmpRole::None, 0, 0).key;
  CHECK(ConnHash(SECRET, ConnHash::Way::Sip).one(key) == SIP_OF_SEVEN);
  if (ConnHash::fastestWay() != ConnHash::Way::Aes) return;
  CHECK(ConnHash(SECRET, ConnHash::Way::Aes).one(key) == AES_OF_SEVEN);
}

TEST("conn hash: names that differ in little spread evenly, in the bits that are used") {
  constexpr uint32_t NAMES = 1 << 16;
  constexpr uint32_t BINS = 1 << 10;
  for (const ConnHash::Way way : ways()) {
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      const ConnHash hash(SECRET, way);
      for (const int shift : {0, 22, 32, 54}) {
        std::vector<uint32_t> bins(BINS);
        for (uint32_t number = 0; number < NAMES; ++number) {
          const ConnName name = connNameOf(flowOf(number, family), IcmpRole::None, 0, 0);
          ++bins[hash.one(name.key) >> shift & (BINS - 1)];
        }
        // Chi squared with 1023 degrees of freedom: mean 1023, deviation 45.
        double chi = 0;
        constexpr double MEAN = double{NAMES} / BINS;
        for (const uint32_t bin : bins) chi += (bin - MEAN) * (bin - MEAN) / MEAN;
        CHECK(chi > 750 && chi < 1'300);
      }
    }
  }
}

TEST("conn hash: each bit of a name changes half of the hash") {
  constexpr int KEYS = 64;
  for (const ConnHash::Way way : ways()) {
    const ConnHash hash(SECRET, way);
    for (size_t bit = 0; bit < 5 * 64; ++bit) {
      int changed = 0;
      for (uint32_t each = 0; each < KEYS; ++each) {
        ConnKey key = connNameOf(flowOf(each, 6), IcmpRole::None, 0, 0).key;
        const uint64_t before = hash.one(key);
        key.words[bit / 64] ^= uint64_t{1} << bit % 64;
        changed += std::popcount(before ^ hash.one(key));
      }
      // 4096 bits, half of them expected: deviation 32.
      CHECK(changed > 2'048 - 200 && changed < 2'048 + 200);
    }
  }
}

TEST("conn table: a hint stays good whatever comes and goes after it") {
  constexpr uint32_t SIZE = 60;
  constexpr uint32_t FLOWS = 100;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  uint64_t state = 88'172'645'463'325'252;
  const auto below = [&state](uint32_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<uint32_t>((state >> 32) * limit >> 32);
  };
  uint64_t nowUs = 0;
  uint32_t found = 0;
  for (uint32_t round = 0; round < 2'000; ++round) {
    std::array<ConnName, 32> names;
    std::array<ConnHint, 32> hints;
    for (ConnName& name : names) {
      name = connNameOf(flowOf(below(FLOWS), 4), IcmpRole::None, 0, 0);
    }
    table.prepare(names, hints.data());
    for (size_t at = 0; at < names.size(); ++at) {
      nowUs += below(3);
      ConnEntry* hinted = table.find(names[at], hints[at], nowUs);
      ConnEntry* plain = table.find(names[at], table.hintOf(names[at]), nowUs);
      CHECK(hinted == plain);
      CHECK(hinted == nullptr || hinted->key == names[at].key);
      if (hinted != nullptr) {
        ++found;
        if (below(4) == 0) table.remove(*hinted);
        continue;
      }
      DropReason reason;
      ConnEntry* made = table.insert(names[at], hints[at], {}, nowUs, &reason);
      REQUIRE(made != nullptr);
      made->state = ConnState::Unreplied;
      made->expiresUs = nowUs + 1 + below(300);
    }
  }
  CHECK(found > 1'000);
  CHECK(table.evicted(ConnClass::Unanswered) > 100);
  CHECK(table.timedOut() > 100);
}
