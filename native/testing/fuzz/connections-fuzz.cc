// Target "connections": loads saved connections from any bytes. A loaded connection is only a
// connection: saved again, it is the same. After the load only packets pass that the rules allow,
// unless a table of this process had judged the connection and such connections are kept.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "native/testing/fuzz/fuzz.h"
#include "native/testing/fuzz/world.h"
#include "native/testing/one-pod.h"
#include "native/testing/slow-packet.h"
#include "native/worker/filter.h"

namespace sluice::testing {
namespace {

constexpr uint8_t KEEP = 1;
constexpr uint8_t LOOSE = 2;
constexpr uint32_t POLICY_SHIFT = 2;
constexpr size_t CONNECTIONS_MAX = 16;
constexpr uint32_t GENERATION_MAX = 7;
constexpr uint64_t NOW_US = 1'000'000;

using Saved = std::array<uint8_t, sizeof(SavedConnection)>;

std::vector<SavedConnection> saveAll(Filter& filter) {
  std::vector<SavedConnection> all(CONNECTIONS_MAX);
  uint32_t place = 0;
  all.resize(filter.save(sluice::Saved::All, NOW_US, SIZE_MAX, all, &place));
  return all;
}

std::vector<Saved> sortedBytes(const std::vector<SavedConnection>& all) {
  std::vector<Saved> bytes(all.size());
  for (size_t each = 0; each < all.size(); ++each) {
    std::memcpy(bytes[each].data(), &all[each], sizeof(SavedConnection));
  }
  std::ranges::sort(bytes);
  return bytes;
}

std::unique_ptr<Filter> filterOf(uint8_t settings) {
  FilterOptions options;
  options.connectionsMax = CONNECTIONS_MAX;
  options.fragmentsMax = 8;
  options.loose = (settings & LOOSE) != 0;
  options.established = (settings & KEEP) != 0 ? Established::Keep : Established::Recheck;
  std::unique_ptr<Filter> filter;
  if (!Filter::create(options, &filter).ok()) std::abort();
  return filter;
}

// A packet of a saved connection: from its opener or the other end, right where it left off.
std::vector<uint8_t> packetOf(const SavedConnection& saved, size_t sender, uint8_t tcpFlags) {
  FrameBuilder frame(saved.family == 4 ? 4 : 6, POD_A, POD_B, saved.protocol);
  AddressBytes ends[2];
  std::memcpy(ends[0].data(), saved.source, 16);
  std::memcpy(ends[1].data(), saved.destination, 16);
  frame.source = ends[sender];
  frame.destination = ends[1 - sender];
  std::vector<uint8_t>& payload = frame.payload;
  const uint16_t ports[] = {saved.sourcePort, saved.destinationPort};
  if (saved.protocol == PROTOCOL_ICMP || saved.protocol == PROTOCOL_ICMPV6) {
    const uint8_t answer = saved.family == 6     ? saved.icmpKind + 1
                           : saved.icmpKind == 8 ? 0
                                                 : saved.icmpKind + 1;
    payload = {sender == 0 ? saved.icmpKind : answer, 0, 0, 0};
    append16(payload, saved.sourcePort);
    append16(payload, 0);
  } else {
    append16(payload, ports[sender]);
    append16(payload, ports[1 - sender]);
    if (saved.protocol == PROTOCOL_TCP) {
      append32(payload, saved.sentEnd[sender]);
      append32(payload, saved.sentEnd[1 - sender]);
      append16(payload, 0x5000u | tcpFlags);
      append16(payload, 1'000);
      append32(payload, 0);
    } else {
      append32(payload, 0x00080000);
      append32(payload, 0);
    }
  }
  return frame.build();
}

// Sends a packet by the link where it would come from, and says whether it may have passed.
void send(Filter& filter, const World& world, const TableInForce& table, uint32_t policy,
          std::vector<uint8_t> bytes, bool judged) {
  const auto packet = readSlowly(bytes);
  if (!packet) return;
  const bool inside = world.podOf(packet->source, packet->family) == POD_A;
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  if (!filter.judge(frame, world.link(inside ? 0 : 2), table, NOW_US).passes() || judged) return;
  SlowRole role;
  const auto flow = flowOf(*packet, &role);
  HOLDS(flow, "what passes has its layer-4 header");
  HOLDS(world.allows(policy, *flow) || world.allows(policy, flow->reverse()),
        "what was saved passes only if the rules allow it, or a table here had judged it");
}

}  // namespace

// Shape: a byte of settings (1 kept when stale, 2 loose, 12 the policy), then saved connections.
void fuzzConnections(std::span<const uint8_t> input) {
  static const World WORLD(false);
  if (input.empty()) return;
  const uint8_t settings = input[0];
  const uint32_t policy = settings >> POLICY_SHIFT & 3;
  const auto filter = filterOf(settings);
  WORLD.attachOwners(*filter);
  const TableInForce table = WORLD.table(policy, GENERATION_MAX + 1);

  std::vector<SavedConnection> taken;
  const size_t count = std::min((input.size() - 1) / sizeof(SavedConnection), CONNECTIONS_MAX);
  for (size_t each = 0; each < count; ++each) {
    SavedConnection saved;
    std::memcpy(&saved, input.data() + 1 + each * sizeof saved, sizeof saved);
    // As if nobody asked which tables have been here.
    const uint32_t generationMax = FUZZ_CANARY ? UINT32_MAX : GENERATION_MAX;
    if (filter->load(saved, generationMax, NOW_US)) taken.push_back(saved);
  }
  HOLDS(filter->connectionCount() <= CONNECTIONS_MAX, "connections have a bound");

  const auto written = saveAll(*filter);
  HOLDS(written.size() == filter->connectionCount(), "every connection is saved");
  const auto again = filterOf(settings);
  for (const SavedConnection& saved : written) {
    HOLDS(again->load(saved, UINT32_MAX, NOW_US), "what was saved is taken up");
  }
  HOLDS(sortedBytes(saveAll(*again)) == sortedBytes(written), "and is the same when saved again");

  for (const SavedConnection& saved : taken) {
    const bool judged =
        (settings & KEEP) != 0 && saved.generation != 0 && saved.generation <= GENERATION_MAX;
    for (const uint8_t flags :
         {TCP_ACK, TCP_SYN, static_cast<uint8_t>(TCP_SYN | TCP_ACK), TCP_FIN, TCP_RST, TCP_ACK}) {
      send(*filter, WORLD, table, policy, packetOf(saved, 1, flags), judged);
      send(*filter, WORLD, table, policy, packetOf(saved, 0, flags), judged);
    }
  }
  (void)filter->expire(NOW_US + 600 * SECOND_US, 64);
  HOLDS(filter->connectionCount() <= CONNECTIONS_MAX, "connections have a bound");
}

}  // namespace sluice::testing
