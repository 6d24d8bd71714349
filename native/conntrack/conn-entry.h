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
    shared = 0;
    leaving = 0;
    auditedBy = 0;
    reserved = 0;
    for (SluiceConnEnd& end : ends) {
      end = {};
      end.endpoint = NONE;
    }
  }

  // Counts a frame that passed from an end.
  void count(uint8_t sender, uint32_t frameBytes) noexcept {
    SluiceConnEnd& end = ends[sender];
    if (shared != 0) [[unlikely]] {
      __atomic_fetch_add(&end.packets, 1, __ATOMIC_RELAXED);
      __atomic_fetch_add(&end.bytes, frameBytes, __ATOMIC_RELAXED);
      return;
    }
    ++end.packets;
    end.bytes += frameBytes;
  }

  // The word of `state`, `flags` and `windowScale`, which programs replace while it is shared.
  [[nodiscard]] uint32_t word() const noexcept {
    return __atomic_load_n(reinterpret_cast<const Word*>(&state), __ATOMIC_ACQUIRE);
  }
  // Replaces the word; false, with what is there now, when it was no longer `from`.
  bool replaceWord(uint32_t* from, uint32_t to) noexcept {
    return __atomic_compare_exchange_n(reinterpret_cast<Word*>(&state), from, to, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
  }
  // Clears flags and then sets others.
  void changeFlags(uint8_t cleared, uint8_t set) noexcept {
    if (shared == 0) [[likely]] {
      flags = static_cast<uint8_t>((flags & ~cleared) | set);
      return;
    }
    uint32_t have = word();
    while (!replaceWord(&have, (have & ~(uint32_t{cleared} << 8)) | uint32_t{set} << 8)) continue;
  }
  // Enters a state, and clears flags.
  void enter(ConnState to, uint8_t cleared) noexcept {
    if (shared == 0) [[likely]] {
      state = to;
      flags &= static_cast<uint8_t>(~cleared);
      return;
    }
    uint32_t have = word();
    while (!replaceWord(&have,
                        (have & ~(uint32_t{cleared} << 8) & ~255u) | static_cast<uint32_t>(to))) {
      continue;
    }
  }

  // Whether programs pass its packets while no later generation is in force.
  [[nodiscard]] bool isAdmitted(uint32_t inForce) const noexcept {
    return ends[0].admitted == inForce && ends[1].admitted == inForce;
  }
  // Lets programs pass its packets. The entry is filled in before.
  void admit(uint32_t inForce) noexcept {
    shared = 1;
    for (SluiceConnEnd& end : ends) __atomic_store_n(&end.admitted, inForce, __ATOMIC_RELEASE);
  }
  void takeBack() noexcept {
    for (SluiceConnEnd& end : ends) __atomic_store_n(&end.admitted, 0, __ATOMIC_RELEASE);
  }
  // When a packet last passed, in the kernel or here, of an entry that was ever shared.
  [[nodiscard]] uint64_t seenUs() const noexcept {
    const uint64_t lower = __atomic_load_n(&ends[0].seenUs, __ATOMIC_RELAXED);
    const uint64_t higher = __atomic_load_n(&ends[1].seenUs, __ATOMIC_RELAXED);
    return lower > higher ? lower : higher;
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

 private:
  using Word [[gnu::may_alias]] = uint32_t;
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
