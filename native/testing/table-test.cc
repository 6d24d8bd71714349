// Goal: the checker accepts a small whole table and refuses each way of being broken; a swap never
//       frees a table that a worker may read.
// Method: a blob made by hand, then one field at a time made wrong with the checksum mended.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "native/table/table-slot.h"
#include "native/table/table-view.h"
#include "native/testing/blob-builder.h"
#include "native/testing/test.h"

using namespace sluice;
using sluice::testing::BlobBuilder;

namespace {

// One endpoint, 10.0.0.1 and fd00::1, which may be reached on TCP 80 by everybody and send nothing.
BlobBuilder smallTable() {
  BlobBuilder builder;
  const uint32_t none = builder.addPortSet({});
  const uint32_t web = builder.addPortSet({{ProtocolSlot::Tcp, 80, 80}});
  builder.setCells(2, 1, {web, none});  // row 0 ingress, row 1 egress
  const uint32_t outside = builder.addLeaf({0, NONE, 0});
  const uint32_t pod = builder.addLeaf({0, builder.addEndpoint({0, 1}), 0});
  builder.setDefaultLeaf(outside);
  builder.mapV4({10, 0, 0, 1}, pod);
  builder.mapV6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, pod);
  builder.mapV6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, outside);
  builder.mapV6({0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, outside);
  return builder;
}

FlowKey keyTo(std::initializer_list<uint8_t> destination, uint16_t port, uint8_t protocol = 6) {
  FlowKey key;
  key.family = destination.size() == 4 ? 4 : 6;
  std::copy(destination.begin(), destination.end(), key.destination.begin());
  key.source[0] = 192;
  key.destinationPort = port;
  key.protocol = protocol;
  return key;
}

}  // namespace

