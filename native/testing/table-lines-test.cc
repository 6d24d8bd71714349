// Goal: a table that is changed by some lines is the one that they make, checked as if it had been
//       opened; what is wrong leaves the table in force; no worker sees lines of two tables.
// Method: random tables by hand that differ in leaves of addresses; then random words anywhere made
//         wrong, with the checksum mended, where TableView::open() is the judge.
#include <array>
#include <cstring>
#include <vector>

#include "native/table/table-slot.h"
#include "native/table/table-view.h"
#include "native/testing/blob-builder.h"
#include "native/testing/random.h"
#include "native/testing/test.h"

using namespace sluice;
using sluice::testing::Blob;
using sluice::testing::BlobBuilder;
using sluice::testing::Random;

namespace {

constexpr uint32_t ROUNDS = 8;
constexpr uint32_t CHANGES = 12;
constexpr uint32_t DAMAGES = 150;
constexpr uint32_t LEAVES = 6;

// Addresses that share nodes, and each one's leaf.
struct Mapped {
  std::vector<std::array<uint8_t, 4>> v4;
  std::vector<std::array<uint8_t, 16>> v6;
  std::vector<uint32_t> leaves;

  explicit Mapped(Random& random) {
    for (size_t pod = 0; pod < 24; ++pod) {
      v4.push_back({10, static_cast<uint8_t>(random.below(3)),
                    static_cast<uint8_t>(random.below(3)), static_cast<uint8_t>(random.below(8))});
      std::array<uint8_t, 16> address = {0xfd};
      for (const size_t byte : {1, 3, 7, 8, 15}) {
        address[byte] = static_cast<uint8_t>(random.below(3));
      }
      v6.push_back(address);
      leaves.push_back(random.below(LEAVES));
    }
  }

  [[nodiscard]] Blob build() const {
    BlobBuilder builder;
    const uint32_t none = builder.addPortSet({});
    const uint32_t web = builder.addPortSet({{ProtocolSlot::Tcp, 80, 80}});
    builder.setCells(2, 2, {web, none, none, web});
    for (uint32_t leaf = 0; leaf < LEAVES; ++leaf) {
      builder.addLeaf({leaf & 1, leaf < 3 ? NONE : builder.addEndpoint({leaf & 1, 1}), 0});
    }
    builder.setDefaultLeaf(0);
    for (size_t pod = 0; pod < leaves.size(); ++pod) {
      builder.mapV4(v4[pod], leaves[pod]);
      builder.mapV6(v6[pod], leaves[pod]);
    }
    return builder.build();
  }
};

// The lines of `after` that are not those of `before`.
struct Difference {
  std::vector<uint32_t> numbers;
  std::vector<std::byte> bytes;

