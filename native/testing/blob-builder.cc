#include "native/testing/blob-builder.h"

#include <array>
#include <cstring>

namespace sluice::testing {

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

  // A chain of one-byte nodes for each address that shares no root entry, exact to the last byte.
  std::vector<uint32_t> v6Root(TRIE_V6_ROOT_ENTRIES, defaultLeaf_);
  std::vector<TrieV6Node> v6Nodes;
  std::vector<uint32_t> v6Entries;
  const auto addNode = [&](const std::array<uint8_t, 16>& address, uint32_t byteIndex) {
    TrieV6Node node = {};
    for (size_t at = 0; at < byteIndex; ++at) {
      node.value[at] = address[at];
      node.mask[at] = 0xff;
    }
    node.missLeaf = defaultLeaf_;
    node.byteIndex = byteIndex;
    v6Nodes.push_back(node);
    v6Entries.resize(v6Entries.size() + TRIE_NODE_ENTRIES, defaultLeaf_);
    return static_cast<uint32_t>(v6Nodes.size() - 1);
  };
  for (const auto& [address, leaf] : v6_) {
    const size_t top = static_cast<size_t>(address[0]) << 8 | address[1];
    if ((v6Root[top] & TRIE_CHILD_BIT) == 0) v6Root[top] = TRIE_CHILD_BIT | addNode(address, 2);
    uint32_t node = v6Root[top] & ~TRIE_CHILD_BIT;
    for (uint32_t byteIndex = 2; byteIndex < 15; ++byteIndex) {
      const size_t entry = size_t{node} * TRIE_NODE_ENTRIES + address[byteIndex];
      if ((v6Entries[entry] & TRIE_CHILD_BIT) == 0) {
        const uint32_t child = addNode(address, byteIndex + 1);
        v6Entries[entry] = TRIE_CHILD_BIT | child;
      }
      node = v6Entries[entry] & ~TRIE_CHILD_BIT;
    }
    v6Entries[size_t{node} * TRIE_NODE_ENTRIES + address[15]] = leaf;
  }

  TableHeader header = {};
  header.magic = TABLE_MAGIC;
  header.version = TABLE_VERSION;
  header.layoutHash = LAYOUT_HASH;
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
  put(SectionId::trieV6Root, v6Root);
  put(SectionId::trieV6Nodes, v6Nodes);
  put(SectionId::trieV6Entries, v6Entries);
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
