// Goal: a file that is cut short or damaged never becomes the table in force, and what explains
//       verdicts is checked as what gives them is.
// Method: every length of a small blob; every bit of its header and a seeded choice of the others,
//         each flipped alone; then each reference of the cold sections set to lead out of its
//         section.
#include <array>
#include <functional>
#include <random>
#include <vector>

#include "native/table/table-slot.h"
#include "native/testing/blob-builder.h"
#include "native/testing/test.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr size_t FLIPS = 2'000;

// A table of one endpoint, with a policy of one rule.
BlobBuilder explainedTable() {
  BlobBuilder builder;
  builder.setCells(1, 1, {builder.addPortSet({})});
  builder.addEndpoint({0, 0});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  BlobBuilder::Provenance provenance;
  provenance.strings = "shop web";
  provenance.endpoints = {{{0, 4}, {5, 3}}};
  provenance.policies = {{{0, 4}, {0, 4}, {5, 3}, {0, 8}, 1, 1}};
  provenance.rules.resize(1);
  provenance.rows = {{0, 1, 1, 1}};
  provenance.rowLists = {0, 0};
  provenance.originSets = {1, 0};
  builder.setProvenance(provenance);
  return builder;
}

}  // namespace

TEST("table damage: no length but its own, and no bit but its own") {
  const Blob good = explainedTable().build();
  TableSlot slot(1);
  uint32_t generation = 0;
  REQUIRE(slot.publish(good.bytes(), {}, &generation).ok());
  const TableInForce* const inForce = slot.read(0);
  TableView view;
  size_t accepted = 0;
  for (size_t length = 0; length < good.bytes().size(); ++length) {
    accepted += TableView::open(good.bytes().first(length), &view).ok() ? 1u : 0u;
  }
  CHECK(accepted == 0);

  Blob damaged = good;
  const size_t bits = good.bytes().size() * 8;
  const auto flip = [&](size_t bit) {
    uint32_t& word = damaged.word(bit / 32 * 4);
    word ^= 1u << (bit % 32);
    uint32_t number = 0;
    accepted += slot.publish(damaged.bytes(), {}, &number).ok() ? 1u : 0u;
    word ^= 1u << (bit % 32);
  };
  for (size_t bit = 0; bit < sizeof(TableHeader) * 8; ++bit) flip(bit);
  // Half of them behind the root arrays, which are most of the blob.
  const size_t behind = (damaged.at(SectionId::trieV6Root) + TRIE_V6_ROOT_ENTRIES * 4) * 8;
  std::mt19937 random(1);
  for (size_t count = 0; count < FLIPS; ++count) {
    flip(count % 2 == 0 ? random() % bits : behind + random() % (bits - behind));
  }
  CHECK(accepted == 0);
  CHECK(slot.read(0) == inForce && inForce->generation == generation);
}

TEST("table damage: what explains verdicts leads to what is there") {
  const Blob good = explainedTable().build();
  const auto codeAfter = [&good](SectionId id, size_t offset, uint32_t value) {
    Blob blob = good;
    blob.word(blob.at(id) + offset) = value;
    blob.mendChecksum();
    TableView view;
    return TableView::open(blob.bytes(), &view).code;
  };
  struct Reference {
    SectionId id;
    size_t offset;
    uint32_t last;  // the largest value that leads to what is there
  };
  constexpr Reference REFERENCES[] = {
      {SectionId::endpointInfos, offsetof(EndpointInfo, namespaceName), 4},
      {SectionId::endpointInfos, offsetof(EndpointInfo, podName) + 4, 3},
      {SectionId::policyInfos, offsetof(PolicyInfo, kind), 4},
      {SectionId::policyInfos, offsetof(PolicyInfo, namespaceName) + 4, 8},
      {SectionId::policyInfos, offsetof(PolicyInfo, name), 5},
      {SectionId::policyInfos, offsetof(PolicyInfo, file) + 4, 8},
      {SectionId::ruleInfos, offsetof(RuleInfo, policy), 0},
      {SectionId::ruleInfos, offsetof(RuleInfo, tier), 0x010203},  // and its action and direction
      {SectionId::ruleInfos, offsetof(RuleInfo, originSet), 1},
      {SectionId::ruleInfos, offsetof(RuleInfo, portSet), 0},
      {SectionId::rowInfos, offsetof(RowInfo, isolatedByStart), 1},
      {SectionId::rowInfos, offsetof(RowInfo, isolatedByCount), 1},
      {SectionId::rowInfos, offsetof(RowInfo, rulesStart), 1},
      {SectionId::rowInfos, offsetof(RowInfo, rulesCount), 1},
      {SectionId::rowLists, 0, 0},
      {SectionId::rowLists, 4, 0},
      {SectionId::originSets, 0, 1},
  };
  for (const Reference& each : REFERENCES) {
    CHECK(codeAfter(each.id, each.offset, each.last) == StatusCode::Ok);
    CHECK(codeAfter(each.id, each.offset, each.last + 1) == StatusCode::TableBounds);
    CHECK(codeAfter(each.id, each.offset, 0xffffffff) == StatusCode::TableBounds);
  }
  for (const uint32_t spoilt : {0x04u, 0x0300u, 0x020000u}) {
    CHECK(codeAfter(SectionId::ruleInfos, offsetof(RuleInfo, tier), spoilt) ==
          StatusCode::TableBounds);
  }
  for (const SectionId id : {SectionId::endpointInfos, SectionId::rowInfos}) {
    const size_t count = offsetof(TableHeader, sections) + static_cast<size_t>(id) * 8 + 4;
    Blob blob = good;
    blob.word(count) = 0;
    blob.mendChecksum();
    TableView view;
    CHECK(TableView::open(blob.bytes(), &view).code == StatusCode::TableBounds);
  }
}
