#include "native/conntrack/saved-connection.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "native/conntrack/tcp-track.h"

namespace sluice {
namespace {

// The saved form of each entry flag. The flags of the ends depend on which end opened.
struct FlagNames {
  uint8_t entry;
  uint8_t saved;
};
constexpr FlagNames FLAGS[] = {
    {ConnEntry::UNREPLIED, SAVED_UNREPLIED},
    {ConnEntry::NO_WINDOW, SAVED_NO_WINDOW},
    {ConnEntry::SYN_IGNORED, SAVED_SYN_IGNORED},
};
constexpr uint8_t FLAGS_ALL = SAVED_UNREPLIED | SAVED_NO_WINDOW | SAVED_SYN_IGNORED |
                              SAVED_ACK_SEEN_OPENER | SAVED_ACK_SEEN_OTHER | SAVED_AUDITED_BY;
constexpr int AUDITED_BY_SHIFT = std::countr_zero(uint32_t{SAVED_AUDITED_BY});
constexpr uint8_t ICMP_KIND_MASK = 0x7f;
constexpr uint8_t WINDOW_SCALE_MAX = 14;
constexpr uint64_t REMAINING_US_MAX =
    *std::max_element(CONN_TIMEOUT_US.begin(), CONN_TIMEOUT_US.end());

uint8_t ackSeenFlag(size_t end) {
  return end == 0 ? ConnEntry::ACK_SEEN_LOWER : ConnEntry::ACK_SEEN_HIGHER;
}

bool isQuery(const FlowKey& key) {
  return key.protocol == (key.family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
}

bool scaleFits(uint8_t scale) { return scale <= WINDOW_SCALE_MAX || scale == WINDOW_SCALE_ABSENT; }

bool isPossible(const SavedConnection& saved, const FlowKey& key) {
  if (key.family != 4 && key.family != 6) return false;
  if (key.family == 4) {
    for (size_t at = 4; at < key.source.size(); ++at) {
      if (key.source[at] != 0 || key.destination[at] != 0) return false;
    }
  }
  if (saved.zone > UINT8_MAX || (saved.flags & ~FLAGS_ALL) != 0 || saved.remainingUs == 0) {
    return false;
  }
  if ((saved.icmpKind != 0) != isQuery(key) || saved.icmpKind > ICMP_KIND_MASK) return false;
  if (key.protocol != PROTOCOL_TCP) {
    return saved.state == static_cast<uint8_t>(ConnState::Unreplied) ||
           saved.state == static_cast<uint8_t>(ConnState::Replied);
  }
  return saved.state > static_cast<uint8_t>(ConnState::None) && saved.state < TCP_STATE_COUNT &&
         scaleFits(saved.windowScale[0]) && scaleFits(saved.windowScale[1]) &&
         scaleFits(saved.ignoredSynScale);
}

// Answered UDP with no more time left than an unassured connection has is loaded as unassured. Its
// next packets make it assured again.
ConnClass classOf(const ConnEntry& entry, uint64_t remainingUs) {
  if (entry.protocol() == PROTOCOL_TCP) return tcpClassOf(entry);
  if (entry.state == ConnState::Unreplied) return ConnClass::Unanswered;
  constexpr uint64_t UNASSURED_US = CONN_TIMEOUT_US[static_cast<size_t>(ConnState::Unreplied)];
  return entry.protocol() == PROTOCOL_UDP && remainingUs > UNASSURED_US ? ConnClass::Assured
                                                                        : ConnClass::Unassured;
}

void restoreTcp(const SavedConnection& saved, ConnEntry* entry) noexcept {
  for (size_t each = 0; each < 2; ++each) {
    const size_t end = each == 0 ? entry->opener() : 1u - entry->opener();
    TcpEnd& tcp = entry->ends[end].tcp;
    tcp.sentEnd = saved.sentEnd[each];
    tcp.windowMax = saved.windowMax[each];
    tcp.ackMax = saved.ackMax[each];
    entry->ends[1 - end].tcp.peerLimit = saved.limit[each];
    entry->windowScale[end] = saved.windowScale[each];
    const uint8_t seen = each == 0 ? SAVED_ACK_SEEN_OPENER : SAVED_ACK_SEEN_OTHER;
    if ((saved.flags & seen) != 0) entry->flags |= ackSeenFlag(end);
  }
  // A scale may be unsettled only before the answer to a SYN: windows are shifted by it.
  uint8_t* const scale = entry->windowScale;
  const bool settled = entry->state != ConnState::SynSent;
  const bool absent = scale[0] == WINDOW_SCALE_ABSENT || scale[1] == WINDOW_SCALE_ABSENT;
  if (settled && absent) scale[0] = scale[1] = 0;
  SluiceConnEnd& opener = entry->ends[entry->opener()];
  opener.ignoredSynEnd = saved.ignoredSynEnd;
  opener.ignoredSynWindow = saved.ignoredSynWindow;
  opener.ignoredSynScale = saved.ignoredSynScale;
}

}  // namespace

void saveConn(const ConnEntry& entry, uint64_t nowUs, SavedConnection* saved) noexcept {
  const FlowKey key = originalKeyOf(entry);
  *saved = {};
  std::memcpy(saved->source, key.source.data(), key.source.size());
  std::memcpy(saved->destination, key.destination.data(), key.destination.size());
  saved->sourcePort = key.sourcePort;
  saved->destinationPort = key.destinationPort;
  saved->protocol = key.protocol;
  saved->family = key.family;
  saved->icmpKind = static_cast<uint8_t>(entry.key.words[4] >> 48) & ICMP_KIND_MASK;
  saved->zone = entry.key.zone();
  saved->remainingUs = entry.expiresUs > nowUs ? entry.expiresUs - nowUs : 0;
  saved->totalBytes = entry.bytes();
  saved->totalPackets = static_cast<uint32_t>(entry.packets());
  saved->generation = entry.generation;
  saved->state = static_cast<uint8_t>(entry.state);
  for (const FlagNames& names : FLAGS) {
    if ((entry.flags & names.entry) != 0) saved->flags |= names.saved;
  }
  // An audit that is not reported yet is left to the successor, which finds and reports it.
  if ((entry.flags & ConnEntry::AUDIT_UNREPORTED) == 0) {
    saved->flags |= static_cast<uint8_t>(entry.auditedBy << AUDITED_BY_SHIFT);
  }
  if (key.protocol != PROTOCOL_TCP) return;
  for (size_t each = 0; each < 2; ++each) {
    const size_t end = each == 0 ? entry.opener() : 1u - entry.opener();
    const TcpEnd& tcp = entry.ends[end].tcp;
    saved->sentEnd[each] = tcp.sentEnd;
    saved->limit[each] = entry.ends[1 - end].tcp.peerLimit;
    saved->windowMax[each] = tcp.windowMax;
    saved->ackMax[each] = tcp.ackMax;
    saved->windowScale[each] = entry.windowScale[end];
    const uint8_t seen = each == 0 ? SAVED_ACK_SEEN_OPENER : SAVED_ACK_SEEN_OTHER;
    if ((entry.flags & ackSeenFlag(end)) != 0) saved->flags |= seen;
  }
  const SluiceConnEnd& opener = entry.ends[entry.opener()];
  saved->ignoredSynEnd = opener.ignoredSynEnd;
  saved->ignoredSynWindow = opener.ignoredSynWindow;
  saved->ignoredSynScale = opener.ignoredSynScale;
}

FlowKey savedKeyOf(const SavedConnection& saved) noexcept {
  FlowKey key;
  std::memcpy(key.source.data(), saved.source, key.source.size());
  std::memcpy(key.destination.data(), saved.destination, key.destination.size());
  key.sourcePort = saved.sourcePort;
  key.destinationPort = saved.destinationPort;
  key.protocol = saved.protocol;
  key.family = saved.family;
  return key;
}

bool restoreConn(const SavedConnection& saved, const ConnCharge& charge, uint32_t generationMax,
                 uint64_t nowUs, ConnTable* table) noexcept {
  const FlowKey key = savedKeyOf(saved);
  if (!isPossible(saved, key)) return false;
  // The end that asks is the opener: a reply never opens a connection.
  const IcmpRole role = isQuery(key) ? IcmpRole::Request : IcmpRole::None;
  const ConnName name = connNameOf(key, role, saved.icmpKind, static_cast<uint8_t>(saved.zone));
  const ConnHint hint = table->hintOf(name);
  if (table->find(name, hint, nowUs) != nullptr) return false;
  DropReason reason;
  ConnEntry* const entry = table->insert(name, hint, charge, nowUs, &reason);
  if (entry == nullptr) return false;
  entry->generation = saved.generation <= generationMax ? saved.generation : 0;
  entry->state = static_cast<ConnState>(saved.state);
  entry->expiresUs = nowUs + std::min(saved.remainingUs, REMAINING_US_MAX);
  // Which end has sent how much is not saved.
  entry->ends[entry->opener()].packets = saved.totalPackets;
  entry->ends[entry->opener()].bytes = saved.totalBytes;
  table->skipTally(*entry);
  for (const FlagNames& names : FLAGS) {
    if ((saved.flags & names.saved) != 0) {
      entry->flags |= names.entry;
    } else {
      entry->flags &= static_cast<uint8_t>(~names.entry);
    }
  }
  entry->auditedBy = static_cast<uint8_t>((saved.flags & SAVED_AUDITED_BY) >> AUDITED_BY_SHIFT);
  if (key.protocol == PROTOCOL_TCP) {
    restoreTcp(saved, entry);
  } else {
    entry->noteOpening(nowUs);
  }
  table->settle(*entry, classOf(*entry, saved.remainingUs));
  return true;
}

}  // namespace sluice
