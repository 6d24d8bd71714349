#include "native/table/table-view.h"

#include <algorithm>
#include <array>
#include <climits>
#include <vector>

#include "native/table/provenance-check.h"

namespace sluice {
namespace {

constexpr size_t CHECKSUM_WORD = offsetof(TableHeader, checksum) / 4;

constexpr size_t LINE_WORDS = TABLE_ALIGNMENT_BYTES / 4;

constexpr auto COLUMN_FACTORS = [] {
  std::array<uint32_t, LINE_WORDS> factors = {};
  for (uint32_t column = 0; column < LINE_WORDS; ++column) {
    factors[column] = 0x9e3779b1u * (2 * column + 1);
  }
  return factors;
}();

// What a line adds to the checksum of docs/format.md.
uint32_t checksumTerm(const std::byte* line, size_t number) noexcept {
  uint32_t words[LINE_WORDS];
  std::memcpy(words, line, sizeof words);
  if (number == CHECKSUM_WORD / LINE_WORDS) words[CHECKSUM_WORD % LINE_WORDS] = 0;
  uint32_t value = 0;
  for (size_t column = 0; column < LINE_WORDS; ++column) {
    value += (words[column] ^ words[column] >> 16) * COLUMN_FACTORS[column];
  }
  value = (value ^ static_cast<uint32_t>(number) * 0x85ebca6bu) * 0xc2b2ae35u;
  return (value ^ value >> 15) * 0x9e3779b1u;
}

// The lines are independent, so the compiler can use vectors.
uint32_t checksumOf(std::span<const std::byte> blob) noexcept {
  uint32_t sum = 0;
  for (size_t line = 0; line < blob.size() / TABLE_ALIGNMENT_BYTES; ++line) {
    sum += checksumTerm(blob.data() + line * TABLE_ALIGNMENT_BYTES, line);
  }
  return sum;
}

// No branch in the loop, so the compiler can use vectors.
template <typename Number>
bool allBelow(std::span<const Number> values, size_t limit) noexcept {
  Number largest = 0;
  for (const Number value : values) largest = std::max(largest, value);
  return values.empty() || largest < limit;
}

// The array of one section, once its place has been checked.
template <typename Element>
std::span<const Element> sectionOf(std::span<const std::byte> blob, SectionId id) noexcept {
  Section section;
  const size_t at = offsetof(TableHeader, sections) + static_cast<size_t>(id) * sizeof(Section);
  std::memcpy(&section, blob.data() + at, sizeof section);
  return {reinterpret_cast<const Element*>(blob.data() + section.offset), section.count};
}

template <typename Element>
SluiceSection bytesOf(std::span<const Element> section) noexcept {
  return reinterpret_cast<SluiceSection>(section.data());
}

// Checks that each section is aligned, ends inside the blob, and consists of whole groups.
bool sectionsFit(std::span<const std::byte> blob) noexcept {
  for (size_t id = 0; id < SECTION_COUNT; ++id) {
    Section section;
    std::memcpy(&section, blob.data() + offsetof(TableHeader, sections) + id * sizeof section,
                sizeof section);
    const uint64_t bytes = uint64_t{section.count} * sectionElementBytes[id];
    if (section.offset % TABLE_ALIGNMENT_BYTES != 0 || section.offset < sizeof(TableHeader) ||
        section.offset > blob.size() || bytes > blob.size() - section.offset ||
        section.count % sectionGroup[id] != 0) {
      return false;
    }
  }
  return true;
}

// Checks a trie entry: a leaf below `leafLimit`, or a child in [childFirst, childLimit).
StatusCode checkEntries(std::span<const uint32_t> entries, size_t leafLimit, size_t childFirst,
                        size_t childLimit) noexcept {
  // As signed numbers, children are negative: the largest entry is a leaf, if there is one, and the
  // smallest a child. These two settle most blocks of entries.
  int32_t largest = INT32_MIN;
  int32_t smallest = INT32_MAX;
  for (const uint32_t entry : entries) {
    largest = std::max(largest, static_cast<int32_t>(entry));
    smallest = std::min(smallest, static_cast<int32_t>(entry));
  }
  if (largest >= 0 && static_cast<size_t>(largest) >= leafLimit) return StatusCode::TableBounds;
  if (smallest >= 0) return StatusCode::Ok;
  for (const uint32_t entry : entries) {
    if ((entry & TRIE_CHILD_BIT) == 0) continue;
    const uint32_t child = entry & ~TRIE_CHILD_BIT;
    if (child >= childLimit) return StatusCode::TableBounds;
    if (child < childFirst) return StatusCode::TableCycle;
  }
  return StatusCode::Ok;
}

// IPv4: the root leads to inner nodes (byte 2), inner nodes lead to outer nodes (byte 3), and outer
// nodes lead to leaves only.
StatusCode checkTrieV4(std::span<const uint32_t> root, std::span<const uint32_t> nodes,
                       size_t innerCount, size_t leafCount) noexcept {
  const size_t nodeCount = nodes.size() / TRIE_NODE_ENTRIES;
  if (root.size() != TRIE_V4_ROOT_ENTRIES || innerCount > nodeCount) return StatusCode::TableBounds;
  const auto inner = nodes.first(innerCount * TRIE_NODE_ENTRIES);
  const auto outer = nodes.subspan(innerCount * TRIE_NODE_ENTRIES);
  for (const StatusCode code : {checkEntries(root, leafCount, 0, innerCount),
                                checkEntries(inner, leafCount, innerCount, nodeCount),
                                checkEntries(outer, leafCount, nodeCount, nodeCount)}) {
    if (code != StatusCode::Ok) return code;
  }
  return StatusCode::Ok;
}

// Whether a node repeats the whole path to its parent, so that an address under the child is under
// the parent. Also checks `skipFrom`, the start of the child's own bytes: a batch uses it to tell a
// miss at this node from an address that should not have reached it.
bool liesUnder(const TrieV6Node& child, const TrieV6Node& parent) noexcept {
  if (child.byteIndex <= parent.byteIndex || child.skipFrom <= parent.byteIndex ||
      child.bits < parent.bits) {
    return false;
  }
  for (const int word : {0, 1}) {
    const uint64_t differing =
        sluiceAddressWord(child.value, word) ^ sluiceAddressWord(parent.value, word);
    if ((differing & sluicePrefixMasks[parent.bits].words[word]) != 0) return false;
  }
  return true;
}

// Counts, for each byte, the nodes that look at it or at an earlier one. Checks that the nodes are
// in that order and that each has the fields of its kind.
StatusCode checkNodesV6(std::span<const TrieV6Node> nodes, size_t leafCount,
                        std::span<uint32_t> levelEnds) noexcept {
  uint32_t last = 2;
  for (size_t index = 0; index < nodes.size(); ++index) {
    const TrieV6Node& node = nodes[index];
    const uint32_t at = node.byteIndex;
    const bool alone = at == TRIE_V6_PREFIX_NODE;
    if (at < last || at > TRIE_V6_PREFIX_NODE || node.missLeaf >= leafCount ||
        node.hitLeaf >= leafCount || node.bits > 128 || (!alone && node.bits != at * 8)) {
      return StatusCode::TableBounds;
    }
    for (; last < at; ++last) levelEnds[last] = static_cast<uint32_t>(index);
  }
  for (; last < levelEnds.size(); ++last) levelEnds[last] = static_cast<uint32_t>(nodes.size());
  return StatusCode::Ok;
}

// Checks entries of an IPv6 node that branches.
StatusCode checkEntriesV6(std::span<const uint32_t> entries, const TrieV6Node& node,
                          std::span<const TrieV6Node> nodes, size_t leafCount,
                          std::span<const uint32_t> levelEnds) noexcept {
  const StatusCode code = checkEntries(entries, leafCount, levelEnds[node.byteIndex], nodes.size());
  if (code != StatusCode::Ok) return code;
  for (const uint32_t entry : entries) {
    if ((entry & TRIE_CHILD_BIT) == 0) continue;
    if (!liesUnder(nodes[entry & ~TRIE_CHILD_BIT], node)) return StatusCode::TableCycle;
  }
  return StatusCode::Ok;
}

// IPv6: a child looks at a later byte than its parent and comes after all nodes of the parent's
// byte, so every walk ends.
StatusCode checkTrieV6(std::span<const uint32_t> root, std::span<const TrieV6Node> nodes,
                       std::span<const uint32_t> entries, size_t leafCount,
                       std::span<uint32_t> levelEnds) noexcept {
  if (root.size() != TRIE_V6_ROOT_ENTRIES) return StatusCode::TableBounds;
  for (const StatusCode code : {checkEntries(root, leafCount, 0, nodes.size()),
                                checkNodesV6(nodes, leafCount, levelEnds)}) {
    if (code != StatusCode::Ok) return code;
  }
  const size_t branching = levelEnds.back();
  if (entries.size() != branching * TRIE_NODE_ENTRIES) return StatusCode::TableBounds;
  for (size_t index = 0; index < branching; ++index) {
    const auto own = entries.subspan(index * TRIE_NODE_ENTRIES, TRIE_NODE_ENTRIES);
    const StatusCode code = checkEntriesV6(own, nodes[index], nodes, leafCount, levelEnds);
    if (code != StatusCode::Ok) return code;
  }
  return StatusCode::Ok;
}

using Line = std::array<std::byte, TABLE_ALIGNMENT_BYTES>;

// Whether two states of a line of IPv6 nodes differ in their leaves alone.
bool differInLeaves(const Line& before, const std::byte* after) noexcept {
  TrieV6Node was[TABLE_ALIGNMENT_BYTES / sizeof(TrieV6Node)];
  TrieV6Node is[std::size(was)];
  std::memcpy(was, before.data(), sizeof was);
  std::memcpy(is, after, sizeof is);
  for (size_t node = 0; node < std::size(was); ++node) {
    was[node].missLeaf = is[node].missLeaf;
    was[node].hitLeaf = is[node].hitLeaf;
  }
  return std::memcmp(was, is, sizeof was) == 0;
}

// Whether two states of the header's first line differ in the checksum alone.
bool differInChecksum(const Line& before, const std::byte* after) noexcept {
  constexpr size_t AT = offsetof(TableHeader, checksum);
  Line same = before;
  std::memcpy(same.data() + AT, after + AT, sizeof TableHeader::checksum);
  return std::memcmp(same.data(), after, same.size()) == 0;
}

// Checks lines that were written into a table, by what was checked before.
//
// Shape: the sections are where they were.
class LineCheck {
 public:
  LineCheck(std::span<const std::byte> table, std::span<const uint32_t> levelEnds) noexcept
      : table_(table),
        levelEnds_(levelEnds),
        entriesV4_(sectionOf<uint32_t>(table, SectionId::trieV4Nodes)),
        nodesV6_(sectionOf<TrieV6Node>(table, SectionId::trieV6Nodes)),
        leafCount_(sectionOf<Leaf>(table, SectionId::leaves).size()) {
    TableHeader header;
    std::memcpy(&header, table.data(), sizeof header);
    innerCount_ = header.trieV4Inner;
    for (size_t id = 0; id < SECTION_COUNT; ++id) {
      const size_t bytes = size_t{header.sections[id * 2 + 1]} * sectionElementBytes[id];
      places_[id] = {header.sections[id * 2], header.sections[id * 2] + bytes};
    }
  }

