// Target "table": a whole blob with places changed, through the checker; whatever it accepts is
// read by every lookup there is, more than 10,000 times. The checksum is mended, or no change would
// come further. The blob ends where memory ends, so that a vector's read behind it is seen too.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "native/table/classify.h"
#include "native/table/table-view.h"
#include "native/testing/blob-builder.h"
#include "native/testing/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

constexpr size_t EDIT_BYTES = 12;
constexpr size_t EDITS_MAX = 64;
constexpr size_t PAGE_BYTES = 4'096;
constexpr size_t ABYSS_BYTES = size_t{sizeof(TrieV6Node)} << 32;
constexpr size_t GROWTH_MAX = 4'096;
constexpr size_t FLOWS = 1'250;  // each is looked up alone and in five batches: 12 lookups
constexpr size_t BATCH = 125;

BlobBuilder::Provenance someProvenance() {
  BlobBuilder::Provenance made;
  made.strings = "shopwebdbNetworkPolicyallowpolicy.yaml";
  made.endpoints = {{{0, 4}, {4, 3}}, {{0, 4}, {7, 2}}};
  made.policies = {{{9, 13}, {0, 4}, {22, 5}, {27, 11}, 3, 1},
                   {{9, 13}, {0, 0}, {4, 3}, {27, 11}, 40, 1}};
  RuleInfo rule = {};
  rule.tier = static_cast<uint8_t>(Tier::NetworkPolicy);
  rule.originSet = 5;
  rule.portSet = 1;
  made.rules = {rule, rule, rule};
  made.rules[1].policy = 1;
  made.rules[2].direction = static_cast<uint8_t>(Direction::Egress);
  made.rules[2].originSet = 0;
  made.rowLists = {0, 0, 1, 0, 1, 2};
  made.rows = {{0, 1, 1, 2}, {3, 2, 5, 1}, {6, 0, 6, 0}};
  made.originSets = {4, 0, 1, 2, 3, 2, 1, 3};
  return made;
}

