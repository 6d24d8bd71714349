#include "native/testing/blob-builder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>

namespace sluice::testing {
namespace {

using Address = std::array<uint8_t, 16>;
using Mapped = std::pair<Address, uint32_t>;

struct TrieV6 {
  std::vector<uint32_t> root;
  std::vector<TrieV6Node> nodes;
  std::vector<uint32_t> entries;
};

// A reference to a node: an entry of the root, or of another node.
struct Way {
  size_t node;  // NO_NODE: the root
  size_t entry;
};
constexpr size_t NO_NODE = SIZE_MAX;

struct Built {
  TrieV6Node node = {};
  Way way;
};

// Makes the nodes for addresses that agree in all bytes before `skipFrom`, parents first: a
// single-prefix node for one address, otherwise a node that branches where they first differ.
void addNodes(std::span<const Mapped> mapped, uint8_t skipFrom, uint32_t missLeaf, Way way,
              std::vector<Built>& built) {
  const Address& first = mapped.front().first;
  const Address& last = mapped.back().first;
  uint8_t byte = skipFrom;
  while (byte < 16 && first[byte] == last[byte]) ++byte;
  const size_t number = built.size();
  Built made = {{}, way};
  made.node.byteIndex = byte;
  made.node.skipFrom = skipFrom;
  made.node.bits = static_cast<uint8_t>(byte * 8);
  made.node.missLeaf = missLeaf;
  made.node.hitLeaf = mapped.size() == 1 ? mapped.front().second : missLeaf;
  std::copy_n(first.begin(), byte, made.node.value);
  built.push_back(made);
  while (byte < 16 && !mapped.empty()) {
    const uint8_t value = mapped.front().first[byte];
    size_t same = 0;
    while (same < mapped.size() && mapped[same].first[byte] == value) ++same;
    // Under the last byte nodes would stand for no bits at all: those are entries, made below.
    if (byte < 15) {
      addNodes(mapped.first(same), static_cast<uint8_t>(byte + 1), missLeaf, {number, value},
               built);
    }
    mapped = mapped.subspan(same);
  }
}

TrieV6 buildTrieV6(const std::map<Address, uint32_t>& map, uint32_t defaultLeaf) {
  const std::vector<Mapped> mapped(map.begin(), map.end());
  std::vector<Built> built;
  const auto high = [](const Address& address) { return size_t{address[0]} << 8 | address[1]; };
  for (size_t first = 0; first < mapped.size();) {
    size_t end = first;
    while (end < mapped.size() && high(mapped[end].first) == high(mapped[first].first)) ++end;
    addNodes(std::span(mapped).subspan(first, end - first), 2, defaultLeaf,
             {NO_NODE, high(mapped[first].first)}, built);
    first = end;
  }

  // The nodes were made in the order of their values.
  std::vector<size_t> order(built.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&built](size_t left, size_t right) {
    return built[left].node.byteIndex < built[right].node.byteIndex;
  });
  std::vector<size_t> numbers(built.size());
  for (size_t number = 0; number < order.size(); ++number) numbers[order[number]] = number;
  TrieV6 trie;
  trie.root.assign(TRIE_V6_ROOT_ENTRIES, defaultLeaf);
  for (const size_t each : order) {
    const auto& [node, way] = built[each];
    const uint32_t child = TRIE_CHILD_BIT | static_cast<uint32_t>(trie.nodes.size());
    trie.nodes.push_back(node);
    if (node.byteIndex != TRIE_V6_PREFIX_NODE) {
      trie.entries.resize(trie.entries.size() + TRIE_NODE_ENTRIES, node.missLeaf);
    }
    (way.node == NO_NODE ? trie.root[way.entry]
                         : trie.entries[numbers[way.node] * TRIE_NODE_ENTRIES + way.entry]) = child;
  }
  for (const auto& [address, leaf] : mapped) {
    uint32_t entry = trie.root[high(address)];
    while ((entry & TRIE_CHILD_BIT) != 0) {
      const size_t number = entry & ~TRIE_CHILD_BIT;
      const uint8_t byte = trie.nodes[number].byteIndex;
      if (byte == TRIE_V6_PREFIX_NODE) break;
      uint32_t& next = trie.entries[number * TRIE_NODE_ENTRIES + address[byte]];
      if (byte == 15) next = leaf;
      entry = next;
    }
  }
  return trie;
}

}  // namespace

