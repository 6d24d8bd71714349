// Target "packet": a sequence of frames with their links, times, offload headers and table swaps,
// through the filter. What passes must be allowed by rules read one by one, or belong to what such
// a packet has opened: a slow ledger of connections and fragments says so, from frames that a slow
// reader has read. A batch must be judged as its frames are one by one; and what a table audits is
// marked, and passes and stays as without it. No pod has more than its part of the table.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "native/packet/finish-offload.h"
#include "native/packet/steering.h"
#include "native/testing/fuzz/fuzz.h"
#include "native/testing/fuzz/packet-script.h"
#include "native/testing/fuzz/world.h"
#include "native/testing/one-pod.h"
#include "native/testing/slow-packet.h"
#include "native/worker/filter.h"
#include "native/worker/neighbour-proxy.h"

namespace sluice::testing {
namespace {

constexpr uint64_t SECOND = 1'000'000;
constexpr size_t BATCH_MAX = 16;

// A heap copy of exactly the bytes' length, so that a read past the end is found.
class Exact {
 public:
  explicit Exact(std::span<const uint8_t> bytes)
      : bytes_(new uint8_t[bytes.size()]), length_(bytes.size()) {
    if (!bytes.empty()) std::memcpy(bytes_.get(), bytes.data(), bytes.size());
  }
  [[nodiscard]] std::span<uint8_t> span() const { return {bytes_.get(), length_}; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t length_;
};

Frame frameOf(const PacketRecord& record, const Exact& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.span().data());
  frame.length = static_cast<uint32_t>(bytes.span().size());
  frame.offload = record.offload;
  frame.vlanTagged = record.vlanTagged;
  frame.truncated = record.truncated;
  return frame;
}

bool allZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

AddressBytes linkLocal(const MacAddress& mac) {
  return {0xfe,   0x80,   0,    0,    0,      0,      0,     0, static_cast<uint8_t>(mac[0] ^ 2),
          mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
}

bool groupV6(const AddressBytes& address) { return address[0] == 0xff; }

AddressBytes linkGroupOf(uint8_t last) {
  AddressBytes group = {0xff, 2};
  group[15] = last;
  return group;
}

AddressBytes solicitedGroupOf(const AddressBytes& target) {
  AddressBytes group = {0xff, 2};
  group[11] = 1;
  group[12] = 0xff;
  std::copy(target.begin() + 13, target.end(), group.begin() + 13);
  return group;
}

AddressBytes targetOf(std::span<const uint8_t> message) {
  AddressBytes target;
  std::copy_n(message.begin() + 8, target.size(), target.begin());
  return target;
}

// Whether something was noted no longer than that ago.
template <typename Map>
bool isFresh(const Map& times, const typename Map::key_type& what, uint64_t nowUs,
             uint64_t livesUs) {
  const auto found = times.find(what);
  return found != times.end() && nowUs - found->second < livesUs;
}

// Multicast, or the broadcast on this link.
bool isGroup(const AddressBytes& address, int family) {
  if (family == 6) return groupV6(address);
  return address[0] >> 4 == 14 || std::all_of(address.begin(), address.begin() + 4,
                                              [](uint8_t byte) { return byte == 255; });
}

// The first packets of the connections that a packet may belong to. Two ends may ask each other
// with one identifier: those are two connections, and a question is no part of the other's.
std::vector<SlowFlow> openersOf(const SlowFlow& flow, SlowRole role) {
  if (flow.query < 0) return {flow.reverse(), flow};
  return {role == SlowRole::Opens ? flow : flow.reverse()};
}

// The packet that an error quotes, as it was sent; nothing when it belongs to no connection.
std::optional<SlowFlow> quotedFlow(const SlowPacket& error, SlowRole* role) {
  if (error.l4.size() < 8) return std::nullopt;
  auto quoted = readSlowIp(std::span(error.l4).subspan(8), error.family, true);
  if (!quoted || quoted->later()) return std::nullopt;
  quoted->l4.resize(std::max<size_t>(quoted->l4.size(), 14));  // flags are not quoted always
  const auto flow = flowOf(*quoted, role);
  const bool belongs = flow && *role != SlowRole::Error && *role != SlowRole::Single;
  return belongs ? flow : std::nullopt;
}

SlowFlow slowFlowOf(const FlowKey& key) {
  return {key.family,          key.source, key.destination, key.protocol, key.sourcePort,
          key.destinationPort, -1};
}

// The table in force, and the time.
struct Moment {
  uint32_t policy = 0;
  bool audits = false;
  uint32_t generation = 0;
  uint64_t us = SECOND;
  uint64_t fragmentsEvicted = 0;
};

// A slow record of all that has passed.
class Ledger {
 public:
  Ledger(const World& world, bool loose, Established established)
      : world_(world), loose_(loose), keep_(established == Established::Keep) {}

  // Checks whether a frame may pass, and records what may follow from it.
  const char* admit(const PacketRecord& record, std::span<const uint8_t> bytes,
                    const LinkContext& from, const Moment& now);
  // Whether a frame that has been admitted is marked as it should be.
  const char* checkMark(std::span<const uint8_t> bytes, const LinkContext& from,
                        const Judgement& judgement, const Moment& now);
  // Who would deny a first packet, were what is audited enforced.
  [[nodiscard]] DeniedBy auditedBy(const SlowFlow& flow, const Moment& now) const {
    return now.audits ? world_.auditedBy(now.policy, flow) : DeniedBy{0};
  }
  // A connection that the filter says it has cut, named by a packet of it.
  void cut(std::span<const uint8_t> bytes);
  // Whatever the policy denies has been cut.
  void cutDenied(uint32_t policy) {
    std::erase_if(flows_, [&](const auto& each) { return !world_.allows(policy, each.first); });
  }

 private:
  struct Connection {
    uint64_t seenUs = 0;
    DeniedBy told = 0;  // what was said to be audited when a packet of it passed last
  };
  struct Datagram {
    std::vector<std::pair<size_t, size_t>> ranges;
    size_t end = SIZE_MAX;  // of the whole, once its last fragment was there
    uint64_t startedUs = 0;
    uint32_t generation = 0;        // in force when its first fragment passed
    uint64_t fragmentsEvicted = 0;  // by then
    std::vector<SlowFlow> by;       // first packets by which that may have passed
    [[nodiscard]] bool whole() const;
  };
  using DatagramName = std::tuple<int, AddressBytes, AddressBytes, uint32_t, int>;

  const char* admitArp(const SlowPacket& packet, std::span<const uint8_t> bytes,
                       const LinkContext& from) const;
  const char* admitError(const SlowPacket& packet, const LinkContext& from, const Moment& now);
  const char* admitFlow(const SlowPacket& packet, const SlowFlow& flow, SlowRole role,
                        const Moment& now, std::vector<SlowFlow>* by);
  const char* admitFragment(const SlowPacket& packet, const Moment& now, std::vector<SlowFlow> by);
  [[nodiscard]] bool exempt(const SlowPacket& packet, std::span<const uint8_t> bytes,
                            const LinkContext& from, const Moment& now) const;
  void heed(const SlowPacket& packet, const LinkContext& from, const Moment& now);
  [[nodiscard]] bool known(const SlowFlow& flow, const Moment& now) const;
  [[nodiscard]] int ownPod(const LinkContext& from) const {
    return from.role == LinkRole::Uplink ? -1 : from.endpointId == 0 ? POD_A : POD_B;
  }

  const World& world_;
  bool loose_;
  bool keep_;
  std::map<SlowFlow, Connection> flows_;  // by their first packet
  // Of each name all that a receiver may still have, the newest last: the filter has let go of the
  // others to make room, or since they were whole, and the receiver may have missed something.
  std::map<DatagramName, std::vector<Datagram>> datagrams_;
  std::map<std::tuple<bool, AddressBytes, AddressBytes>, uint64_t> asked_;  // by the pod, who, whom
  std::map<AddressBytes, uint64_t> neighbours_;                             // of the network
};

bool Ledger::Datagram::whole() const {
  auto sorted = ranges;
  std::ranges::sort(sorted);
  size_t at = 0;
  for (const auto& [start, stop] : sorted) {
    if (start != at) return false;
    at = stop;
  }
  return at == end;
}

bool Ledger::known(const SlowFlow& flow, const Moment& now) const {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return false;
  const uint64_t livesUs = flow.protocol == 6                             ? 432'000 * SECOND
                           : flow.protocol == 17                          ? 120 * SECOND
                           : flow.protocol == (flow.family == 4 ? 1 : 58) ? 30 * SECOND
                                                                          : 600 * SECOND;
  return now.us - found->second.seenUs <= livesUs && (keep_ || world_.allows(now.policy, flow));
}

void Ledger::cut(std::span<const uint8_t> bytes) {
  const auto packet = readSlowly(bytes);
  SlowRole role;
  if (!packet || packet->arp || packet->later()) return;
  const auto flow = flowOf(*packet, &role);
  if (!flow || role == SlowRole::Error) return;
  for (const SlowFlow& opener : openersOf(*flow, role)) flows_.erase(opener);
}

const char* Ledger::admitArp(const SlowPacket& packet, std::span<const uint8_t> bytes,
                             const LinkContext& from) const {
  const std::span<const uint8_t> arp(packet.l4);
  const bool probe = arp[7] == 1 && allZero({packet.source.data(), 4});
  const AddressBytes& claimed = probe ? packet.destination : packet.source;
  if (bytes.size() > 64) return "ARP carries data";
  const std::vector<uint8_t> everybody(6, 0xff);
  const auto receiver = bytes.first(6);
  const auto named = arp.subspan(18, 6);
  if ((receiver[0] & 1) != 0 && !std::ranges::equal(receiver, everybody)) return "ARP to a group";
  const bool tellsNothing = allZero(named) || std::ranges::equal(named, everybody) ||
                            std::ranges::equal(named, receiver) ||
                            std::ranges::equal(named, arp.subspan(8, 6));
  if (!tellsNothing) return "ARP names a MAC that nobody asked about";
  if (from.role == LinkRole::Endpoint) {
    if (world_.podOf(claimed, 4) != ownPod(from)) return "a pod claims another's address by ARP";
    if (!std::ranges::equal(arp.subspan(8, 6), from.mac)) return "a pod claims another's MAC";
  } else if (!probe && world_.podOf(packet.source, 4) >= 0) {
    return "the network claims a pod's address by ARP";
  }
  return nullptr;
}

// Whether the first `fixed` bytes of a message are followed by nothing, or by one option of eight
// bytes.
bool hasOneOption(std::span<const uint8_t> message, size_t fixed, int type) {
  if (message.size() == fixed) return true;
  return message.size() == fixed + 8 && message[fixed] == type && message[fixed + 1] == 1;
}

// Whether the options of a router advertisement are known, each of a size that it comes in.
bool hasRoutersOptions(std::span<const uint8_t> options) {
  std::map<int, int> seen;
  while (!options.empty()) {
    if (options.size() < 2 || options[1] == 0 || options.size() < options[1] * 8u) return false;
    const int type = options[0];
    const int words = options[1];
    const bool single = type == 1 || type == 5 || type == 7 || type == 26;
    if (single && (words != 1 || ++seen[type] > 1)) return false;
    const bool sized = single || (type == 3 && words == 4) || (type == 24 && words <= 3) ||
                       (type == 25 && words > 1 && words % 2 == 1) ||
                       (type == 31 && words > 1 && words <= 16) || (type == 38 && words == 2);
    if (!sized) return false;
    options = options.subspan(words * 8u);
  }
  return true;
}

// Whether a listener message has no bytes but those of its groups and sources, and few of them.
bool isListenerMessage(std::span<const uint8_t> message, const AddressBytes& destination) {
  const auto at = [&message](size_t place) { return message[place] << 8 | message[place + 1]; };
  const uint8_t type = message[0];
  if (message.size() < 8 || message[1] != 0) return false;
  if (type == 143) {
    if (destination != linkGroupOf(0x16) || at(4) != 0 || at(6) > 32) return false;
    size_t place = 8;
    int sources = 0;
    for (int record = 0; record < at(6); ++record) {
      if (message.size() < place + 20) return false;
      if (message[place] < 1 || message[place] > 6 || message[place + 1] != 0) return false;
      if (message[place + 4] != 0xff) return false;
      sources += at(place + 2);
      place += 20 + 16u * static_cast<size_t>(at(place + 2));
    }
    return sources <= 16 && place == message.size();
  }
  if (message.size() < 24 || at(6) != 0) return false;
  AddressBytes group;
  std::copy_n(message.begin() + 8, 16, group.begin());
  if (type == 130) {
    const AddressBytes to = allZero(group) ? linkGroupOf(1) : group;
    if (!groupV6(destination) || destination != to) return false;
    if (message.size() == 24) return true;
    return message.size() >= 28 && at(26) <= 16 &&
           message.size() == 28 + 16u * static_cast<size_t>(at(26));
  }
  return message.size() == 24 && at(4) == 0 && groupV6(group) &&
         destination == (type == 131 ? group : linkGroupOf(2));
}

// Neighbour discovery and multicast listener messages, which no policy is asked about: on this link
// only, with nothing in them that could be data, and to one host only where something has led to
// it.
bool Ledger::exempt(const SlowPacket& packet, std::span<const uint8_t> bytes,
                    const LinkContext& from, const Moment& now) const {
  if (packet.family != 6 || packet.protocol != 58 || packet.l4.empty() || packet.fragmentHeader) {
    return false;
  }
  const std::span<const uint8_t> message(packet.l4);
  const bool fromPod = from.role == LinkRole::Endpoint;
  const AddressBytes& to = packet.destination;
  const bool group = groupV6(to);
  if (bytes.size() > std::max<size_t>(packet.l4Offset + message.size(), 64)) return false;
  if (fromPod && (bytes[14] != 0x60 || !allZero(bytes.subspan(15, 3)))) return false;
  const bool groupMac = bytes[0] == 0x33 && bytes[1] == 0x33 &&
                        std::equal(bytes.begin() + 2, bytes.begin() + 6, to.begin() + 12);
  if (fromPod && (group ? !groupMac : (bytes[0] & 1) != 0)) return false;

  const uint8_t type = message[0];
  const bool near = packet.source[0] == 0xfe && packet.source[1] >> 6 == 2;
  if ((type >= 130 && type <= 132) || type == 143) {
    if (packet.extensions) {
      const std::vector<uint8_t> header(bytes.begin() + 54, bytes.begin() + 62);
      const bool alert = header == std::vector<uint8_t>{58, 0, 5, 2, 0, 0, 1, 0} ||
                         header == std::vector<uint8_t>{58, 0, 1, 0, 5, 2, 0, 0};
      if (bytes[20] != 0 || packet.l4Offset != 62 || !alert) return false;
    }
    return (near || allZero(packet.source)) && packet.hopLimit == 1 && !(fromPod && type == 130) &&
           isListenerMessage(message, to);
  }
  if (packet.hopLimit != 255 || packet.extensions || message.size() < 8) return false;
  const bool here = world_.podOf(to, 6) >= 0 || (from.wire && to == linkLocal(from.mac));
  if (!fromPod && !group && !here) return false;
  if (type == 134) {
    return !fromPod && (!from.wire || from.routerAdvertisements) && near && message.size() >= 16 &&
           message.size() <= 512 && (!group || to == linkGroupOf(1)) &&
           hasRoutersOptions(message.subspan(16));
  }
  const uint8_t flags = type == 136 ? 0xe0 : 0;
  if ((message[4] & ~flags) != 0 || !allZero(message.subspan(5, 3))) return false;
  if (type == 133) {
    return fromPod && to == linkGroupOf(2) && hasOneOption(message, 8, 1);
  }
  if ((type != 135 && type != 136) || message.size() < 24) return false;
  const AddressBytes target = targetOf(message);
  if (type == 135) {
    if (!hasOneOption(message, 24, allZero(packet.source) ? 14 : 1)) return false;
    if (group) return to == solicitedGroupOf(target);
    const bool known = to[0] == 0xfe && to[1] >> 6 == 2;
    return to == target &&
           (!fromPod || !from.wire || known || isFresh(neighbours_, to, now.us, 3'600 * SECOND));
  }
  if (!hasOneOption(message, 24, 2)) return false;
  if (group) return to == linkGroupOf(1);
  return !from.wire || isFresh(asked_, std::tuple(!fromPod, to, target), now.us, 5 * SECOND);
}

// What follows from a neighbour message that may have passed unjudged.
void Ledger::heed(const SlowPacket& packet, const LinkContext& from, const Moment& now) {
  const uint8_t type = packet.l4[0];
  if (type != 135 && type != 136) return;
  const bool fromPod = from.role == LinkRole::Endpoint;
  const AddressBytes target = targetOf(packet.l4);
  if (type == 135 && !allZero(packet.source)) {
    asked_[{fromPod, packet.source, target}] = now.us;
    if (!fromPod) neighbours_[packet.source] = now.us;
  }
  if (type == 136 && !fromPod) neighbours_[target] = now.us;
}

const char* Ledger::admitError(const SlowPacket& packet, const LinkContext& from,
                               const Moment& now) {
  const uint8_t type = packet.l4[0];
  const bool fate =
      packet.family == 4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
  if (!fate) return "an error that steers its receiver";
  SlowRole role;
  const auto flow = quotedFlow(packet, &role);
  if (!flow) return "an error about none";
  if (flow->source != packet.destination) return "an error to somebody who sent nothing";
  const auto openers = openersOf(*flow, role);
  if (std::ranges::none_of(openers, [&](const SlowFlow& opener) { return known(opener, now); })) {
    return "an error about an unknown connection";
  }
  const int reportedBy = world_.podOf(flow->destination, flow->family);
  if (reportedBy != ownPod(from)) return "an error by somebody whom the packet did not go to";
  return nullptr;
}

const char* Ledger::admitFlow(const SlowPacket& packet, const SlowFlow& flow, SlowRole role,
                              const Moment& now, std::vector<SlowFlow>* by) {
  const bool group = isGroup(packet.destination, packet.family);
  const bool allowed = world_.allows(now.policy, flow);
  if (role == SlowRole::Single) {
    *by = {flow};
    return allowed ? nullptr : "no rule allows this message";
  }
  const bool pureAck = packet.protocol == 6 && (packet.l4[13] & 0x17) == 0x10;
  const bool mayOpen = role == SlowRole::Opens || (loose_ && pureAck);
  bool belongs = false;
  for (const SlowFlow& opener : openersOf(flow, role)) {
    if (!known(opener, now)) continue;
    flows_[opener].seenUs = now.us;
    by->push_back(opener);
    belongs = true;
  }
  // What could open a connection of its own may have done so.
  if (belongs && !(mayOpen && allowed)) return nullptr;
  if (!mayOpen) return "it belongs to no connection";
  if (!allowed) return "no rule allows it";
  by->push_back(flow);
  // Who answers a group does so from an address of its own.
  if (!group) flows_[flow].seenUs = now.us;
  return nullptr;
}

const char* Ledger::admitFragment(const SlowPacket& packet, const Moment& now,
                                  std::vector<SlowFlow> by) {
  const DatagramName name = {packet.family, packet.source, packet.destination, packet.id,
                             packet.family == 4 ? packet.protocol : 0};
  const uint64_t livesUs = (packet.family == 4 ? 34 : 68) * SECOND;
  std::vector<Datagram>& held = datagrams_[name];
  std::erase_if(held, [&](const Datagram& each) { return now.us - each.startedUs >= livesUs; });
  const bool running = !held.empty() && !held.back().whole();
  if (packet.later() && !running) return "a fragment without its first one";
  if (!packet.later()) {
    if (running && held.back().fragmentsEvicted == now.fragmentsEvicted) {
      return "a first fragment for the second time";
    }
    held.push_back({{}, SIZE_MAX, now.us, now.generation, now.fragmentsEvicted, std::move(by)});
  }
  // Errors are by nobody: which connection they were about is not known any more.
  const bool denied = std::ranges::any_of(held, [&](const Datagram& each) {
    return each.generation != now.generation &&
           std::ranges::none_of(
               each.by, [&](const SlowFlow& flow) { return world_.allows(now.policy, flow); });
  });
  if (!keep_ && denied) return "a fragment of what may be a datagram that is denied now";
  Datagram& datagram = held.back();
  const size_t start = packet.offset;
  const size_t stop = start + packet.l4.size();
  for (const auto& [first, last] : datagram.ranges) {
    if (start < last && first < stop) return "a fragment that overlaps another";
  }
  if (stop > datagram.end) return "a fragment behind the last one";
  // IPv6 counts neither its own header nor the fragment header, which the datagram does not have.
  const size_t uncounted = packet.family == 4 ? 0 : 40 + 8;
  if (stop + packet.l4Offset - 14 > 65'535 + uncounted) return "a datagram that is too long";
  datagram.ranges.emplace_back(start, stop);
  if (!packet.more) datagram.end = stop;
  return nullptr;
}

const char* Ledger::admit(const PacketRecord& record, std::span<const uint8_t> bytes,
                          const LinkContext& from, const Moment& now) {
  if (record.truncated || record.vlanTagged) return "a frame that is not whole";
  const auto packet = readSlowly(bytes);
  if (!packet) return "a frame that contradicts itself";
  const std::span<const uint8_t> sourceMac = bytes.subspan(6, 6);
  if (from.role == LinkRole::Endpoint && !std::ranges::equal(sourceMac, from.mac)) {
    return "a pod sends from another's MAC";
  }
  if (packet->arp) return admitArp(*packet, bytes, from);
  if (packet->hopLimit == 0) return "a packet whose way has ended";
  if (packet->family == 6 && packet->protocol == 58 && !packet->later() && !packet->l4.empty() &&
      packet->l4[0] == 137) {
    return "a redirect";
  }

  const bool exempted = exempt(*packet, bytes, from, now);
  const int sender = world_.podOf(packet->source, packet->family);
  if (from.role == LinkRole::Endpoint) {
    const bool unnamed =
        exempted && (allZero(packet->source) || packet->source == linkLocal(from.mac));
    if (sender != ownPod(from) && !unnamed) return "a pod sends from another's address";
  } else {
    if (sender >= 0) return "the network sends from a pod's address";
    const bool loopback = packet->family == 4 ? packet->source[0] == 127 : false;
    if (loopback || (packet->family == 4 && packet->source[0] == 0)) return "a martian source";
  }
  if (exempted) heed(*packet, from, now);
  if (exempted) return nullptr;
  if (packet->source == packet->destination && sender >= 0) return "a pod's packet to itself";

  if (packet->later()) return admitFragment(*packet, now, {});
  SlowRole role;
  std::vector<SlowFlow> by;
  const auto flow = flowOf(*packet, &role);
  if (!flow) return "a packet without its layer-4 header";
  const char* objection = role == SlowRole::Error ? admitError(*packet, from, now)
                                                  : admitFlow(*packet, *flow, role, now, &by);
  if (objection == nullptr && packet->fragment()) {
    objection = admitFragment(*packet, now, std::move(by));
  }
  return objection;
}

const char* Ledger::checkMark(std::span<const uint8_t> bytes, const LinkContext& from,
                              const Judgement& judgement, const Moment& now) {
  const DeniedBy marked = judgement.auditedBy;
  const auto packet = readSlowly(bytes);
  // Not all that may pass unasked does: the filter asks about some of it.
  if (marked == 0 && exempt(*packet, bytes, from, now)) return nullptr;
  if (packet->arp || packet->later()) {
    return marked == 0 ? nullptr : "marked, and no policy is asked about it";
  }
  SlowRole role;
  auto flow = flowOf(*packet, &role);
  if (judgement.opened || role == SlowRole::Single ||
      isGroup(packet->destination, packet->family)) {
    if (marked != auditedBy(*flow, now)) return "a first packet's mark is not what is audited";
    if (judgement.opened) flows_[*flow].told = marked;
    return nullptr;
  }
  if (marked != 0 && auditedBy(slowFlowOf(judgement.key), now) != marked) {
    return "a connection's mark is not what is audited";
  }
  if (keep_) return marked == 0 ? nullptr : "marked, and no table is asked about what is kept";
  if (role == SlowRole::Error) flow = quotedFlow(*packet, &role);
  auto openers = openersOf(*flow, role);
  std::erase_if(openers, [&](const SlowFlow& opener) { return !flows_.contains(opener); });
  const bool untold = openers.size() == 1 && flows_[openers[0]].told != auditedBy(openers[0], now);
  if (untold && marked != auditedBy(openers[0], now)) return "a connection that is audited now";
  for (const SlowFlow& opener : openers) flows_[opener].told = auditedBy(opener, now);
  return nullptr;
}

bool sameVerdict(const Judgement& one, const Judgement& other) {
  return one.reason == other.reason && one.exempt == other.exempt &&
         one.deniedBy == other.deniedBy && one.opened == other.opened && one.cut == other.cut &&
         one.rejectable == other.rejectable && one.destinationEndpoint == other.destinationEndpoint;
}

// Places of a table that is soon full: two for each pod of a switch.
constexpr size_t SMALL_TABLE = 4;

// Whether a connection that is listed is one that may not give way: TCP between a handshake and an
// end, or UDP that was answered and goes on, which alone lives for longer than half a minute.
bool isAssured(const ConnectionRecord& record) {
  if (record.assured == 0) return false;
  if (record.protocol == 6) return static_cast<ConnState>(record.state) == ConnState::Established;
  return record.protocol == 17 && record.expiresInMs > 30'000;
}

// One run of the target.
class Session {
 public:
  Session(const World& world, const PacketScript& script);
  void run(const PacketScript& script);

 private:
  void judge(const PacketRecord& record);
  void finishOffload(const PacketRecord& record, const Exact& bytes);
  void answerNeighbour(const Frame& frame, const LinkContext& from);
  void flush();
  void settle();
  void maintain();
  void swap(uint32_t policy, bool audits);
  using Listed = std::array<ConnectionRecord, SMALL_TABLE>;
  [[nodiscard]] size_t listSmall(Listed& records) const;
  void checkParts(std::span<const ConnectionRecord> before, const Judgement& judgement) const;

  struct Waiting {
    Exact bytes;
    Frame frame;
    Judgement judgement;
  };
  const World& world_;
  std::unique_ptr<Filter> alone_;
  std::unique_ptr<Filter> together_;
  std::unique_ptr<Filter> unaudited_;  // where a table audits: by tables that do not
  Established established_;
  bool small_;
  uint32_t pods_ = 0;
  Ledger ledger_;
  TableInForce table_;
  TableInForce tableUnaudited_;
  Moment now_;
  std::vector<Waiting> waiting_;
  const LinkContext* waitingFrom_ = nullptr;
};

Session::Session(const World& world, const PacketScript& script)
    : world_(world),
      established_(script.established),
      small_(script.small),
      ledger_(world, script.loose, script.established) {
  FilterOptions options;
  options.connectionsMax = script.small ? SMALL_TABLE : 64;
  options.fragmentsMax = script.small ? 2 : 8;
  options.loose = script.loose;
  options.established = script.established;
  const bool audits = script.audited || std::ranges::any_of(script.records, &PacketRecord::audited);
  if (!Filter::create(options, &alone_).ok() || !Filter::create(options, &together_).ok() ||
      (audits && !Filter::create(options, &unaudited_).ok())) {
    std::abort();
  }
  for (const auto& filter : {alone_.get(), together_.get(), unaudited_.get()}) {
    if (filter != nullptr) pods_ = world.attachOwners(*filter);
  }
  swap(script.policy, script.audited);
}

void Session::swap(uint32_t policy, bool audits) {
  now_.policy = policy;
  now_.audits = audits;
  ++now_.generation;
  table_ = world_.table(policy, now_.generation, audits);
  tableUnaudited_ = world_.table(policy, now_.generation);
}

size_t Session::listSmall(Listed& records) const {
  uint32_t place = 0;
  return small_ ? alone_->list(now_.us, SMALL_TABLE, records, &place) : 0;
}

// No pod has more than its part of the table, and what was assured is still there, unless the table
// in force denies it.
void Session::checkParts(std::span<const ConnectionRecord> before,
                         const Judgement& judgement) const {
  for (uint16_t owner = 1; owner <= pods_; ++owner) {
    HOLDS(alone_->useOf(owner).connections <= alone_->quota(), "a pod keeps to its part");
  }
  Listed after;
  const auto left = std::span(after).first(listSmall(after));
  for (const ConnectionRecord& each : before) {
    if (!isAssured(each)) continue;
    const bool wasCut = judgement.cut && std::ranges::equal(judgement.key.source, each.source) &&
                        std::ranges::equal(judgement.key.destination, each.destination) &&
                        judgement.key.sourcePort == each.sourcePort &&
                        judgement.key.destinationPort == each.destinationPort;
    const bool isThere = std::ranges::any_of(left, [&](const ConnectionRecord& other) {
      return std::ranges::equal(other.key, each.key);
    });
    HOLDS(isThere || wasCut, "an assured connection gives way to nobody");
  }
}

void Session::judge(const PacketRecord& record) {
  const LinkContext& from = world_.link(record.link);
  if (&from != waitingFrom_ || waiting_.size() == BATCH_MAX) flush();
  waitingFrom_ = &from;
  waiting_.push_back({Exact(record.bytes), {}, {}});
  Waiting& entry = waiting_.back();
  entry.frame = frameOf(record, entry.bytes);
  const Steering steering{3, 0x9e3779b1};
  HOLDS(steering.workerOf(entry.frame, 1) < 3, "a worker that there is not");
  const uint32_t before = alone_->connectionCount();
  Listed listed;
  const auto were = std::span(listed).first(listSmall(listed));
  entry.judgement = alone_->judge(entry.frame, from, table_, now_.us);
  now_.fragmentsEvicted = alone_->fragmentsEvicted();
  checkParts(were, entry.judgement);
  Judgement judgement = entry.judgement;
  if (FUZZ_CANARY && judgement.reason == DropReason::PolicyIngress &&
      judgement.key.protocol == 17 && judgement.key.destinationPort < 53) {
    judgement.reason = DropReason::None;
  }
  HOLDS(std::ranges::equal(entry.bytes.span(), record.bytes), "judging changes no byte");
  if (unaudited_ != nullptr) {
    const Judgement other = unaudited_->judge(entry.frame, from, tableUnaudited_, now_.us);
    HOLDS(other.auditedBy == 0 && sameVerdict(other, entry.judgement),
          "what is audited changes no verdict");
  }
  if (judgement.cut) ledger_.cut(record.bytes);
  if (!judgement.passes()) {
    HOLDS(!judgement.opened && alone_->connectionCount() <= before,
          "a dropped frame opens nothing");
    return;
  }
  const char* objection = ledger_.admit(record, record.bytes, from, now_);
  if (objection == nullptr) objection = ledger_.checkMark(record.bytes, from, judgement, now_);
  HOLDS(objection == nullptr, objection);
  finishOffload(record, entry.bytes);
  answerNeighbour(entry.frame, from);
}

// What goes out once checksums and superframes are finished is what was judged.
void Session::finishOffload(const PacketRecord& record, const Exact& bytes) {
  const auto before = readSlowly(record.bytes);
  const Exact copy(bytes.span());
  Frame frame = frameOf(record, copy);
  const auto sameFlow = [&](std::span<const uint8_t> out) {
    const auto after = readSlowly(out);
    SlowRole role;
    return after && after->protocol == before->protocol &&
           (after->later() || flowOf(*after, &role) == flowOf(*before, &role));
  };
  if (frame.offload.gsoType == 0) {
    if (completeChecksum(&frame)) {
      HOLDS(before->arp || sameFlow(copy.span()), "a checksum changes what was judged");
    }
    return;
  }
  static std::vector<std::byte> scratch(2 * 65'536);
  Segmenter segmenter(scratch);
  if (!segmenter.start(frame)) return;
  size_t payload = 0;
  const size_t header =
      before->l4Offset + (before->protocol == 6 ? (before->l4[12] >> 4) * 4u : 8u);
  for (Frame segment;;) {
    const Segmenter::Step step = segmenter.next(&segment);
    if (step == Segmenter::Step::Done) break;
    if (step == Segmenter::Step::NoRoom) {
      segmenter.reuse();
      continue;
    }
    const std::span<const uint8_t> out(reinterpret_cast<const uint8_t*>(segment.bytes),
                                       segment.length);
    HOLDS(sameFlow(out), "a segment of another flow");
    HOLDS(transportChecksumFits(*readSlowly(out)), "a segment with a wrong checksum");
    HOLDS(out.size() <= header + frame.offload.gsoSize, "a segment that is too long");
    payload += out.size() - header;
  }
  HOLDS(payload == record.bytes.size() - header, "segments have all bytes, once");
}

void Session::answerNeighbour(const Frame& frame, const LinkContext& from) {
  NeighbourQuestion question;
  if (!world_.isSwitch() || !readNeighbourQuestion(frame, &question)) return;
  std::vector<std::byte> place(NEIGHBOUR_REPLY_BYTES_MAX);
  Frame answer;
  writeNeighbourAnswer(frame, question, from.mac, place, &answer);
  const auto read = readSlowly({reinterpret_cast<const uint8_t*>(answer.bytes), answer.length});
  HOLDS(read && read->source == question.target, "an answer about what was asked for");
}

void Session::flush() {
  if (waiting_.empty()) return;
  std::vector<Frame> frames;
  for (const Waiting& each : waiting_) frames.push_back(each.frame);
  std::vector<Judgement> judgements(frames.size());
  together_->judgeBatch(frames, *waitingFrom_, table_, now_.us, judgements.data());
  for (size_t at = 0; at < frames.size(); ++at) {
    const Judgement& one = waiting_[at].judgement;
    HOLDS(sameVerdict(judgements[at], one) && judgements[at].auditedBy == one.auditedBy,
          "a batch is judged as its frames are");
  }
  waiting_.clear();
  settle();
}

// What the worker does after each batch, and when there is none.
void Session::settle() {
  for (const auto& filter : {alone_.get(), together_.get(), unaudited_.get()}) {
    if (filter == nullptr) continue;
    const TableInForce& table = filter == unaudited_.get() ? tableUnaudited_ : table_;
    while (filter->sweep(table, now_.us)) {
      HOLDS(established_ == Established::Cut, "only what is to be cut is swept");
    }
    for (const CutConn& cut : filter->cut()) {
      const DeniedBy denied = world_.deniedBy(now_.policy, slowFlowOf(cut.key));
      HOLDS(denied != 0 && cut.deniedBy == denied, "only what rules deny is cut");
    }
    HOLDS(filter->cut().size() == alone_->cut().size() || filter == alone_.get(),
          "the same is cut");
    HOLDS(filter->connectionCount() == alone_->connectionCount(), "and the same is left behind");
  }
  for (const auto& filter : {alone_.get(), together_.get(), unaudited_.get()}) {
    if (filter != nullptr) filter->forgetCut();
  }
  if (established_ == Established::Cut) ledger_.cutDenied(now_.policy);
}

// What the worker does between batches.
void Session::maintain() {
  for (const auto& filter : {alone_.get(), together_.get(), unaudited_.get()}) {
    if (filter == nullptr) continue;
    filter->expire(now_.us, 16);
    filter->forgetClosed();
  }
  settle();
  std::vector<ConnectionRecord> records(64);
  uint32_t place = 0;
  records.resize(alone_->list(now_.us, 64, records, &place));
  HOLDS(records.size() <= alone_->connectionCount(),
        "no more connections are listed than there are");
  HOLDS(alone_->connectionCount() <= alone_->connectionsMax(), "connections have a bound");
  if (established_ == Established::Keep) return;
  for (const ConnectionRecord& record : records) {
    const bool judged = record.generation == now_.generation;
    HOLDS(judged || established_ != Established::Cut, "a sweep judges every connection");
    if (!judged) continue;
    SlowFlow flow{record.family,         {}, {}, record.protocol, record.sourcePort,
                  record.destinationPort};
    std::ranges::copy(record.source, flow.source.begin());
    std::ranges::copy(record.destination, flow.destination.begin());
    HOLDS(world_.allows(now_.policy, flow), "what rules deny is no connection");
    HOLDS(record.auditedBy == ledger_.auditedBy(flow, now_), "a connection knows what is audited");
  }
}

void Session::run(const PacketScript& script) {
  for (const PacketRecord& record : script.records) {
    switch (record.kind) {
      case PacketRecord::Kind::Frame:
        judge(record);
        break;
      case PacketRecord::Kind::Time:
        flush();
        now_.us += record.pauseUs();
        settle();
        break;
      case PacketRecord::Kind::Swap:
        flush();
        swap(record.policy, record.audited);
        break;
      case PacketRecord::Kind::Maintain:
        flush();
        maintain();
        break;
    }
  }
  flush();
  maintain();
}

}  // namespace

void fuzzPacket(std::span<const uint8_t> input) {
  static const World WIRE(false);
  static const World SWITCH(true);
  const PacketScript script = readPacketScript(input);
  const World& world = script.isSwitch ? SWITCH : WIRE;
  Session(world, script).run(script);
}

}  // namespace sluice::testing