Blob manyParts() {
  BlobBuilder builder;
  const uint32_t none = builder.addPortSet({});
  const uint32_t web = builder.addPortSet({{ProtocolSlot::Tcp, 80, 443}});
  const uint32_t all = builder.addPortSet({{ProtocolSlot::Tcp, 0, 65'535},
                                           {ProtocolSlot::Udp, 0, 65'535},
                                           {ProtocolSlot::Sctp, 1, 2},
                                           {ProtocolSlot::Other, 0, 0}});
  builder.setCells(3, 3, {none, web, all, web, none, all, all, all, none});
  builder.addEndpoint({0, 1});
  builder.addEndpoint({2, 0});
  builder.addAuditRow({1, 1});
  builder.addAuditRow({0, 2});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  const uint32_t one = builder.addLeaf({1, 0, 1});
  const uint32_t two = builder.addLeaf({2, 1, 2});
  const uint32_t far = builder.addLeaf({2, NONE, 3});
  builder.mapV4({10, 0, 0, 1}, one);
  builder.mapV4({10, 0, 0, 2}, two);
  builder.mapV4({10, 0, 7, 1}, far);
  builder.mapV4({192, 168, 3, 4}, far);
  builder.mapV6({0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, one);
  builder.mapV6({0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, two);
  builder.mapV6({0xfd, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, far);
  builder.mapV6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, far);
  builder.setProvenance(someProvenance());
  return builder.build();
}

Blob onePart() {
  BlobBuilder builder;
  builder.setCells(1, 1, {builder.addPortSet({})});
  builder.addEndpoint({0, 0});
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  builder.mapV4({10, 0, 0, 1}, builder.addLeaf({0, 0, 0}));
  return builder.build();
}

// Memory followed by unmapped pages, as far as a 32-bit index can reach.
class Cliff {
 public:
  explicit Cliff(size_t bytes)
      : bytes_((bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES),
        start_(static_cast<std::byte*>(mmap(nullptr, bytes_ + ABYSS_BYTES, PROT_NONE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (start_ == MAP_FAILED) std::abort();
    if (mprotect(start_, bytes_, PROT_READ | PROT_WRITE) != 0) std::abort();
  }
  ~Cliff() { munmap(start_, bytes_ + ABYSS_BYTES); }
  Cliff(const Cliff&) = delete;
  Cliff& operator=(const Cliff&) = delete;
  // The last `count` bytes of it.
  [[nodiscard]] std::span<std::byte> last(size_t count) const {
    return {start_ + bytes_ - count, count};
  }

 private:
  size_t bytes_;
  std::byte* start_;
};

// A change of a blob: what is at `index` of a section, or of the header, or of the whole.
struct Edit {
  uint8_t where;  // a section, then the header, then the whole blob
  uint8_t what;   // 0 set, 1 flip bits, 2 add, 3 low half only
  uint16_t index;
  uint32_t high;  // elements, times 65,536
  uint32_t value;
};
static_assert(sizeof(Edit) == EDIT_BYTES);
constexpr uint8_t HEADER = SECTION_COUNT;

constexpr uint8_t PLACES = SECTION_COUNT + 2;  // the last is the whole blob

Section sectionOf(std::span<const std::byte> blob, size_t id) {
  Section section;
  std::memcpy(&section, blob.data() + offsetof(TableHeader, sections) + id * sizeof section,
              sizeof section);
  return section;
}

void apply(const Edit& edit, std::span<const std::byte> original, std::span<std::byte> blob) {
  const uint8_t where = edit.where % PLACES;
  size_t at = size_t{edit.index} * 4 + (size_t{edit.high} << 18);
  if (where == HEADER) {
    at %= sizeof(TableHeader);
  } else if (where < SECTION_COUNT) {
    const Section section = sectionOf(original, where);
    const size_t bytes = size_t{section.count} * sectionElementBytes[where];
    if (bytes < 4) return;
    at = section.offset + at % bytes;
  } else {
    at %= blob.size();
  }
  at = at / 2 * 2;
  if (at + 4 > blob.size()) return;
  uint32_t value = 0;
  std::memcpy(&value, blob.data() + at, 4);
  switch (edit.what % 4) {
    case 0:
      value = edit.value;
      break;
    case 1:
      value ^= edit.value;
      break;
    case 2:
      value += edit.value;
      break;
    default:
      value = (value & 0xffff0000) | (edit.value & 0xffff);
      break;
  }
  std::memcpy(blob.data() + at, &value, 4);
}

// The checksum of docs/format.md; blob-builder.cc has it word by word, which is too slow here.
void mendChecksum(std::span<std::byte> blob) {
  uint32_t sum = 0;
  std::memset(blob.data() + offsetof(TableHeader, checksum), 0, 4);
  for (size_t line = 0; line < blob.size() / 64; ++line) {
    std::array<uint32_t, 16> words;
    std::memcpy(words.data(), blob.data() + line * 64, 64);
    uint32_t value = 0;
    for (uint32_t column = 0; column < 16; ++column) {
      value += (words[column] ^ words[column] >> 16) * (0x9e3779b1u * (2 * column + 1));
    }
    value = (value ^ static_cast<uint32_t>(line) * 0x85ebca6bu) * 0xc2b2ae35u;
    sum += (value ^ value >> 15) * 0x9e3779b1u;
  }
  std::memcpy(blob.data() + offsetof(TableHeader, checksum), &sum, 4);
}

// Addresses that lead through what was changed, and next to it; the rest is chance.
class Tuples {
 public:
  Tuples(std::span<const Edit> edits, uint64_t seed) : edits_(edits), state_(seed | 1) {}

  FlowTuple next() {
    FlowTuple tuple = {};
    tuple.family = random() % 2 == 0 ? 4 : 6;
    address(tuple.source, tuple.family);
    address(tuple.destination, tuple.family);
    constexpr uint8_t PROTOCOLS[] = {6, 17, 132, 1, 58, 0, 255, 6};
    tuple.protocol = PROTOCOLS[random() % 8];
    tuple.port = static_cast<uint16_t>(random() % 2 == 0 ? random() : 80);
    return tuple;
  }

 private:
  uint32_t random() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 24);
  }

  void address(uint8_t* bytes, uint8_t family) {
    constexpr std::array<uint8_t, 16> KNOWN_V4[] = {
        {10, 0, 0, 1}, {10, 0, 0, 2}, {10, 0, 7, 1}, {192, 168, 3, 4}};
    constexpr std::array<uint8_t, 16> KNOWN_V6[] = {
        {0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
        {0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2},
        {0xfd, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2},
        {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    const size_t length = family == 4 ? 4 : 16;
    std::memcpy(bytes, (family == 4 ? KNOWN_V4 : KNOWN_V6)[random() % 4].data(), length);
    const uint32_t way = random() % 4;
    if (way == 0 && !edits_.empty()) {
      // A root's entry is the first two bytes, a node's the next ones.
      const uint16_t index = edits_[random() % edits_.size()].index;
      const size_t at = random() % 2 == 0 ? 0 : 2 + random() % (length - 2);
      bytes[at] = static_cast<uint8_t>(at == 0 ? index >> 8 : index);
      if (at == 0) bytes[1] = static_cast<uint8_t>(index);
    } else if (way == 1) {
      bytes[random() % length] = static_cast<uint8_t>(random());
    } else if (way == 2) {
      for (size_t at = random() % length; at < length; ++at)
        bytes[at] = static_cast<uint8_t>(random());
    }
  }

  std::span<const Edit> edits_;
  uint64_t state_;
};

// Every way to read a table, each held against the plainest.
void readAll(const TableView& view, Tuples& tuples) {
  for (size_t done = 0; done < FLOWS; done += BATCH) {
    std::vector<FlowTuple> flows;
    for (size_t at = 0; at < BATCH; ++at) flows.push_back(tuples.next());
    std::vector<DeniedBy> plain;
    for (const FlowTuple& flow : flows) {
      const uint32_t source = view.leafOf(flow.source, flow.family);
      const uint32_t destination = view.leafOf(flow.destination, flow.family);
      const uint32_t endpoint = view.leaf(source).endpointId;
      HOLDS(endpoint == NONE || endpoint < view.endpointCount(), "a leaf's endpoint is there");
      plain.push_back(view.decide(source, destination, flow.protocol, flow.port));
      const DeniedBy audited = view.audit(source, destination, flow.protocol, flow.port);
      HOLDS(view.hasAudit() || audited == plain.back(), "without an audit nothing differs");
    }
    std::vector<DeniedBy> batch(BATCH);
    classify(view, flows, batch.data());
    HOLDS(batch == plain, "a batch of both families is judged as its flows are");
    for (const TableView::Way way : {TableView::Way::Scalar, TableView::fastestWay()}) {
      std::vector<uint32_t> v4;
      std::vector<AddressBytes> v6;
      for (const FlowTuple& flow : flows) {
        AddressBytes address;
        std::memcpy(address.data(), flow.source, 16);
        v6.push_back(address);
        v4.push_back(uint32_t{flow.source[0]} << 24 | uint32_t{flow.source[1]} << 16 |
                     uint32_t{flow.source[2]} << 8 | flow.source[3]);
      }
      std::vector<uint32_t> leavesV4(BATCH);
      std::vector<uint32_t> leavesV6(BATCH);
      std::vector<uint32_t> ports;
      view.leavesOfV4(v4, leavesV4.data(), way);
      view.leavesOfV6(v6, leavesV6.data(), way);
      for (size_t at = 0; at < BATCH; ++at) {
        HOLDS(leavesV4[at] == view.leafOf(flows[at].source, 4), "a batch of IPv4 leaves");
        HOLDS(leavesV6[at] == view.leafOf(flows[at].source, 6), "a batch of IPv6 leaves");
        ports.push_back(TableView::slotPort(flows[at].protocol, flows[at].port));
      }
      view.decideBatch(leavesV4.data(), leavesV6.data(), ports.data(), batch, way);
      for (size_t at = 0; at < BATCH; ++at) {
        HOLDS(batch[at] ==
                  view.decide(leavesV4[at], leavesV6[at], flows[at].protocol, flows[at].port),
              "a batch of verdicts");
      }
    }
  }
}

// The elements of a section, each read where it says; one that is not there does not hold.
class Elements {
 public:
  Elements(std::span<const std::byte> blob, SectionId id)
      : section_(sectionOf(blob, static_cast<size_t>(id))),
        bytes_(blob.subspan(section_.offset, size_t{section_.count} *
                                                 sectionElementBytes[static_cast<size_t>(id)])) {}
  [[nodiscard]] size_t count() const { return section_.count; }
  template <typename Element>
  [[nodiscard]] Element at(size_t index) const {
    HOLDS(index < section_.count, "provenance leads to what is there");
    Element element;
    std::memcpy(&element, bytes_.data() + index * sizeof element, sizeof element);
    return element;
  }

 private:
  Section section_;
  std::span<const std::byte> bytes_;
};

// What src/compiler/decode.ts reads, for every row.
void readProvenance(std::span<const std::byte> blob) {
  const Elements strings(blob, SectionId::strings);
  const Elements policies(blob, SectionId::policyInfos);
  const Elements rules(blob, SectionId::ruleInfos);
  const Elements rows(blob, SectionId::rowInfos);
  const Elements lists(blob, SectionId::rowLists);
  const Elements sets(blob, SectionId::originSets);
  const Elements portSets(blob, SectionId::portSets);
  const Elements endpoints(blob, SectionId::endpoints);
  const Elements names(blob, SectionId::endpointInfos);
  const auto readText = [&strings](const uint32_t (&text)[2]) {
    if (text[1] == 0) return;
    (void)strings.at<uint8_t>(text[0]);
    (void)strings.at<uint8_t>(size_t{text[0]} + text[1] - 1);
  };
  const auto readPolicy = [&](uint32_t id) {
    const auto policy = policies.at<PolicyInfo>(id);
    readText(policy.kind);
    readText(policy.namespaceName);
    readText(policy.name);
    readText(policy.file);
  };
  const auto readRow = [&](uint32_t id) {
    const auto row = rows.at<RowInfo>(id);
    for (size_t place = 0; place < row.isolatedByCount; ++place) {
      readPolicy(lists.at<uint32_t>(row.isolatedByStart + place));
    }
    for (size_t place = 0; place < row.rulesCount; ++place) {
      const auto rule = rules.at<RuleInfo>(lists.at<uint32_t>(row.rulesStart + place));
      readPolicy(rule.policy);
      HOLDS(rule.tier < TIER_COUNT && rule.action < ACTION_COUNT,
            "a rule has a tier and an action");
      HOLDS(rule.direction < DIRECTION_COUNT, "a rule has a direction");
      (void)portSets.at<PortSet>(rule.portSet);
      const size_t last = size_t{rule.originSet} + sets.at<uint32_t>(rule.originSet);
      (void)sets.at<uint32_t>(last);
    }
  };
  for (size_t id = 0; id < policies.count(); ++id) readPolicy(static_cast<uint32_t>(id));
  for (size_t id = 0; id < endpoints.count(); ++id) {
    const auto endpoint = endpoints.at<EndpointRow>(id);
    readRow(endpoint.ingressRow);
    readRow(endpoint.egressRow);
    const auto name = names.at<EndpointInfo>(id);
    readText(name.namespaceName);
    readText(name.podName);
  }
}

}  // namespace

// Shape: a byte of options (1: the smaller table, 2: the checksum is not mended); two bytes, low
//        first, how many bytes shorter or longer the blob is; then edits of 12 bytes.
void fuzzTable(std::span<const uint8_t> input) {
  static const std::array<Blob, 2> ORIGINALS = {manyParts(), onePart()};
  static const Cliff cliff(ORIGINALS[0].bytes().size() + GROWTH_MAX);
  if (input.size() < 3) return;
  const std::span<const std::byte> original = ORIGINALS[input[0] & 1].bytes();
  const auto by = static_cast<int16_t>(input[1] | input[2] << 8);
  const auto growth = std::min<ptrdiff_t>(by, GROWTH_MAX);
  const auto size = static_cast<size_t>(static_cast<ptrdiff_t>(original.size()) + growth);
  const std::span<std::byte> blob = cliff.last(size);
  const size_t copied = std::min(size, original.size());
  std::memcpy(blob.data(), original.data(), copied);
  std::memset(blob.data() + copied, 0, size - copied);

  std::array<Edit, EDITS_MAX> edits;
  const size_t count = std::min(EDITS_MAX, (input.size() - 3) / EDIT_BYTES);
  if (count > 0) std::memcpy(edits.data(), input.data() + 3, count * EDIT_BYTES);
  if (by != 0 && blob.size() >= sizeof(TableHeader)) {
    const auto total = static_cast<uint32_t>(blob.size());
    std::memcpy(blob.data() + offsetof(TableHeader, totalBytes), &total, 4);
  }
  const std::span<const Edit> made(edits.data(), count);
  for (const Edit& edit : made) apply(edit, original, blob);
  if ((input[0] & 2) == 0 && blob.size() >= sizeof(TableHeader)) mendChecksum(blob);

  TableView view;
  if (blob.size() % TABLE_ALIGNMENT_BYTES != 0) {
    HOLDS(!TableView::open(blob, &view).ok(), "a blob of broken lines is refused");
    return;
  }
  if (!TableView::open(blob, &view).ok()) return;
  if (FUZZ_CANARY && count > 0) {
    // Acts as if the checker had skipped one kind of section.
    const Section cells = sectionOf(blob, static_cast<size_t>(SectionId::cells));
    for (const Edit& edit : made) {
      if (edit.where % PLACES != static_cast<uint8_t>(SectionId::cells) || cells.count == 0)
        continue;
      std::memset(blob.data() + cells.offset, 0xff, size_t{cells.count} * 2);
    }
  }
  uint64_t seed = 0x9e3779b97f4a7c15;
  for (const uint8_t byte : input) seed = (seed ^ byte) * 0x100000001b3;
  Tuples tuples(made, seed);
  readAll(view, tuples);
  readProvenance(blob);
}

}  // namespace sluice::testing
