#pragma once

#include <array>
#include <cstdint>

#include "native/layout/layout.gen.h"
#include "native/packet/packet-view.h"

namespace sluice {

// A connection's name: the same for packets of both directions. The lower end comes first.
//
// Shape: words 0 and 1 the lower end's address, 2 and 3 the higher end's, 4 the ports, protocol,
//        family, ICMP query kind and zone.
struct ConnKey {
  std::array<uint64_t, 5> words = {};

  [[nodiscard]] uint8_t zone() const noexcept { return static_cast<uint8_t>(words[4] >> 56); }

  // No branch for each word: nearly all compared keys are equal.
  bool operator==(const ConnKey& other) const noexcept {
    uint64_t different = 0;
    for (size_t word = 0; word < words.size(); ++word) different |= words[word] ^ other.words[word];
    return different == 0;
  }
};

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

// What one end of a TCP connection has sent and may send.
//
// Source: van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001.
struct TcpEnd {
  uint32_t sentEnd = 0;    // past the highest sequence number sent
  uint32_t limit = 0;      // past the highest sequence number that the other end's window allows
  uint32_t windowMax = 0;  // largest window offered, scaled; 0: nothing seen from this end yet
  uint32_t ackMax = 0;     // highest acknowledgement sent
};

// One tracked connection. The first cache line is all that most packets touch.
struct alignas(64) ConnEntry {
  static constexpr int HOME_BITS = 24;
  static constexpr uint8_t ORIGINAL_FROM_HIGHER = 1;  // end 1 opened the connection
  static constexpr uint8_t UNREPLIED = 2;          // nothing proves yet that the other end is there
  static constexpr uint8_t NO_WINDOW = 4;          // picked up midway: windows are unknown
  static constexpr uint8_t SYN_IGNORED = 8;        // `ignoredSyn…` hold a SYN let through
  static constexpr uint8_t ACK_SEEN_LOWER = 16;    // tcp[0].ackMax is known
  static constexpr uint8_t ACK_SEEN_HIGHER = 32;   // tcp[1].ackMax is known
  static constexpr uint8_t AUDIT_UNREPORTED = 64;  // `auditedBy` is not reported yet
  static constexpr uint8_t ASSURED = 128;          // its class is Assured; it is in no list

  ConnKey key;
  uint64_t expiresUs = 0;
  uint32_t generation = 0;  // of the table that allowed it
  ConnState state = ConnState::None;
  uint8_t flags = 0;
  std::array<uint8_t, 2> windowScale = {};
  std::array<uint32_t, 2> endpoint = {NONE, NONE};  // of each end, by that table

  std::array<TcpEnd, 2> tcp = {};
  uint32_t ignoredSynEnd = 0;
  uint16_t ignoredSynWindow = 0;
  uint8_t ignoredSynScale = 0;
  uint8_t auditedBy = 0;     // a DeniedBy: the sides that enforced audited policies would deny
  uint32_t place = 0;        // see home() and peers()
  uint32_t previous = NONE;  // in its owner's list of its class
  uint32_t next = NONE;      // in the same list, or in the list of free entries
  uint32_t packets = 0;      // frames that passed, both ways
  uint32_t bytesLow = 0;     // their bytes
  uint16_t bytesHigh = 0;
  uint16_t owner : 11 = 0;  // index into ConnTable's owners: its quota counts
  uint16_t standing : 2 = static_cast<uint16_t>(ConnClass::Unanswered);  // a ConnClass
  uint16_t unused : 3 = 0;

  // Makes the entry a new, unanswered connection that is in no list.
  void begin(const ConnName& name, uint32_t itsHome, uint32_t itsPeers,
             uint16_t itsOwner) noexcept {
    key = name.key;
    expiresUs = 0;
    generation = 0;
    state = ConnState::None;
    flags = static_cast<uint8_t>(UNREPLIED | name.sender);
    windowScale = {};
    endpoint = {NONE, NONE};
    tcp = {};
    ignoredSynEnd = 0;
    ignoredSynWindow = 0;
    ignoredSynScale = 0;
    auditedBy = 0;
    place = itsHome | itsPeers << HOME_BITS;
    packets = 0;
    bytesLow = 0;
    bytesHigh = 0;
    owner = itsOwner & 0x7ff;
    standing = static_cast<uint16_t>(ConnClass::Unanswered);
    unused = 0;
  }

  void count(uint32_t frameBytes) noexcept {
    ++packets;
    bytesLow += frameBytes;
    if (bytesLow < frameBytes) ++bytesHigh;
  }
  [[nodiscard]] uint64_t bytes() const noexcept { return uint64_t{bytesHigh} << 32 | bytesLow; }

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
    tcp[0].sentEnd = static_cast<uint32_t>(nowUs / 1'000);
  }
  [[nodiscard]] uint32_t livedMs(uint64_t nowUs) const noexcept {
    return static_cast<uint32_t>(nowUs / 1'000) - tcp[0].sentEnd;
  }
};
static_assert(sizeof(ConnEntry) == 128);

// The key of a connection's first packet, sent by `opener`, as far as a table looks at it.
[[nodiscard]] FlowKey originalKeyOf(const ConnKey& key, uint8_t opener) noexcept;
[[nodiscard]] inline FlowKey originalKeyOf(const ConnEntry& entry) noexcept {
  return originalKeyOf(entry.key, entry.opener());
}

// The record of a connection that has ended.
struct ClosedConn {
  ConnKey key;
  uint32_t packets = 0;
  uint32_t bytesLow = 0;
  uint16_t bytesHigh = 0;
  uint8_t flags = 0;  // of ConnEntry
  uint8_t auditedBy = 0;

  [[nodiscard]] FlowKey firstPacket() const noexcept {
    return originalKeyOf(key, flags & ConnEntry::ORIGINAL_FROM_HIGHER);
  }
  [[nodiscard]] uint64_t bytes() const noexcept { return uint64_t{bytesHigh} << 32 | bytesLow; }
};

}  // namespace sluice