  Difference(std::span<const std::byte> before, std::span<const std::byte> after) {
    for (size_t at = 0; at < after.size(); at += TABLE_ALIGNMENT_BYTES) {
      if (std::memcmp(&before[at], &after[at], TABLE_ALIGNMENT_BYTES) == 0) continue;
      numbers.push_back(static_cast<uint32_t>(at / TABLE_ALIGNMENT_BYTES));
      bytes.insert(bytes.end(), &after[at], &after[at] + TABLE_ALIGNMENT_BYTES);
    }
  }
  [[nodiscard]] TableLines lines() const { return {numbers, bytes}; }
};

bool isEqual(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

bool judgesAlike(const TableView& a, const TableView& b, const Mapped& mapped) {
  for (size_t from = 0; from < mapped.leaves.size(); ++from) {
    for (size_t to = 0; to < mapped.leaves.size(); ++to) {
      const auto decide = [&](const TableView& view, uint8_t family) {
        const auto leafOf = [&](size_t pod) {
          return family == 4 ? view.leafOf(mapped.v4[pod].data(), 4)
                             : view.leafOf(mapped.v6[pod].data(), 6);
        };
        return view.decide(leafOf(from), leafOf(to), 6, 80);
      };
      if (decide(a, 4) != decide(b, 4) || decide(a, 6) != decide(b, 6)) return false;
    }
  }
  return true;
}

}  // namespace

TEST("table lines: a table by its changed lines is the whole one") {
  for (uint32_t round = 0; round < ROUNDS; ++round) {
    Random random(round + 1);
    Mapped mapped(random);
    TableSlot slot(1);
    Blob now = mapped.build();
    uint32_t generation = 0;
    REQUIRE(slot.publish(now.bytes(), {}, &generation).ok());
    for (uint32_t change = 0; change < CHANGES; ++change) {
      // Now and then a worker that takes long, so that no former table is free.
      const TableInForce* const held = random.below(3) == 0 ? slot.read(0) : nullptr;
      const Blob was = now;
      if (held == nullptr) slot.idle(0);
      for (uint32_t moved = random.below(4); moved > 0; --moved) {
        mapped.leaves[random.below(static_cast<uint32_t>(mapped.leaves.size()))] =
            random.below(LEAVES);
      }
      now = mapped.build();
      if (now.bytes().size() != was.bytes().size()) {
        REQUIRE(slot.publish(now.bytes(), {}, &generation).ok());
        continue;
      }
      const Difference difference(was.bytes(), now.bytes());
      REQUIRE(slot.publishLines(difference.lines(), {}, &generation).ok());
      CHECK(held == nullptr || isEqual(held->bytes.span(), was.bytes()));
      CHECK(isEqual(slot.inForce()->bytes.span(), now.bytes()));
      CHECK(slot.inForce()->generation == generation && generation == change + 2);
      TableView whole;
      REQUIRE(TableView::open(now.bytes(), &whole).ok());
      CHECK(judgesAlike(slot.inForce()->view, whole, mapped));
    }
  }
}

TEST("table lines: what open() refuses is refused, and nothing else") {
  uint32_t refused = 0;
  uint32_t taken = 0;
  for (uint32_t round = 0; round < ROUNDS; ++round) {
    Random random(round + 100);
    const Mapped mapped(random);
    Blob good = mapped.build();
    const auto words = static_cast<uint32_t>(good.bytes().size() / 4);
    const auto behind =
        static_cast<uint32_t>(good.at(SectionId::trieV6Root) / 4 + TRIE_V6_ROOT_ENTRIES);
    const auto firstNodes = static_cast<uint32_t>(good.at(SectionId::trieV4Nodes) / 4);
    for (uint32_t damage = 0; damage < DAMAGES; ++damage) {
      Blob other = good;
      for (uint32_t word = 1 + random.below(2); word > 0; --word) {
        // Most of a blob are its roots.
        const uint32_t place = random.below(4) == 0   ? random.below(64)
                               : random.below(2) == 0 ? behind + random.below(words - behind)
                                                      : firstNodes + random.below(2'048);
        uint32_t& changed = other.word(size_t{place} * 4);
        const uint32_t values[] = {changed ^ 1u << random.below(32), random.below(LEAVES + 2),
                                   TRIE_CHILD_BIT | random.below(12)};
        changed = values[random.below(3)];
      }
      if (random.below(8) != 0) other.mendChecksum();
      TableView wanted;
      const Status want = TableView::open(other.bytes(), &wanted);

      Blob table = good;
      TableView view;
      REQUIRE(TableView::open(table.bytes(), &view).ok());
      const Difference difference(good.bytes(), other.bytes());
      const std::span<std::byte> writable(const_cast<std::byte*>(table.bytes().data()),
                                          table.bytes().size());
      const Status got = TableView::rewrite(writable, difference.lines(), &view);
      CHECK(got.ok() == want.ok());
      CHECK(!got.ok() || judgesAlike(view, wanted, mapped));
      ++(got.ok() ? taken : refused);
    }
  }
  CHECK(refused > ROUNDS * DAMAGES / 10 && taken > ROUNDS * DAMAGES / 10);
}

TEST("table lines: what is refused leaves the table in force, and a good change after it") {
  Random random(7);
  Mapped mapped(random);
  const Blob first = mapped.build();
  TableSlot slot(1);
  uint32_t generation = 0;
  const Difference nothing(first.bytes(), first.bytes());
  CHECK(slot.publishLines(nothing.lines(), {}, &generation).code == StatusCode::Argument);
  REQUIRE(slot.publish(first.bytes(), {}, &generation).ok());
  REQUIRE(slot.publishLines(nothing.lines(), {}, &generation).ok());

  mapped.leaves[3] = mapped.leaves[3] == 1 ? 2 : 1;
  const Blob second = mapped.build();
  const Difference good(first.bytes(), second.bytes());
  REQUIRE(good.numbers.size() > 1);
  const TableInForce* const inForce = slot.inForce();
  const auto codeOf = [&](const TableLines& lines) {
    uint32_t number = 0;
    const StatusCode code = slot.publishLines(lines, {}, &number).code;
    CHECK(slot.inForce() == inForce && isEqual(inForce->bytes.span(), first.bytes()));
    return code;
  };
  const auto [numbers, bytes] = good.lines();
  CHECK(codeOf({numbers, bytes.first(bytes.size() - 1)}) == StatusCode::Argument);
  CHECK(codeOf({numbers.first(1), bytes.first(TABLE_ALIGNMENT_BYTES)}) ==
        StatusCode::TableChecksum);
  const std::vector<uint32_t> backwards(numbers.rbegin(), numbers.rend());
  CHECK(codeOf({backwards, bytes}) == StatusCode::Argument);
  std::vector<uint32_t> outside(numbers.begin(), numbers.end());
  outside.back() = static_cast<uint32_t>(first.bytes().size() / TABLE_ALIGNMENT_BYTES);
  CHECK(codeOf({outside, bytes}) == StatusCode::Argument);
  const std::array<uint32_t, 1> links = {LINKS_MAX};
  uint32_t number = 0;
  CHECK(slot.publishLines(good.lines(), links, &number).code == StatusCode::Argument);
  REQUIRE(slot.publishLines(good.lines(), {}, &generation).ok());
  CHECK(isEqual(slot.inForce()->bytes.span(), second.bytes()));
}
