#include "native/conntrack/conn-entry.h"

#include <algorithm>
#include <bit>

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

void nameConn(const FlowKey& key, IcmpRole role, uint8_t icmpType, uint8_t zone,
              ConnName* name) noexcept {
  const uint64_t source[] = {loadWord(key.source.data()), loadWord(key.source.data() + 8)};
  const uint64_t destination[] = {loadWord(key.destination.data()),
                                  loadWord(key.destination.data() + 8)};
  // Which end is the higher is random, so it is computed without a branch. A mispredicted branch
  // costs more than all of this.
  const auto sourceIsHigher = static_cast<uint64_t>(
      (source[0] > destination[0]) |
      ((source[0] == destination[0]) &
       ((source[1] > destination[1]) |
        ((source[1] == destination[1]) & (key.sourcePort > key.destinationPort)))));

  uint64_t kind = 0;
  if (role == IcmpRole::Request || role == IcmpRole::Reply) {
    kind = queryKindOf(key.family, icmpType);
    if ((sourceIsHigher != 0) == (role == IcmpRole::Request)) kind |= REQUESTER_IS_HIGHER;
  }

  const uint64_t swap = 0 - sourceIsHigher;
  auto& words = name->key.words;
  for (size_t word = 0; word < 2; ++word) {
    const uint64_t difference = (source[word] ^ destination[word]) & swap;
    words[word] = source[word] ^ difference;
    words[2 + word] = destination[word] ^ difference;
  }
  const uint32_t ports = key.sourcePort | uint32_t{key.destinationPort} << 16;
  words[4] = std::rotl(ports, static_cast<int>(16 * sourceIsHigher)) |
             uint64_t{key.protocol} << 32 | uint64_t{key.family} << 40 | kind << 48 |
             uint64_t{zone} << 56;
  name->sender = static_cast<uint8_t>(sourceIsHigher);
}

FlowKey originalKeyOf(const ConnKey& name, uint8_t opener) noexcept {
  const auto& words = name.words;
  const size_t other = 1u - opener;
  const auto portOf = [&words](size_t end) {
    return static_cast<uint16_t>(words[4] >> (16 * end));
  };
  FlowKey key;
  std::memcpy(key.source.data(), &words[2 * opener], key.source.size());
  std::memcpy(key.destination.data(), &words[2 * other], key.destination.size());
  key.sourcePort = portOf(opener);
  key.destinationPort = portOf(other);
  key.protocol = static_cast<uint8_t>(words[4] >> 32);
  key.family = static_cast<uint8_t>(words[4] >> 40);
  return key;
}

}  // namespace sluice
