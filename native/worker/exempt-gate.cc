#include "native/worker/exempt-gate.h"

#include <algorithm>
#include <new>

#include "native/conntrack/siphash.h"
#include "native/packet/neighbor.h"

namespace sluice {
namespace {

constexpr uint64_t SECOND = 1'000'000;
// A solicitation is answered at once, by a proxy or an anycast host within a second.
constexpr uint64_t ANSWER_US = 5 * SECOND;
// A forgotten neighbour is solicited by multicast again.
constexpr uint64_t NEIGHBOR_US = 3'600 * SECOND;

constexpr uint32_t ARP_BYTES = 28;

AddressBytes targetOf(const PacketView& view) {
  AddressBytes target;
  std::copy_n(view.l4() + 8, target.size(), target.begin());
  return target;
}

// How many bytes of a pod's message its sender may choose: the address that it asks for, a nonce,
// the groups of a report. Even a message without such bytes can carry information: by its presence,
// and by a checksum that nobody verifies.
uint32_t chosenBytes(ExemptKind kind, const PacketView& view) {
  constexpr uint32_t LEAST = 2;
  if (kind == ExemptKind::Arp) return 4;
  if (kind == ExemptKind::Listener) return view.l4Bytes;
  if (view.icmpType != ICMPV6_NEIGHBOR_SOLICITATION) return LEAST;
  if (view.key.destination[0] != 0xff) return LEAST;
  return isUnspecified(view.key.source) ? 8 : 16;
}

}  // namespace

Status ExemptGate::create(const std::array<uint64_t, 2>& secret,
                          std::unique_ptr<ExemptGate>* gate) noexcept {
  std::unique_ptr<ExemptGate> made(new (std::nothrow) ExemptGate(secret));
  if (made == nullptr) return {StatusCode::Limit};
  // The kernel allocates the pages with the first entry of a wire.
  made->entries_.reset(
      static_cast<Entry*>(std::calloc(ZONES * FACTS * SETS * WAYS, sizeof(Entry))));
  if (made->entries_ == nullptr) return {StatusCode::Limit};
  *gate = std::move(made);
  return {};
}

ExemptGate::Passage ExemptGate::admit(ExemptKind kind, const PacketView& view,
                                      const LinkContext& from, uint64_t nowUs) noexcept {
  const bool neighbor = kind == ExemptKind::Neighbor;
  if (neighbor && !isPlaced(view, from, nowUs)) return Passage::Unasked;
  const bool fromPod = from.role == LinkRole::Endpoint;
  const uint32_t bytes = fromPod                   ? chosenBytes(kind, view)
                         : kind == ExemptKind::Arp ? ARP_BYTES
                                                   : view.l4Bytes;
  if (!take(bytes, from, nowUs)) return Passage::Spent;
  if (neighbor) remember(view, from, nowUs);
  return Passage::Open;
}

// Whether a neighbour message to one host has a reason to go there. A router would forward it to a
// remote host. A message that arrives with a hop limit of 255 comes from the link, so no remote
// host can have caused it.
bool ExemptGate::isPlaced(const PacketView& view, const LinkContext& from,
                          uint64_t nowUs) const noexcept {
  const AddressBytes& destination = view.key.destination;
  if (destination[0] == 0xff) return true;
  const bool fromPod = from.role == LinkRole::Endpoint;
  if (view.icmpType == ICMPV6_NEIGHBOR_ADVERTISEMENT) {
    const Fact asked = fromPod ? Fact::NetworkAsks : Fact::PodAsks;
    return holds(asked, from.zone, destination, targetOf(view), nowUs);
  }
  // A solicitation from the network goes to the pod; the guard has checked that.
  return !fromPod || isLinkLocal(destination) ||
         holds(Fact::NetworkNeighbor, from.zone, destination, destination, nowUs);
}

bool ExemptGate::take(uint32_t bytes, const LinkContext& from, uint64_t nowUs) noexcept {
  const bool fromPod = from.role == LinkRole::Endpoint;
  const uint64_t perSecond =
      fromPod ? EXEMPT_POD_BYTES_PER_SECOND : EXEMPT_NETWORK_BYTES_PER_SECOND;
  const uint64_t atOnce = fromPod ? EXEMPT_POD_BYTES_AT_ONCE : EXEMPT_NETWORK_BYTES_AT_ONCE;
  uint64_t& evenAtUs = evenAtUs_[from.linkId];
  const uint64_t evenThen = std::max(evenAtUs, nowUs) + bytes * SECOND / perSecond;
  if (evenThen - nowUs > atOnce * SECOND / perSecond) return false;
  evenAtUs = evenThen;
  return true;
}

void ExemptGate::remember(const PacketView& view, const LinkContext& from,
                          uint64_t nowUs) noexcept {
  const bool fromPod = from.role == LinkRole::Endpoint;
  const AddressBytes& source = view.key.source;
  if (view.icmpType == ICMPV6_NEIGHBOR_SOLICITATION && !isUnspecified(source)) {
    note(fromPod ? Fact::PodAsks : Fact::NetworkAsks, from.zone, source, targetOf(view),
         nowUs + ANSWER_US);
    if (!fromPod) note(Fact::NetworkNeighbor, from.zone, source, source, nowUs + NEIGHBOR_US);
  }
  if (view.icmpType == ICMPV6_NEIGHBOR_ADVERTISEMENT && !fromPod) {
    const AddressBytes target = targetOf(view);
    note(Fact::NetworkNeighbor, from.zone, target, target, nowUs + NEIGHBOR_US);
  }
}

uint64_t ExemptGate::nameOf(Fact fact, uint8_t zone, const AddressBytes& who,
                            const AddressBytes& whom) const noexcept {
  const std::array<uint64_t, 5> words = {
      loadWord(who.data()), loadWord(who.data() + 8), loadWord(whom.data()),
      loadWord(whom.data() + 8), static_cast<uint64_t>(zone) << 8 | static_cast<uint8_t>(fact)};
  return sipHash13(words, secret_);
}

ExemptGate::Entry* ExemptGate::setOf(Fact fact, uint8_t zone, uint64_t name) const noexcept {
  const size_t part = zone * FACTS + static_cast<size_t>(fact);
  return &entries_[(part * SETS + name % SETS) * WAYS];
}

bool ExemptGate::holds(Fact fact, uint8_t zone, const AddressBytes& who, const AddressBytes& whom,
                       uint64_t nowUs) const noexcept {
  const uint64_t name = nameOf(fact, zone, who, whom);
  const Entry* const set = setOf(fact, zone, name);
  return std::any_of(set, set + WAYS, [&](const Entry& entry) {
    return entry.name == name && entry.untilUs > nowUs;
  });
}

void ExemptGate::note(Fact fact, uint8_t zone, const AddressBytes& who, const AddressBytes& whom,
                      uint64_t untilUs) noexcept {
  const uint64_t name = nameOf(fact, zone, who, whom);
  Entry* const set = setOf(fact, zone, name);
  Entry* place =
      std::find_if(set, set + WAYS, [&](const Entry& entry) { return entry.name == name; });
  if (place == set + WAYS) {
    place = std::min_element(set, set + WAYS,
                             [](const Entry& a, const Entry& b) { return a.untilUs < b.untilUs; });
  }
  *place = {name, untilUs};
}

}  // namespace sluice
