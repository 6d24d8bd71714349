#include <rte_acl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "bench/peers/peer.h"
#include "native/bench/flows.h"
#include "native/bench/read-file.h"
#include "native/layout/layout.gen.h"

namespace {

constexpr size_t BATCH = 64;

// Fields in the order of rte_acl's own five-tuple example: each four bytes are one step of it.
struct alignas(4) Key {
  uint8_t protocol;
  uint8_t padding[3];
  uint8_t source[4];
  uint8_t destination[4];
  uint16_t sourcePortBe;
  uint16_t destinationPortBe;
};
static_assert(sizeof(Key) == 16);

enum Field : uint8_t { PROTOCOL, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };

constexpr std::array<rte_acl_field_def, FIELDS> DEFINITIONS = {{
    {RTE_ACL_FIELD_TYPE_BITMASK, 1, PROTOCOL, 0, offsetof(Key, protocol)},
    {RTE_ACL_FIELD_TYPE_MASK, 4, SOURCE, 1, offsetof(Key, source)},
    {RTE_ACL_FIELD_TYPE_MASK, 4, DESTINATION, 2, offsetof(Key, destination)},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, SOURCE_PORT, 3, offsetof(Key, sourcePortBe)},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, DESTINATION_PORT, 3, offsetof(Key, destinationPortBe)},
}};

RTE_ACL_RULE_DEF(Rule, FIELDS);

struct Way {
  std::string_view name;
  enum rte_acl_classify_alg algorithm;
};

constexpr Way WAYS[] = {
    {"scalar", RTE_ACL_CLASSIFY_SCALAR},       {"sse", RTE_ACL_CLASSIFY_SSE},
    {"avx2", RTE_ACL_CLASSIFY_AVX2},           {"avx512x16", RTE_ACL_CLASSIFY_AVX512X16},
    {"avx512x32", RTE_ACL_CLASSIFY_AVX512X32},
};

// Reads lines `SOURCE LENGTH DESTINATION PROTOCOL FIRST LAST`, all numbers.
std::vector<Rule> readRules(const char* path) {
  std::vector<Rule> rules;
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return rules;
  unsigned source;
  unsigned length;
  unsigned destination;
  unsigned protocol;
  unsigned first;
  unsigned last;
  while (std::fscanf(file, "%u %u %u %u %u %u", &source, &length, &destination, &protocol, &first,
                     &last) == 6) {
    Rule rule = {};
    rule.data.userdata = 1;
    rule.data.category_mask = 1;
    rule.data.priority = static_cast<int32_t>(rules.size() + 1);
    rule.field[PROTOCOL].value.u8 = static_cast<uint8_t>(protocol);
    rule.field[PROTOCOL].mask_range.u8 = 0xff;
    rule.field[SOURCE].value.u32 = source;
    rule.field[SOURCE].mask_range.u32 = length;
    rule.field[DESTINATION].value.u32 = destination;
    rule.field[DESTINATION].mask_range.u32 = 32;
    rule.field[SOURCE_PORT].mask_range.u16 = 0xffff;
    rule.field[DESTINATION_PORT].value.u16 = static_cast<uint16_t>(first);
    rule.field[DESTINATION_PORT].mask_range.u16 = static_cast<uint16_t>(last);
    rules.push_back(rule);
  }
  std::fclose(file);
  return rules;
}

}  // namespace

int runAcl(int count, char** words) {
  if (count != 3) {
    std::fputs("want RULES TUPLES WAY\n", stderr);
    return 2;
  }
  const Way* way = std::find_if(std::begin(WAYS), std::end(WAYS),
                                [&](const Way& each) { return each.name == words[2]; });
  std::vector<Rule> rules = readRules(words[0]);
  std::vector<std::byte> records;
  if (way == std::end(WAYS) || rules.empty() || !sluice::bench::readFile(words[1], &records)) {
    std::fputs("rte_acl: no such way, or no rules\n", stderr);
    return 2;
  }

  const uint64_t started = sluice::bench::nowNs();
  rte_acl_param parameters = {};
  parameters.name = "rules";
  parameters.socket_id = SOCKET_ID_ANY;
  parameters.rule_size = RTE_ACL_RULE_SZ(FIELDS);
  parameters.max_rule_num = static_cast<uint32_t>(rules.size());
  rte_acl_ctx* context = rte_acl_create(&parameters);
  rte_acl_config config = {};
  config.num_categories = 1;
  config.num_fields = FIELDS;
  std::copy(DEFINITIONS.begin(), DEFINITIONS.end(), config.defs);
  if (context == nullptr ||
      rte_acl_add_rules(context, reinterpret_cast<const rte_acl_rule*>(rules.data()),
                        static_cast<uint32_t>(rules.size())) != 0 ||
      rte_acl_build(context, &config) != 0 ||
      rte_acl_set_ctx_classify(context, way->algorithm) != 0) {
    std::fputs("rte_acl: cannot build these rules, or this processor lacks the way\n", stderr);
    return 2;
  }
  const size_t tuples = records.size() / sizeof(sluice::FlowTuple);
  std::vector<Key> keys(tuples);
  for (size_t at = 0; at < tuples; ++at) {
    sluice::FlowTuple tuple;
    std::memcpy(&tuple, &records[at * sizeof tuple], sizeof tuple);
    Key& key = keys[at];
    key.protocol = tuple.protocol;
    std::copy_n(tuple.source, 4, key.source);
    std::copy_n(tuple.destination, 4, key.destination);
    key.sourcePortBe = 0x1234;
    key.destinationPortBe = __builtin_bswap16(tuple.port);
  }

  const auto look = [&](size_t first, size_t size) {
    std::array<const uint8_t*, BATCH> data;
    std::array<uint32_t, BATCH> results;
    sluice::bench::askAhead(keys.data(), keys.size(), first, size);
    for (size_t at = 0; at < size; ++at) {
      data[at] = reinterpret_cast<const uint8_t*>(&keys[first + at]);
    }
    rte_acl_classify(context, data.data(), results.data(), static_cast<uint32_t>(size), 1);
    uint64_t allowed = 0;
    for (size_t at = 0; at < size; ++at) allowed += results[at] != 0 ? 1 : 0;
    return allowed;
  };
  return takeTurns(started, 0, [&] { return sluice::bench::measure(tuples, BATCH, look); });
}