  // Whether a line holds nothing but entries and leaves of tries, and the tries' nodes are as they
  // were.
  [[nodiscard]] bool isOfTries(uint32_t number, const Line& before) const noexcept {
    const size_t at = size_t{number} * TABLE_ALIGNMENT_BYTES;
    for (size_t id = 0; id < SECTION_COUNT; ++id) {
      if (!places_[id].has(at)) continue;
      switch (static_cast<SectionId>(id)) {
        case SectionId::trieV4Root:
        case SectionId::trieV4Nodes:
        case SectionId::trieV6Root:
        case SectionId::trieV6Entries:
          break;
        case SectionId::trieV6Nodes:
          if (!differInLeaves(before, table_.data() + at)) return false;
          break;
        default:
          return false;
      }
    }
    return true;
  }

  // Checks what a line that isOfTries() refers to.
  [[nodiscard]] StatusCode references(uint32_t number) const noexcept {
    const size_t at = size_t{number} * TABLE_ALIGNMENT_BYTES;
    for (size_t id = 0; id < SECTION_COUNT; ++id) {
      if (!places_[id].has(at)) continue;
      const StatusCode code = referencesIn(static_cast<SectionId>(id), at - places_[id].start);
      if (code != StatusCode::Ok) return code;
    }
    return StatusCode::Ok;
  }