size_t Blob::at(SectionId id) {
  return word(offsetof(TableHeader, sections) + static_cast<size_t>(id) * sizeof(Section));
}

// docs/format.md, "The checksum", one word after the other.
void Blob::mendChecksum() {
  word(offsetof(TableHeader, checksum)) = 0;
  uint32_t sum = 0;
  for (size_t line = 0; line < bytes().size() / 64; ++line) {
    uint32_t value = 0;
    for (uint32_t column = 0; column < 16; ++column) {
      const uint32_t own = word(line * 64 + column * 4);
      value += (own ^ (own >> 16)) * (0x9e3779b1u * (2 * column + 1));
    }
    value ^= static_cast<uint32_t>(line) * 0x85ebca6bu;
    value *= 0xc2b2ae35u;
    value ^= value >> 15;
    sum += value * 0x9e3779b1u;
  }
  word(offsetof(TableHeader, checksum)) = sum;
}

uint32_t BlobBuilder::addPortSet(const std::vector<Ports>& ports) {
  PortSet set = {};
  for (size_t slot = 0; slot < PROTOCOL_SLOT_COUNT; ++slot) {
    set.pageIndex[slot] = static_cast<uint32_t>(pageIndexes_.size() / PORT_PAGE_INDEX_ENTRIES);
    for (size_t high = 0; high < PORT_PAGE_INDEX_ENTRIES; ++high) {
      std::array<uint32_t, PORT_PAGE_WORDS> page = {};
      for (const Ports& range : ports) {
        if (static_cast<size_t>(range.slot) != slot) continue;
        for (size_t low = 0; low < 256; ++low) {
          const size_t port = high << 8 | low;
          if (port >= range.first && port <= range.last) page[low / 32] |= 1u << (low % 32);
        }
      }
      size_t number = 0;
      while (number * PORT_PAGE_WORDS < pages_.size() &&
             std::memcmp(&pages_[number * PORT_PAGE_WORDS], page.data(), sizeof page) != 0) {
        ++number;
      }
      if (number * PORT_PAGE_WORDS == pages_.size()) {
        pages_.insert(pages_.end(), page.begin(), page.end());
      }
      pageIndexes_.push_back(static_cast<uint16_t>(number));
    }
  }
  portSets_.push_back(set);
  return static_cast<uint32_t>(portSets_.size() - 1);
}

uint32_t BlobBuilder::addLeaf(Leaf leaf) {
  leaves_.push_back(leaf);
  return static_cast<uint32_t>(leaves_.size() - 1);
}

uint32_t BlobBuilder::addEndpoint(EndpointRow endpoint) {
  endpoints_.push_back(endpoint);
  return static_cast<uint32_t>(endpoints_.size() - 1);
}

void BlobBuilder::setCells(uint32_t rows, uint32_t classes, const std::vector<uint32_t>& cells) {
  rows_ = rows;
  classes_ = classes;
  cells_.clear();
  for (const uint32_t cell : cells) cells_.push_back(static_cast<uint16_t>(cell));
}

