#include "native/table/provenance-check.h"

#include <algorithm>
#include <cstdint>

namespace sluice {
namespace {

// The array of one section.
template <typename Element>
std::span<const Element> sectionOf(std::span<const std::byte> blob, const TableHeader& header,
                                   SectionId id) noexcept {
  const size_t place = static_cast<size_t>(id) * 2;
  return {reinterpret_cast<const Element*>(blob.data() + header.sections[place]),
          header.sections[place + 1]};
}

// Whether `count` elements from `start` on lie below `limit`.
bool fits(uint64_t start, uint64_t count, size_t limit) noexcept { return start + count <= limit; }

bool textFits(const uint32_t (&text)[2], size_t strings) noexcept {
  return fits(text[0], text[1], strings);
}

bool allBelow(std::span<const uint32_t> numbers, size_t limit) noexcept {
  return std::all_of(numbers.begin(), numbers.end(),
                     [limit](uint32_t number) { return number < limit; });
}

}  // namespace

StatusCode checkProvenance(std::span<const std::byte> blob, const TableHeader& header) noexcept {
  const auto endpoints = sectionOf<EndpointInfo>(blob, header, SectionId::endpointInfos);
  const auto policies = sectionOf<PolicyInfo>(blob, header, SectionId::policyInfos);
  const auto rules = sectionOf<RuleInfo>(blob, header, SectionId::ruleInfos);
  const auto rows = sectionOf<RowInfo>(blob, header, SectionId::rowInfos);
  const auto lists = sectionOf<uint32_t>(blob, header, SectionId::rowLists);
  const auto sets = sectionOf<uint32_t>(blob, header, SectionId::originSets);
  const size_t strings = sectionOf<uint8_t>(blob, header, SectionId::strings).size();
  const size_t portSets = sectionOf<PortSet>(blob, header, SectionId::portSets).size();
  if (endpoints.size() != sectionOf<EndpointRow>(blob, header, SectionId::endpoints).size() ||
      rows.size() != header.rowCount) {
    return StatusCode::TableBounds;
  }
  for (const EndpointInfo& endpoint : endpoints) {
    if (!textFits(endpoint.namespaceName, strings) || !textFits(endpoint.podName, strings)) {
      return StatusCode::TableBounds;
    }
  }
  for (const PolicyInfo& policy : policies) {
    if (!textFits(policy.kind, strings) || !textFits(policy.namespaceName, strings) ||
        !textFits(policy.name, strings) || !textFits(policy.file, strings)) {
      return StatusCode::TableBounds;
    }
  }
  for (const RuleInfo& rule : rules) {
    if (rule.policy >= policies.size() || rule.portSet >= portSets ||
        rule.originSet >= sets.size() ||
        !fits(uint64_t{rule.originSet} + 1, sets[rule.originSet], sets.size()) ||
        static_cast<size_t>(rule.tier) >= TIER_COUNT ||
        static_cast<size_t>(rule.action) >= ACTION_COUNT ||
        static_cast<size_t>(rule.direction) >= DIRECTION_COUNT) {
      return StatusCode::TableBounds;
    }
  }
  uint64_t listed = 0;
  for (const RowInfo& row : rows) {
    listed += uint64_t{row.isolatedByCount} + row.rulesCount;
    if (listed > lists.size() || !fits(row.isolatedByStart, row.isolatedByCount, lists.size()) ||
        !fits(row.rulesStart, row.rulesCount, lists.size()) ||
        !allBelow(lists.subspan(row.isolatedByStart, row.isolatedByCount), policies.size()) ||
        !allBelow(lists.subspan(row.rulesStart, row.rulesCount), rules.size())) {
      return StatusCode::TableBounds;
    }
  }
  return StatusCode::Ok;
}

}  // namespace sluice