 private:
  struct Place {
    size_t start = 0;
    size_t end = 0;
    [[nodiscard]] bool has(size_t at) const noexcept { return at >= start && at < end; }
  };

  // The elements of a section in the line that starts `offset` bytes behind its first.
  template <typename Element>
  static std::span<const Element> lineOf(std::span<const Element> section, size_t offset) noexcept {
    const size_t first = offset / sizeof(Element);
    return section.subspan(
        first, std::min(TABLE_ALIGNMENT_BYTES / sizeof(Element), section.size() - first));
  }

  [[nodiscard]] StatusCode referencesIn(SectionId id, size_t offset) const noexcept {
    if (id == SectionId::trieV6Nodes) {
      for (const TrieV6Node& node : lineOf(nodesV6_, offset)) {
        if (node.missLeaf >= leafCount_ || node.hitLeaf >= leafCount_) {
          return StatusCode::TableBounds;
        }
      }
      return StatusCode::Ok;
    }
    const auto entries = lineOf(sectionOf<uint32_t>(table_, id), offset);
    const size_t node = offset / (TRIE_NODE_ENTRIES * sizeof(uint32_t));
    const size_t nodesV4 = entriesV4_.size() / TRIE_NODE_ENTRIES;
    switch (id) {
      case SectionId::trieV4Root:
        return checkEntries(entries, leafCount_, 0, innerCount_);
      case SectionId::trieV4Nodes:
        return checkEntries(entries, leafCount_, node < innerCount_ ? innerCount_ : nodesV4,
                            nodesV4);
      case SectionId::trieV6Root:
        return checkEntries(entries, leafCount_, 0, nodesV6_.size());
      default:
        return checkEntriesV6(entries, nodesV6_[node], nodesV6_, leafCount_, levelEnds_);
    }
  }

