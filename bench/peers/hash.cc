#include <rte_hash.h>
#include <rte_hash_crc.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bench/peers/peer.h"
#include "native/bench/flows.h"

using sluice::FlowKey;
using sluice::bench::flowKeyOf;
using sluice::bench::Random;

namespace {

constexpr size_t LOOKUPS = 1'000'000;
constexpr size_t BATCH = 64;  // RTE_HASH_LOOKUP_BULK_MAX

// A flow as a tracker on rte_hash would name it, the same from both directions: 16 bytes, which is
// a length that rte_hash compares with instructions of its own.
struct alignas(16) Key {
  uint32_t lower = 0;
  uint32_t higher = 0;
  uint16_t lowerPort = 0;
  uint16_t higherPort = 0;
  uint32_t protocol = 0;
};
static_assert(sizeof(Key) == 16);

Key keyOf(const FlowKey& flow) {
  Key key;
  std::memcpy(&key.lower, flow.source.data(), 4);
  std::memcpy(&key.higher, flow.destination.data(), 4);
  key.lowerPort = flow.sourcePort;
  key.higherPort = flow.destinationPort;
  key.protocol = flow.protocol;
  return key;
}

}  // namespace

int runHash(int count, char** words) {
  const long flows = count == 1 ? std::strtol(words[0], nullptr, 10) : 0;
  if (flows < 1 || flows > sluice::bench::FLOWS_MAX) {
    std::fputs("want FLOWS\n", stderr);
    return 2;
  }
  const uint64_t started = sluice::bench::nowNs();
  rte_hash_parameters parameters = {};
  parameters.name = "flows";
  parameters.entries = static_cast<uint32_t>(flows + flows / 2 + 64);
  parameters.key_len = sizeof(Key);
  parameters.hash_func = rte_hash_crc;
  parameters.socket_id = SOCKET_ID_ANY;
  rte_hash* hash = rte_hash_create(&parameters);
  if (hash == nullptr) {
    std::fputs("rte_hash: no memory for so many flows\n", stderr);
    return 2;
  }
  // What a connection's record holds beside its key: each lookup ends at one, as ours does.
  struct alignas(64) Record {
    uint64_t expiresUs;
  };
  std::vector<Record> records(static_cast<size_t>(flows));
  for (uint32_t flow = 0; flow < flows; ++flow) {
    const Key key = keyOf(flowKeyOf(flow));
    records[flow].expiresUs = UINT64_MAX;
    if (rte_hash_add_key_data(hash, &key, &records[flow]) < 0) {
      std::fprintf(stderr, "rte_hash: full after %u flows\n", flow);
      return 2;
    }
  }
  std::vector<Key> wanted(LOOKUPS);
  Random random;
  for (Key& key : wanted) {
    key = keyOf(flowKeyOf(random.below(static_cast<uint32_t>(flows))));
    (void)random.below(2);  // where ours draws the direction
  }

  const auto look = [&](size_t first, size_t size) {
    std::array<const void*, BATCH> keys;
    std::array<void*, BATCH> data;
    sluice::bench::askAhead(wanted.data(), wanted.size(), first, size);
    for (size_t at = 0; at < size; ++at) keys[at] = &wanted[first + at];
    uint64_t mask = 0;
    rte_hash_lookup_bulk_data(hash, keys.data(), static_cast<uint32_t>(size), &mask, data.data());
    return static_cast<uint64_t>(__builtin_popcountll(mask));
  };
  return takeTurns(started, 0, [&] { return sluice::bench::measure(LOOKUPS, BATCH, look); });
}
