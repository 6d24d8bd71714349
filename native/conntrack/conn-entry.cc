#include "native/conntrack/conn-entry.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr uint8_t REQUESTER_IS_HIGHER = 0x80;

// A small number for a query's kind, the same for its requests and its replies; never 0.
uint8_t queryKindOf(uint8_t family, uint8_t type) {
  if (family == 6) return 1;
  switch (type) {
    case 0:
      return 8;
    case 14:
    case 16:
    case 18:
      return type - 1;
    default:
      return type;
  }
}

}  // namespace

ConnName connNameOf(const FlowKey& key, IcmpRole role, uint8_t icmpType, uint8_t zone) noexcept {
  const std::array<uint64_t, 2> source = {loadWord(key.source.data()),
                                          loadWord(key.source.data() + 8)};
  const std::array<uint64_t, 2> destination = {loadWord(key.destination.data()),
                                               loadWord(key.destination.data() + 8)};
  const bool sourceIsHigher =
      source != destination ? source > destination : key.sourcePort > key.destinationPort;

  uint8_t kind = 0;
  if (role == IcmpRole::Request || role == IcmpRole::Reply) {
    kind = queryKindOf(key.family, icmpType);
    if (sourceIsHigher == (role == IcmpRole::Request)) kind |= REQUESTER_IS_HIGHER;
  }

  ConnName name;
  name.sender = sourceIsHigher ? 1 : 0;
  const auto& lower = sourceIsHigher ? destination : source;
  const auto& higher = sourceIsHigher ? source : destination;
  const uint64_t lowerPort = sourceIsHigher ? key.destinationPort : key.sourcePort;
  const uint64_t higherPort = sourceIsHigher ? key.sourcePort : key.destinationPort;
  name.key.words = {lower[0], lower[1], higher[0], higher[1],
                    lowerPort | higherPort << 16 | uint64_t{key.protocol} << 32 |
                        uint64_t{key.family} << 40 | uint64_t{kind} << 48 | uint64_t{zone} << 56};
  return name;
}

FlowKey originalKeyOf(const ConnEntry& entry) noexcept {
  const auto& words = entry.key.words;
  const size_t opener = entry.opener();
  const size_t other = 1 - opener;
  const auto portOf = [&words](size_t end) {
    return static_cast<uint16_t>(words[4] >> (16 * end));
  };
  FlowKey key;
  std::memcpy(key.source.data(), &words[2 * opener], key.source.size());
  std::memcpy(key.destination.data(), &words[2 * other], key.destination.size());
  key.sourcePort = portOf(opener);
  key.destinationPort = portOf(other);
  key.protocol = entry.protocol();
  key.family = static_cast<uint8_t>(words[4] >> 40);
  return key;
}

}  // namespace sluice