  std::span<const std::byte> table_;
  std::span<const uint32_t> levelEnds_;
  std::span<const uint32_t> entriesV4_;
  std::span<const TrieV6Node> nodesV6_;
  size_t leafCount_;
  size_t innerCount_ = 0;
  std::array<Place, SECTION_COUNT> places_ = {};
};

// Whether the lines fit into a table of so many.
bool fit(const TableLines& lines, size_t lineCount) noexcept {
  const auto& [numbers, bytes] = lines;
  if (bytes.size() != numbers.size() * TABLE_ALIGNMENT_BYTES) return false;
  for (size_t index = 0; index < numbers.size(); ++index) {
    const bool ascends = index == 0 || numbers[index] > numbers[index - 1];
    if (!ascends || numbers[index] >= lineCount) return false;
  }
  return true;
}

}  // namespace

Status TableView::open(std::span<const std::byte> blob, TableView* view) noexcept {
  if (blob.size() < sizeof(TableHeader)) return {StatusCode::TableTooShort};
  TableHeader header;
  std::memcpy(&header, blob.data(), sizeof header);
  if (header.magic != TABLE_MAGIC) return {StatusCode::TableMagic};
  if (header.version != TABLE_VERSION) return {StatusCode::TableVersion};
  if (header.layoutHash != BLOB_HASH) return {StatusCode::TableLayout};
  if (header.totalBytes != blob.size() || blob.size() % TABLE_ALIGNMENT_BYTES != 0) {
    return {StatusCode::TableTooShort};
  }
  if (header.checksum != checksumOf(blob)) return {StatusCode::TableChecksum};
  if (!sectionsFit(blob)) return {StatusCode::TableBounds};

  const auto trieV4Root = sectionOf<uint32_t>(blob, SectionId::trieV4Root);
  const auto trieV4Nodes = sectionOf<uint32_t>(blob, SectionId::trieV4Nodes);
  const auto trieV6Root = sectionOf<uint32_t>(blob, SectionId::trieV6Root);
  const auto trieV6Nodes = sectionOf<TrieV6Node>(blob, SectionId::trieV6Nodes);
  const auto trieV6Entries = sectionOf<uint32_t>(blob, SectionId::trieV6Entries);
  const auto leaves = sectionOf<Leaf>(blob, SectionId::leaves);
  const auto endpoints = sectionOf<EndpointRow>(blob, SectionId::endpoints);
  const auto auditRows = sectionOf<EndpointRow>(blob, SectionId::auditRows);
  const auto cells = sectionOf<uint16_t>(blob, SectionId::cells);
  const auto portSets = sectionOf<PortSet>(blob, SectionId::portSets);
  const auto portPageIndexes = sectionOf<uint16_t>(blob, SectionId::portPageIndexes);
  const auto portPages = sectionOf<uint32_t>(blob, SectionId::portPages);

  TableView opened;
  StatusCode code = checkTrieV4(trieV4Root, trieV4Nodes, header.trieV4Inner, leaves.size());
  if (code != StatusCode::Ok) return {code};
  code =
      checkTrieV6(trieV6Root, trieV6Nodes, trieV6Entries, leaves.size(), opened.trieV6LevelEnds_);
  if (code != StatusCode::Ok) return {code};

  const size_t endpointCount = endpoints.size();
  for (const Leaf& leaf : leaves) {
    const bool endpointFits = leaf.endpointId == NONE || leaf.endpointId < endpointCount;
    if (leaf.classId >= header.classCount || !endpointFits) return {StatusCode::TableBounds};
  }
  if (!auditRows.empty() && auditRows.size() != endpointCount) return {StatusCode::TableBounds};
  for (const auto rows : {endpoints, auditRows}) {
    const bool fit = std::all_of(rows.begin(), rows.end(), [&header](const EndpointRow& row) {
      return row.ingressRow < header.rowCount && row.egressRow < header.rowCount;
    });
    if (!fit) return {StatusCode::TableBounds};
  }
  const uint64_t cellCount = uint64_t{header.rowCount} * header.classCount;
  if (cells.size() != cellCount || !allBelow(cells, portSets.size())) {
    return {StatusCode::TableBounds};
  }
  const size_t pageIndexCount = portPageIndexes.size() / PORT_PAGE_INDEX_ENTRIES;
  for (const PortSet& set : portSets) {
    if (!allBelow(std::span<const uint32_t>(set.pageIndex), pageIndexCount)) {
      return {StatusCode::TableBounds};
    }
  }
  const size_t pageCount = portPages.size() / PORT_PAGE_WORDS;
  if (!allBelow(portPageIndexes, pageCount)) return {StatusCode::TableBounds};
  code = checkProvenance(blob, header);
  if (code != StatusCode::Ok) return {code};

  opened.bind(blob);
  const auto rules = sectionOf<RuleInfo>(blob, SectionId::ruleInfos);
  opened.hasDenyRules_ = std::any_of(rules.begin(), rules.end(), [](const RuleInfo& rule) {
    return rule.action == static_cast<uint8_t>(Action::Deny);
  });
  *view = opened;
  return {};
}

Status TableView::rewrite(std::span<std::byte> table, const TableLines& lines,
                          TableView* view) noexcept {
  const auto& [numbers, bytes] = lines;
  if (!fit(lines, table.size() / TABLE_ALIGNMENT_BYTES)) return {StatusCode::Argument};
  const auto checksum = [&table] {
    uint32_t word;
    std::memcpy(&word, table.data() + CHECKSUM_WORD * sizeof word, sizeof word);
    return word;
  };
  std::vector<Line> before(numbers.size());
  uint32_t sum = checksum();
  for (size_t index = 0; index < before.size(); ++index) {
    std::byte* const line = table.data() + size_t{numbers[index]} * TABLE_ALIGNMENT_BYTES;
    std::memcpy(before[index].data(), line, sizeof(Line));
    sum -= checksumTerm(line, numbers[index]);
    std::memcpy(line, bytes.data() + index * sizeof(Line), sizeof(Line));
    sum += checksumTerm(line, numbers[index]);
  }
  // The header says where the rest is, so that it comes first, as its lines do.
  constexpr size_t HEADER_LINES = sizeof(TableHeader) / TABLE_ALIGNMENT_BYTES;
  const auto behindHeader = static_cast<size_t>(
      std::lower_bound(numbers.begin(), numbers.end(), HEADER_LINES) - numbers.begin());
  for (size_t index = 0; index < behindHeader; ++index) {
    if (numbers[index] != 0 || !differInChecksum(before[index], table.data())) {
      return open(table, view);
    }
  }
  const LineCheck check(table, view->trieV6LevelEnds_);
  for (size_t index = behindHeader; index < before.size(); ++index) {
    if (!check.isOfTries(numbers[index], before[index])) return open(table, view);
  }
  for (const uint32_t number : numbers.subspan(behindHeader)) {
    const StatusCode code = check.references(number);
    if (code != StatusCode::Ok) return {code};
  }
  return {checksum() == sum ? StatusCode::Ok : StatusCode::TableChecksum};
}

TableView TableView::ofCopy(std::span<const std::byte> copy) const noexcept {
  TableView view = *this;
  view.bind(copy);
  return view;
}

void TableView::bind(std::span<const std::byte> blob) noexcept {
  TableHeader header;
  std::memcpy(&header, blob.data(), sizeof header);
  const auto trieV4Nodes = sectionOf<uint32_t>(blob, SectionId::trieV4Nodes);
  const auto trieV6Nodes = sectionOf<TrieV6Node>(blob, SectionId::trieV6Nodes);
  const auto endpoints = sectionOf<EndpointRow>(blob, SectionId::endpoints);
  const auto auditRows = sectionOf<EndpointRow>(blob, SectionId::auditRows);
  sections_ = {
      .classCount = header.classCount,
      .trieV4Root = bytesOf(sectionOf<uint32_t>(blob, SectionId::trieV4Root)),
      .trieV4Nodes = bytesOf(trieV4Nodes),
      .trieV6Root = bytesOf(sectionOf<uint32_t>(blob, SectionId::trieV6Root)),
      .trieV6Nodes = bytesOf(trieV6Nodes),
      .trieV6Entries = bytesOf(sectionOf<uint32_t>(blob, SectionId::trieV6Entries)),
      .leaves = bytesOf(sectionOf<Leaf>(blob, SectionId::leaves)),
      .cells = bytesOf(sectionOf<uint16_t>(blob, SectionId::cells)),
      .portSets = bytesOf(sectionOf<PortSet>(blob, SectionId::portSets)),
      .portPageIndexes = bytesOf(sectionOf<uint16_t>(blob, SectionId::portPageIndexes)),
      .portPages = bytesOf(sectionOf<uint32_t>(blob, SectionId::portPages)),
  };
  endpoints_ = bytesOf(endpoints);
  auditRows_ = auditRows.empty() ? nullptr : bytesOf(auditRows);
  endpointCount_ = static_cast<uint32_t>(endpoints.size());
  trieV4NodeCount_ = static_cast<uint32_t>(trieV4Nodes.size() / TRIE_NODE_ENTRIES);
  trieV6NodeCount_ = static_cast<uint32_t>(trieV6Nodes.size());
}

}  // namespace sluice