TEST("table: judges by trie, row and port set") {
  const auto blob = smallTable().build();
  TableView view;
  REQUIRE(TableView::open(blob.bytes(), &view).ok());
  CHECK(view.decide(keyTo({10, 0, 0, 1}, 80)) == 0);
  CHECK(view.decide(keyTo({10, 0, 0, 1}, 81)) == DENIED_BY_INGRESS);
  CHECK(view.decide(keyTo({10, 0, 0, 1}, 80, 17)) == DENIED_BY_INGRESS);
  CHECK(view.decide(keyTo({10, 0, 0, 1}, 0, 1)) == DENIED_BY_INGRESS);
  CHECK(view.decide(keyTo({10, 0, 0, 2}, 81)) == 0);
  CHECK(view.decide(keyTo({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 80)) == 0);
  CHECK(view.decide(keyTo({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 443)) ==
        DENIED_BY_INGRESS);
  FlowKey out = keyTo({10, 9, 9, 9}, 80);
  out.source = {10, 0, 0, 1};
  CHECK(view.decide(out) == DENIED_BY_EGRESS);
  FlowKey self = keyTo({10, 0, 0, 1}, 9999);
  self.source = {10, 0, 0, 1};
  CHECK(view.decide(self) == 0);
}

TEST("table: audit rows judge beside the enforced ones, one for each endpoint or none") {
  BlobBuilder builder = smallTable();
  TableView plain;
  const auto without = builder.build();
  REQUIRE(TableView::open(without.bytes(), &plain).ok());
  CHECK(!plain.hasAudit());
  builder.addAuditRow({.ingressRow = 1, .egressRow = 1});
  const auto blob = builder.build();
  TableView view;
  REQUIRE(TableView::open(blob.bytes(), &view).ok());
  CHECK(view.hasAudit());
  const FlowKey key = keyTo({10, 0, 0, 1}, 80);
  const uint32_t source = view.leafOf(key.source.data(), 4);
  const uint32_t destination = view.leafOf(key.destination.data(), 4);
  CHECK(view.decide(source, destination, key.protocol, 80) == 0);
  CHECK(view.audit(source, destination, key.protocol, 80) == DENIED_BY_INGRESS);
  CHECK(view.decide(source, destination, key.protocol, 81) == DENIED_BY_INGRESS);
  auto broken = builder.build();
  broken.word(broken.at(SectionId::auditRows)) = 2;
  broken.mendChecksum();
  CHECK(TableView::open(broken.bytes(), &view).code == StatusCode::TableBounds);
  builder.addAuditRow({.ingressRow = 1, .egressRow = 1});
  CHECK(TableView::open(builder.build().bytes(), &view).code == StatusCode::TableBounds);
}

TEST("table: refuses what is broken, and says how") {
  const auto good = smallTable().build();
  const auto refused = [&](auto&& breakIt) {
    auto blob = good;
    breakIt(blob);
    blob.mendChecksum();
    TableView view;
    return TableView::open(blob.bytes(), &view).code;
  };
  const auto word = [](auto& blob, size_t offset) -> uint32_t& { return blob.word(offset); };
  CHECK(refused([](auto&) {}) == StatusCode::Ok);
  CHECK(refused([&](auto& blob) { word(blob, offsetof(TableHeader, magic)) = 1; }) ==
        StatusCode::TableMagic);
  CHECK(refused([&](auto& blob) { word(blob, offsetof(TableHeader, version)) = 99; }) ==
        StatusCode::TableVersion);
  CHECK(refused([&](auto& blob) { word(blob, offsetof(TableHeader, layoutHash)) ^= 1; }) ==
        StatusCode::TableLayout);
  CHECK(refused([&](auto& blob) { word(blob, offsetof(TableHeader, totalBytes)) += 64; }) ==
        StatusCode::TableTooShort);
  CHECK(refused([&](auto& blob) { word(blob, offsetof(TableHeader, classCount)) = 7; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, offsetof(TableHeader, rowCount)) = 1; }) ==
        StatusCode::TableBounds);
  for (size_t id = 0; id < SECTION_COUNT; ++id) {
    const size_t section = offsetof(TableHeader, sections) + id * sizeof(Section);
    CHECK(refused([&](auto& blob) { word(blob, section) = 0xffffffc0; }) ==
          StatusCode::TableBounds);
    CHECK(refused([&](auto& blob) { word(blob, section) += 4; }) == StatusCode::TableBounds);
    CHECK(refused([&](auto& blob) { word(blob, section + 4) = 0x7fffff00; }) ==
          StatusCode::TableBounds);
  }
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::trieV4Root)) = 99; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::trieV4Root)) = 0x80000063; }) ==
        StatusCode::TableBounds);
  // An outer IPv4 node that leads back to an inner one; an IPv6 node that leads to itself.
  CHECK(refused([&](auto& blob) {
          word(blob, blob.at(SectionId::trieV4Nodes) + 4 * TRIE_NODE_ENTRIES) = 0x80000000;
        }) == StatusCode::TableCycle);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::trieV6Entries)) = 0x80000000; }) ==
        StatusCode::TableCycle);
  // IPv6 nodes: 0 branches at byte 7, 1 below it at byte 15, 2 below it stands for one address.
  const auto node = [](auto& blob, size_t number, size_t field) -> uint32_t& {
    return blob.word(blob.at(SectionId::trieV6Nodes) + number * sizeof(TrieV6Node) + field);
  };
  constexpr size_t MISS_LEAF = offsetof(TrieV6Node, missLeaf);
  constexpr size_t HIT_LEAF = offsetof(TrieV6Node, hitLeaf);
  constexpr size_t SHAPE = offsetof(TrieV6Node, bits);
  const auto shape = [](uint32_t bits, uint32_t byteIndex, uint32_t skipFrom) {
    return bits | byteIndex << 8 | skipFrom << 16;
  };
  auto whole = good;
  REQUIRE(node(whole, 0, SHAPE) == shape(56, 7, 2));
  REQUIRE(node(whole, 1, SHAPE) == shape(120, 15, 8));
  REQUIRE(node(whole, 2, SHAPE) == shape(128, TRIE_V6_PREFIX_NODE, 8));
  // Another path leads to it, less of the path, or fewer bytes than the nodes above looked at.
  CHECK(refused([&](auto& blob) { node(blob, 1, 0) ^= 0x80; }) == StatusCode::TableCycle);
  CHECK(refused([&](auto& blob) { node(blob, 2, 0) ^= 0x80; }) == StatusCode::TableCycle);
  CHECK(refused([&](auto& blob) { node(blob, 2, SHAPE) = shape(55, 16, 8); }) ==
        StatusCode::TableCycle);
  CHECK(refused([&](auto& blob) { node(blob, 1, SHAPE) = shape(120, 15, 7); }) ==
        StatusCode::TableCycle);
  // The order of the bytes, the bits of its byte, the byte itself, entries of its own, its leaves.
  for (const uint32_t wrong : {shape(48, 6, 8), shape(119, 15, 8), shape(8, 1, 8), shape(0, 0, 8),
                               shape(128, TRIE_V6_PREFIX_NODE, 8)}) {
    CHECK(refused([&](auto& blob) { node(blob, 1, SHAPE) = wrong; }) == StatusCode::TableBounds);
  }
  for (const uint32_t wrong : {shape(129, 16, 8), shape(128, 17, 8), shape(120, 15, 8)}) {
    CHECK(refused([&](auto& blob) { node(blob, 2, SHAPE) = wrong; }) == StatusCode::TableBounds);
  }
  CHECK(refused([&](auto& blob) { node(blob, 0, MISS_LEAF) = 2; }) == StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { node(blob, 2, HIT_LEAF) = 2; }) == StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::cells)) = 1000; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::leaves)) = 1; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::leaves) + 4) = 5; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::endpoints)) = 2; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::portSets)) = 1u << 20; }) ==
        StatusCode::TableBounds);
  CHECK(refused([&](auto& blob) { word(blob, blob.at(SectionId::portPageIndexes)) = 0x7fff; }) ==
        StatusCode::TableBounds);

  auto flipped = good;
  flipped.word(good.bytes().size() - 4) ^= 1;
  TableView view;
  CHECK(TableView::open(flipped.bytes(), &view).code == StatusCode::TableChecksum);
  CHECK(TableView::open(good.bytes().first(64), &view).code == StatusCode::TableTooShort);
  CHECK(TableView::open({}, &view).code == StatusCode::TableTooShort);
}

