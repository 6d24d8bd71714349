#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "native/conntrack/conn-key.h"
#include "native/conntrack/shared-table.h"
#include "native/layout/layout.gen.h"
#include "native/packet/packet-view.h"

namespace sluice {

// The connection that a packet belongs to: its name, and the end that sent the packet (0 the lower,
// 1 the higher).
struct ConnName {
  ConnKey key;
  uint8_t sender = 0;
};

// Names the connection of a packet. An ICMP query is named by its identifier, its kind and the end
// that asks. So two ends that ask each other with the same identifier have two connections.
void nameConn(const FlowKey& key, IcmpRole role, uint8_t icmpType, uint8_t zone,
              ConnName* name) noexcept;

[[nodiscard]] inline ConnName connNameOf(const FlowKey& key, IcmpRole role, uint8_t icmpType,
                                         uint8_t zone) noexcept {
  ConnName name;
  nameConn(key, role, icmpType, zone, &name);
  return name;
}

using TcpEnd = SluiceTcpEnd;

// One tracked connection.
struct alignas(64) ConnEntry : SluiceConn {
  static constexpr int HOME_BITS = 24;
  static constexpr uint8_t ORIGINAL_FROM_HIGHER = SLUICE_CONN_ORIGINAL_FROM_HIGHER;
  static constexpr uint8_t UNREPLIED = SLUICE_CONN_UNREPLIED;
  static constexpr uint8_t NO_WINDOW = SLUICE_CONN_NO_WINDOW;
  static constexpr uint8_t SYN_IGNORED = SLUICE_CONN_SYN_IGNORED;
  static constexpr uint8_t ACK_SEEN_LOWER = SLUICE_CONN_ACK_SEEN_LOWER;
  static constexpr uint8_t ACK_SEEN_HIGHER = 2 * SLUICE_CONN_ACK_SEEN_LOWER;
  static constexpr uint8_t AUDIT_UNREPORTED = 64;  // `auditedBy` is not reported yet
  static constexpr uint8_t ASSURED = SLUICE_CONN_ASSURED;

  ConnEntry() noexcept : SluiceConn{} {
    standing = static_cast<uint16_t>(ConnClass::Unanswered);
    for (SluiceConnEnd& end : ends) end.endpoint = NONE;
  }

  // Makes the entry a new, unanswered connection that is in no list.
  void begin(const ConnName& name, uint32_t itsHome, uint32_t itsPeers,
             uint16_t itsOwner) noexcept {
    key = name.key;
    expiresUs = 0;
    generation = 0;
    state = ConnState::None;
    flags = static_cast<uint8_t>(UNREPLIED | name.sender);
    windowScale[0] = 0;
    windowScale[1] = 0;
    place = itsHome | itsPeers << HOME_BITS;
    owner = itsOwner & 0x7ff;
    standing = static_cast<uint16_t>(ConnClass::Unanswered);
    tallied = 0;
    unused = 0;
    auditedBy = 0;
    reserved = 0;
    for (SluiceConnEnd& end : ends) {
      end = {};
      end.endpoint = NONE;
    }
  }

  // Counts a frame that passed from an end.
  void count(uint8_t sender, uint32_t frameBytes) noexcept {
    ++ends[sender].packets;
    ends[sender].bytes += frameBytes;
  }
  // Both ways.
  [[nodiscard]] uint64_t packets() const noexcept { return ends[0].packets + ends[1].packets; }
  [[nodiscard]] uint64_t bytes() const noexcept { return ends[0].bytes + ends[1].bytes; }

  // Its neighbours in its owner's list of its class; in the list of free entries, the next one.
  [[nodiscard]] SluiceU32& previous() noexcept { return ends[0].neighbour; }
  [[nodiscard]] SluiceU32& next() noexcept { return ends[1].neighbour; }

  // The bucket that its hash names.
  [[nodiscard]] uint32_t home() const noexcept { return place & ((1u << HOME_BITS) - 1); }
  // The list of its remote prefix in its owner: see ConnTable::Owner.
  [[nodiscard]] uint32_t peers() const noexcept { return place >> HOME_BITS; }
  // The end that opened the connection.
  [[nodiscard]] uint8_t opener() const noexcept { return flags & ORIGINAL_FROM_HIGHER; }
  [[nodiscard]] uint8_t protocol() const noexcept {
    return static_cast<uint8_t>(key.words[4] >> 32);
  }
  [[nodiscard]] ConnClass connClass() const noexcept { return static_cast<ConnClass>(standing); }

  // The time when a connection of another protocol than TCP began. Stored in place of the TCP
  // windows.
  void noteOpening(uint64_t nowUs) noexcept {
    ends[0].tcp.sentEnd = static_cast<uint32_t>(nowUs / 1'000);
  }
  [[nodiscard]] uint32_t livedMs(uint64_t nowUs) const noexcept {
    return static_cast<uint32_t>(nowUs / 1'000) - ends[0].tcp.sentEnd;
  }
};
static_assert(sizeof(ConnEntry) == 192 && offsetof(SluiceConn, ends) == 64);
static_assert(offsetof(SluiceConn, state) % 4 == 0 &&
              offsetof(SluiceConn, windowScale) == offsetof(SluiceConn, state) + 2);  // one word

// The key of a connection's first packet, sent by `opener`, as far as a table looks at it.
[[nodiscard]] FlowKey originalKeyOf(const ConnKey& key, uint8_t opener) noexcept;
[[nodiscard]] inline FlowKey originalKeyOf(const ConnEntry& entry) noexcept {
  return originalKeyOf(entry.key, entry.opener());
}

// The record of a connection that has ended.
struct ClosedConn {
  ConnKey key;
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint8_t flags = 0;  // of ConnEntry
  uint8_t auditedBy = 0;

  [[nodiscard]] FlowKey firstPacket() const noexcept {
    return originalKeyOf(key, flags & ConnEntry::ORIGINAL_FROM_HIGHER);
  }
};

}  // namespace sluice