Blob BlobBuilder::build() const {
  std::vector<uint32_t> v4Root(TRIE_V4_ROOT_ENTRIES, defaultLeaf_);
  std::vector<uint32_t> inner;
  std::vector<std::pair<size_t, std::vector<uint32_t>>> outer;  // entry of `inner`, node
  for (const auto& [address, leaf] : v4_) {
    uint32_t& top = v4Root[static_cast<size_t>(address[0]) << 8 | address[1]];
    if ((top & TRIE_CHILD_BIT) == 0) {
      top = TRIE_CHILD_BIT | static_cast<uint32_t>(inner.size() / TRIE_NODE_ENTRIES);
      inner.resize(inner.size() + TRIE_NODE_ENTRIES, defaultLeaf_);
    }
    const size_t entry = (top & ~TRIE_CHILD_BIT) * TRIE_NODE_ENTRIES + address[2];
    size_t node = 0;
    while (node < outer.size() && outer[node].first != entry) ++node;
    if (node == outer.size()) {
      outer.emplace_back(entry, std::vector<uint32_t>(TRIE_NODE_ENTRIES, defaultLeaf_));
    }
    outer[node].second[address[3]] = leaf;
  }
  const auto innerCount = static_cast<uint32_t>(inner.size() / TRIE_NODE_ENTRIES);
  std::vector<uint32_t> v4Nodes = inner;
  for (size_t node = 0; node < outer.size(); ++node) {
    v4Nodes[outer[node].first] = TRIE_CHILD_BIT | static_cast<uint32_t>(innerCount + node);
    v4Nodes.insert(v4Nodes.end(), outer[node].second.begin(), outer[node].second.end());
  }

  const TrieV6 v6 = buildTrieV6(v6_, defaultLeaf_);

  TableHeader header = {};
  header.magic = TABLE_MAGIC;
  header.version = TABLE_VERSION;
  header.layoutHash = BLOB_HASH;
  header.classCount = classes_;
  header.rowCount = rows_;
  header.trieV4Inner = innerCount;

  struct Piece {
    const void* data;
    size_t bytes;
  };
  std::array<Piece, SECTION_COUNT> pieces = {};
  const auto put = [&](SectionId id, const auto& values) {
    pieces[static_cast<size_t>(id)] = {values.data(), values.size() * sizeof(values[0])};
  };
  put(SectionId::trieV4Root, v4Root);
  put(SectionId::trieV4Nodes, v4Nodes);
  put(SectionId::trieV6Root, v6.root);
  put(SectionId::trieV6Nodes, v6.nodes);
  put(SectionId::trieV6Entries, v6.entries);
  put(SectionId::leaves, leaves_);
  put(SectionId::endpoints, endpoints_);
  put(SectionId::auditRows, auditRows_);
  put(SectionId::cells, cells_);
  put(SectionId::portSets, portSets_);
  put(SectionId::portPageIndexes, pageIndexes_);
  put(SectionId::portPages, pages_);
  Provenance provenance = provenance_;
  provenance.endpoints.resize(endpoints_.size());
  provenance.rows.resize(rows_);
  put(SectionId::strings, provenance.strings);
  put(SectionId::endpointInfos, provenance.endpoints);
  put(SectionId::policyInfos, provenance.policies);
  put(SectionId::ruleInfos, provenance.rules);
  put(SectionId::rowInfos, provenance.rows);
  put(SectionId::rowLists, provenance.rowLists);
  put(SectionId::originSets, provenance.originSets);

  const auto roundUp = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  size_t total = roundUp(sizeof header);
  for (size_t id = 0; id < SECTION_COUNT; ++id) {
    header.sections[id * 2] = static_cast<uint32_t>(total);
    header.sections[id * 2 + 1] = static_cast<uint32_t>(pieces[id].bytes / sectionElementBytes[id]);
    total += roundUp(pieces[id].bytes);
  }
  header.totalBytes = static_cast<uint32_t>(total);

  Blob blob(total);
  std::memcpy(&blob.word(0), &header, sizeof header);
  for (size_t id = 0; id < SECTION_COUNT; ++id) {
    if (pieces[id].bytes == 0) continue;
    std::memcpy(&blob.word(header.sections[id * 2]), pieces[id].data, pieces[id].bytes);
  }
  blob.mendChecksum();
  return blob;
}

}  // namespace sluice::testing
