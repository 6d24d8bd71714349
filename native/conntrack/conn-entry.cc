#include "native/conntrack/conn-entry.h"

#include <algorithm>
#include <cstring>

#include "native/conntrack/conn-name.h"

namespace sluice {
namespace {

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
  SluiceWay way;
  way.source[0] = loadWord(key.source.data());
  way.source[1] = loadWord(key.source.data() + 8);
  way.destination[0] = loadWord(key.destination.data());
  way.destination[1] = loadWord(key.destination.data() + 8);
  way.sourcePort = key.sourcePort;
  way.destinationPort = key.destinationPort;
  way.protocol = key.protocol;
  way.family = key.family;
  const bool isQuery = role == IcmpRole::Request || role == IcmpRole::Reply;
  way.kind = isQuery ? queryKindOf(key.family, icmpType) : 0;
  way.isRequest = role == IcmpRole::Request ? 1 : 0;
  way.zone = zone;
  name->sender = static_cast<uint8_t>(sluiceNameConn(&way, &name->key));
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
