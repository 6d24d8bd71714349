#include "native/testing/fuzz/world.h"

#include <algorithm>
#include <cstdlib>

#include "native/testing/one-pod.h"

namespace sluice::testing {
namespace {

constexpr int ANYBODY = -1;
constexpr int ANY_PROTOCOL = -1;
// Those that have a column of their own in the tables; everybody else shares the first.
constexpr uint8_t HOSTS[] = {10, 11, 12, 13};

struct Rule {
  uint8_t pod;
  bool egress;
  int peer;  // last byte of a host's address, or ANYBODY
  int protocol;
  int firstPort;
  int lastPort;
};

const std::vector<Rule>& rulesOf(uint32_t policy) {
  static const std::vector<Rule> POLICIES[POLICY_COUNT] = {
      {
          {10, false, 11, 6, 8080, 8080},
          {10, true, 11, ANY_PROTOCOL, 0, 65'535},
          {10, true, 12, 17, 53, 53},
          {10, true, 12, 6, 5432, 5432},
          {11, false, ANYBODY, 6, 8080, 8080},
          {11, false, 10, 17, 0, 65'535},
          {11, true, 10, ANY_PROTOCOL, 0, 65'535},
          {11, true, 12, 17, 53, 53},
      },
      {},
      {
          {10, false, ANYBODY, ANY_PROTOCOL, 0, 65'535},
          {10, true, ANYBODY, ANY_PROTOCOL, 0, 65'535},
          {11, false, ANYBODY, ANY_PROTOCOL, 0, 65'535},
          {11, true, ANYBODY, ANY_PROTOCOL, 0, 65'535},
      },
      {
          {10, false, 13, 6, 8000, 8999},
          {10, true, 12, 6, 5432, 5432},
          {10, true, 12, 132, 36'412, 36'412},
          {11, false, 13, 6, 8080, 8080},
      },
  };
  return POLICIES[policy];
}

AddressBytes addressOf(int family, uint8_t last) {
  if (family == 4) return {10, 10, 0, last};
  const auto last6 = static_cast<uint8_t>((last / 10) << 4 | last % 10);
  return {0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last6};
}

int hostOf(const AddressBytes& address, int family) {
  for (const uint8_t host : HOSTS) {
    if (address == addressOf(family, host)) return host;
  }
  return ANYBODY;
}

bool ported(int protocol) { return protocol == 6 || protocol == 17 || protocol == 132; }

bool allowsOne(uint32_t policy, int pod, bool egress, int peer, const SlowFlow& flow) {
  return std::ranges::any_of(rulesOf(policy), [&](const Rule& rule) {
    if (rule.pod != pod || rule.egress != egress) return false;
    if (rule.peer != ANYBODY && rule.peer != peer) return false;
    if (rule.protocol == ANY_PROTOCOL) return true;
    if (rule.protocol != flow.protocol) return false;
    return flow.destinationPort >= rule.firstPort && flow.destinationPort <= rule.lastPort;
  });
}

constexpr uint32_t auditOf(uint32_t policy) { return (policy + 1) % POLICY_COUNT; }

constexpr uint32_t CLASSES = 1 + std::size(HOSTS);

// The cells of a pod's row.
std::vector<uint32_t> rowOf(BlobBuilder& builder, uint32_t policy, uint8_t pod, bool egress) {
  std::vector<uint32_t> cells;
  for (uint32_t column = 0; column < CLASSES; ++column) {
    const int peer = column == 0 ? ANYBODY : HOSTS[column - 1];
    std::vector<BlobBuilder::Ports> ports;
    for (const Rule& rule : rulesOf(policy)) {
      if (rule.pod != pod || rule.egress != egress) continue;
      if (rule.peer != ANYBODY && rule.peer != peer) continue;
      const auto first = static_cast<uint16_t>(rule.firstPort);
      const auto last = static_cast<uint16_t>(rule.lastPort);
      const bool any = rule.protocol == ANY_PROTOCOL;
      if (any || rule.protocol == 6) ports.push_back({ProtocolSlot::Tcp, first, last});
      if (any || rule.protocol == 17) ports.push_back({ProtocolSlot::Udp, first, last});
      if (any || rule.protocol == 132) ports.push_back({ProtocolSlot::Sctp, first, last});
      if (any) ports.push_back({ProtocolSlot::Other, 0, 0});
    }
    cells.push_back(builder.addPortSet(ports));
  }
  return cells;
}

Blob blobOf(uint32_t policy, bool isSwitch, bool audited) {
  BlobBuilder builder;
  const std::vector<uint8_t> pods =
      isSwitch ? std::vector<uint8_t>{POD_A, POD_B} : std::vector<uint8_t>{POD_A};
  std::vector<uint32_t> cells;
  uint32_t rows = 0;
  for (const uint32_t each : {policy, auditOf(policy)}) {
    if (each != policy && !audited) continue;
    for (const uint8_t pod : pods) {
      for (const bool egress : {false, true}) {
        const auto row = rowOf(builder, each, pod, egress);
        cells.insert(cells.end(), row.begin(), row.end());
      }
      if (each == policy) builder.addEndpoint({rows, rows + 1});
      if (each != policy) builder.addAuditRow({rows, rows + 1});
      rows += 2;
    }
  }
  builder.setCells(rows, CLASSES, cells);
  builder.setDefaultLeaf(builder.addLeaf({0, NONE, 0}));
  for (uint32_t host = 0; host < std::size(HOSTS); ++host) {
    const uint32_t endpoint = host < pods.size() ? host : NONE;
    const uint32_t leaf = builder.addLeaf({host + 1, endpoint, host + 1});
    const AddressBytes v4 = addressOf(4, HOSTS[host]);
    builder.mapV4({v4[0], v4[1], v4[2], v4[3]}, leaf);
    builder.mapV6(addressOf(6, HOSTS[host]), leaf);
  }
  return builder.build();
}

}  // namespace

World::World(bool isSwitch) : switch_(isSwitch), policies_(POLICY_COUNT) {
  for (uint32_t policy = 0; policy < POLICY_COUNT; ++policy) {
    Policy& made = policies_[policy];
    for (const bool audited : {false, true}) {
      made.blobs[audited] = blobOf(policy, isSwitch, audited);
      if (!TableView::open(made.blobs[audited].bytes(), &made.views[audited]).ok()) std::abort();
    }
  }
  for (uint32_t link = 0; link < links_.size(); ++link) {
    links_[link].linkId = link;
    links_[link].wire = !isSwitch;
    links_[link].hasMac = true;
    links_[link].mac = link == 0 || !isSwitch ? OnePod::POD_MAC : OnePod::PEER_MAC;
    const bool pod = link == 0 || (link == 1 && isSwitch);
    links_[link].role = pod ? LinkRole::Endpoint : LinkRole::Uplink;
    links_[link].routerAdvertisements = !isSwitch && !pod;
    // A wire's both sides know who is behind it, and whose its connections are.
    links_[link].endpointId = pod ? link : isSwitch ? NONE : 0;
    links_[link].owner = !isSwitch ? 1 : pod ? static_cast<uint16_t>(link + 1) : ConnTable::NOBODY;
  }
  if (isSwitch) links_[2].mac = {2, 0, 0, 0, 0, 0xfe};
}

uint32_t World::attachOwners(Filter& filter) const {
  const uint32_t pods = switch_ ? 2 : 1;
  for (uint32_t link = 0; link < pods; ++link) {
    if (filter.attachOwner(link) != links_[link].owner) std::abort();
  }
  return pods;
}

const LinkContext& World::link(uint32_t number) const {
  return links_[number == 0 || (number == 1 && switch_) ? number : 2];
}

TableInForce World::table(uint32_t policy, uint32_t generation, bool audited) const {
  TableInForce table;
  table.view = policies_[policy].views[audited];
  table.generation = generation;
  table.linkByEndpoint = switch_ ? std::vector<uint32_t>{0, 1} : std::vector<uint32_t>{0};
  table.endpointByLink = table.linkByEndpoint;
  return table;
}

int World::podOf(const AddressBytes& address, int family) const {
  const int host = hostOf(address, family);
  return host == POD_A || (host == POD_B && switch_) ? host : -1;
}

bool World::onePods(const SlowFlow& flow) const {
  return podOf(flow.source, flow.family) >= 0 || podOf(flow.destination, flow.family) >= 0;
}

DeniedBy World::deniedBy(uint32_t policy, const SlowFlow& flow) const {
  SlowFlow judged = flow;
  if (!ported(flow.protocol)) judged.destinationPort = 0;
  const int from = hostOf(flow.source, flow.family);
  const int to = hostOf(flow.destination, flow.family);
  const int sender = podOf(flow.source, flow.family);
  const int receiver = podOf(flow.destination, flow.family);
  DeniedBy denied = 0;
  if (sender >= 0 && !allowsOne(policy, sender, true, to, judged)) denied |= DENIED_BY_EGRESS;
  if (receiver >= 0 && !allowsOne(policy, receiver, false, from, judged)) {
    denied |= DENIED_BY_INGRESS;
  }
  return denied;
}

DeniedBy World::auditedBy(uint32_t policy, const SlowFlow& flow) const {
  return deniedBy(auditOf(policy), flow);
}

}  // namespace sluice::testing
