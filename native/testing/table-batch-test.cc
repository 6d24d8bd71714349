// Goal: a batch is judged as its flows are one by one, in every way that the processor has.
// Method: random tables, random flows from and to addresses that are mapped or next to such; every
//         batch size from none to more than two blocks; decide() and leafOf() are the judges.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "native/packet/bytes.h"
#include "native/table/classify.h"
#include "native/table/table-view.h"
#include "native/testing/blob-builder.h"
#include "native/testing/random.h"
#include "native/testing/test.h"

using namespace sluice;
using sluice::testing::Blob;
using sluice::testing::BlobBuilder;
using sluice::testing::Random;

namespace {

constexpr uint32_t TABLES = 40;
constexpr size_t FLOWS_MAX = 150;

// Few values a byte, so that addresses share nodes, and neighbours of mapped ones come up.
std::array<uint8_t, 4> addressV4(Random& random) {
  return {10, static_cast<uint8_t>(random.below(3)), static_cast<uint8_t>(random.below(4)),
          static_cast<uint8_t>(random.below(6))};
}

AddressBytes addressV6(Random& random) {
  AddressBytes address = {0xfd};
  for (const size_t byte : {1, 3, 7, 8, 15}) address[byte] = static_cast<uint8_t>(random.below(3));
  return address;
}

Blob randomTable(Random& random) {
  BlobBuilder builder;
  const uint32_t sets = 1 + random.below(8);
  for (uint32_t set = 0; set < sets; ++set) {
    std::vector<BlobBuilder::Ports> ports;
    for (uint32_t range = random.below(4); range > 0; --range) {
      const auto first = static_cast<uint16_t>(random.below(65'536));
      const auto last = static_cast<uint16_t>(first + random.below(65'536u - first));
      const auto slot = static_cast<ProtocolSlot>(random.below(4));
      const bool other = slot == ProtocolSlot::Other;
      ports.push_back({slot, other ? uint16_t{0} : first, other ? uint16_t{0} : last});
    }
    builder.addPortSet(ports);
  }
  const uint32_t rows = 1 + random.below(6);
  const uint32_t classes = 1 + random.below(9);
  std::vector<uint32_t> cells(size_t{rows} * classes);
  for (uint32_t& cell : cells) cell = random.below(sets);
  builder.setCells(rows, classes, cells);
  const uint32_t endpoints = random.below(5);
  for (uint32_t each = 0; each < endpoints; ++each) {
    builder.addEndpoint({random.below(rows), random.below(rows)});
  }
  const uint32_t leaves = 1 + random.below(12);
  for (uint32_t leaf = 0; leaf < leaves; ++leaf) {
    const bool local = leaf > 0 && endpoints > 0 && random.below(2) == 0;
    builder.addLeaf({random.below(classes), local ? random.below(endpoints) : NONE, leaf});
  }
  builder.setDefaultLeaf(0);
  for (uint32_t mapped = random.below(30); mapped > 0; --mapped) {
    builder.mapV4(addressV4(random), random.below(leaves));
    builder.mapV6(addressV6(random), random.below(leaves));
  }
  return builder.build();
}

FlowTuple randomTuple(Random& random) {
  constexpr uint8_t PROTOCOLS[] = {6, 17, 132, 1, 58, 0, 255};
  FlowTuple tuple = {};
  tuple.family = random.below(2) == 0 ? 4 : 6;
  if (tuple.family == 4) {
    std::memcpy(tuple.source, addressV4(random).data(), 4);
    std::memcpy(tuple.destination, addressV4(random).data(), 4);
  } else {
    std::memcpy(tuple.source, addressV6(random).data(), 16);
    std::memcpy(tuple.destination, addressV6(random).data(), 16);
  }
  tuple.protocol = PROTOCOLS[random.below(std::size(PROTOCOLS))];
  tuple.port = static_cast<uint16_t>(random.below(65'536));
  return tuple;
}

std::vector<TableView::Way> ways() {
  std::vector<TableView::Way> all = {TableView::Way::Scalar};
  if (TableView::fastestWay() != TableView::Way::Scalar) all.push_back(TableView::fastestWay());
  return all;
}

}  // namespace

TEST("table batch: leaves are those of the addresses one by one") {
  for (uint32_t seed = 0; seed < TABLES; ++seed) {
    Random random(seed);
    const Blob blob = randomTable(random);
    TableView view;
    REQUIRE(TableView::open(blob.bytes(), &view).ok());
    for (size_t count = 0; count < FLOWS_MAX; ++count) {
      std::vector<uint32_t> v4(count);
      std::vector<AddressBytes> v6(count);
      for (size_t at = 0; at < count; ++at) {
        v4[at] = load32(addressV4(random).data());
        v6[at] = addressV6(random);
      }
      std::vector<uint32_t> leaves(count + 1, NONE);
      for (const TableView::Way way : ways()) {
        view.leavesOfV4(v4, leaves.data(), way);
        for (size_t at = 0; at < count; ++at) {
          const uint32_t addressBe = __builtin_bswap32(v4[at]);
          CHECK(leaves[at] == view.leafOf(reinterpret_cast<const uint8_t*>(&addressBe), 4));
        }
        view.leavesOfV6(v6, leaves.data(), way);
        for (size_t at = 0; at < count; ++at) CHECK(leaves[at] == view.leafOf(v6[at].data(), 6));
      }
      CHECK(leaves[count] == NONE);  // nothing is written behind the last
    }
  }
}

TEST("table batch: verdicts are those of the flows one by one") {
  uint32_t deniedFlows = 0;
  uint32_t allowedFlows = 0;
  for (uint32_t seed = 0; seed < TABLES; ++seed) {
    Random random(1'000 + seed);
    const Blob blob = randomTable(random);
    TableView view;
    REQUIRE(TableView::open(blob.bytes(), &view).ok());
    for (size_t count = 0; count < FLOWS_MAX; ++count) {
      std::vector<FlowTuple> tuples(count);
      std::vector<uint32_t> sources(count);
      std::vector<uint32_t> destinations(count);
      std::vector<uint32_t> ports(count);
      std::vector<DeniedBy> wanted(count);
      for (size_t at = 0; at < count; ++at) {
        const FlowTuple tuple = tuples[at] = randomTuple(random);
        sources[at] = view.leafOf(tuple.source, tuple.family);
        destinations[at] = view.leafOf(tuple.destination, tuple.family);
        ports[at] = TableView::slotPort(tuple.protocol, tuple.port);
        wanted[at] = view.decide(sources[at], destinations[at], tuple.protocol, tuple.port);
        ++(wanted[at] == 0 ? allowedFlows : deniedFlows);
      }
      constexpr DeniedBy UNTOUCHED = 0x55;
      std::vector<DeniedBy> denied(count + 1, UNTOUCHED);
      for (const TableView::Way way : ways()) {
        std::fill(denied.begin(), denied.end(), UNTOUCHED);
        view.decideBatch(sources.data(), destinations.data(), ports.data(), {denied.data(), count},
                         way);
        CHECK(std::equal(wanted.begin(), wanted.end(), denied.begin()));
        CHECK(denied[count] == UNTOUCHED);
      }
      classify(view, tuples, denied.data());
      CHECK(std::equal(wanted.begin(), wanted.end(), denied.begin()));
    }
  }
  CHECK(deniedFlows > 10'000 && allowedFlows > 10'000);
}