TEST("table: a refused blob leaves the table in force") {
  auto slot = std::make_unique<TableSlot>(1);
  const auto blob = smallTable().build();
  uint32_t generation = 0;
  CHECK(slot->read(0) == nullptr);
  REQUIRE(slot->publish(blob.bytes(), {}, &generation).ok());
  CHECK(generation == 1);
  CHECK(!slot->publish(blob.bytes().first(100), {}, &generation).ok());
  const uint32_t tooMany[] = {0, 1};
  CHECK(slot->publish(blob.bytes(), tooMany, &generation).code == StatusCode::Argument);
  REQUIRE(slot->read(0) != nullptr);
  CHECK(slot->read(0)->generation == 1);
  const uint32_t link[] = {3};
  REQUIRE(slot->publish(blob.bytes(), link, &generation).ok());
  CHECK(slot->read(0)->generation == 2);
  CHECK(slot->read(0)->linkOfEndpoint(0) == 3);
  CHECK(slot->read(0)->endpointOfLink(3) == 0);
  CHECK(slot->read(0)->endpointOfLink(2) == NONE);
}

TEST("table: workers read whole tables while they are swapped") {
  constexpr int SWAPS = 300;
  auto slot = std::make_unique<TableSlot>(2);
  const auto blob = smallTable().build();
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  const auto work = [&](size_t worker) {
    uint32_t last = 0;
    while (!stop.load()) {
      const TableInForce* table = slot->read(worker);
      if (table == nullptr) continue;
      if (table->generation < last || table->view.decide(keyTo({10, 0, 0, 1}, 80)) != 0) ++wrong;
      last = table->generation;
      if (last % 16 == 0) slot->idle(worker);
    }
    slot->idle(worker);
  };
  std::thread first(work, 0);
  std::thread second(work, 1);
  uint32_t generation = 0;
  for (int swap = 0; swap < SWAPS; ++swap) {
    if (!slot->publish(blob.bytes(), {}, &generation).ok()) ++wrong;
  }
  stop = true;
  first.join();
  second.join();
  CHECK(wrong == 0);
  CHECK(generation == SWAPS);
}
