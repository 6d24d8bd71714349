#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "native/layout/layout.gen.h"
#include "native/packet/flow-key.h"
#include "native/packet/status.h"

namespace sluice {

// The sides that deny a flow, each judged on its own; 0 when the flow is allowed.
using DeniedBy = uint8_t;

// The slot of a port set for an IP protocol number.
[[nodiscard]] constexpr ProtocolSlot protocolSlot(uint8_t protocol) noexcept {
  switch (protocol) {
    case 6:
      return ProtocolSlot::Tcp;
    case 17:
      return ProtocolSlot::Udp;
    case 132:
      return ProtocolSlot::Sctp;
    default:
      return ProtocolSlot::Other;
  }
}

// By prefix length: the mask of the address bits that a prefix covers.
inline constexpr auto PREFIX_MASKS = [] {
  std::array<AddressBytes, 129> masks = {};
  for (size_t bits = 0; bits < masks.size(); ++bits) {
    for (size_t bit = 0; bit < bits; ++bit) {
      masks[bits][bit / 8] = static_cast<uint8_t>(masks[bits][bit / 8] | 0x80 >> bit % 8);
    }
  }
  return masks;
}();

// A table blob. open() checks it once; reads need no checks afterwards.
//
// Owner:   the opener keeps the bytes alive longer than any copy of the view.
// Threads: reads from any number at once.
// Source:  docs/format.md, "Table blob".
class TableView {
 public:
  // Checks the header, the checksum, and that every index stays inside its section.
  //
  // Shape:  `blob` starts on a 64-byte boundary.
  // Cost:   a few passes over the blob.
  // Errors: TableTooShort, TableMagic, TableVersion, TableLayout, TableChecksum, TableBounds or
  //         TableCycle; `*view` is then left as it was.
  static Status open(std::span<const std::byte> blob, TableView* view) noexcept;

  // Finds an address's leaf: its class and the local endpoint that owns it.
  //
  // Shape: `family` is 4 or 6; IPv4 stands in the first four bytes.
  // Cost:  three loads for IPv4; at most 15 nodes for IPv6.
  [[nodiscard]] uint32_t leafOf(const uint8_t* address, uint8_t family) const noexcept {
    return family == 4 ? leafOfV4(address) : leafOfV6(address);
  }

  [[nodiscard]] const Leaf& leaf(uint32_t index) const noexcept { return leaves_[index]; }

  // Judges the first packet of a flow between two addresses: the sender's egress when it is a local
  // endpoint, the receiver's ingress when it is one. An endpoint's traffic to itself is allowed.
  //
  // Units: `port` is the destination port; ignored for protocols other than TCP, UDP and SCTP.
  [[nodiscard]] DeniedBy decide(uint32_t sourceLeaf, uint32_t destinationLeaf, uint8_t protocol,
                                uint16_t port) const noexcept {
    return decideBy(endpoints_, sourceLeaf, destinationLeaf, protocol, port);
  }

  // Whether any policy is audited, so that audit() can differ from decide().
  [[nodiscard]] bool hasAudit() const noexcept { return !auditRows_.empty(); }

  // Judges like decide(), as if the audited policies were enforced too.
  [[nodiscard]] DeniedBy audit(uint32_t sourceLeaf, uint32_t destinationLeaf, uint8_t protocol,
                               uint16_t port) const noexcept {
    return decideBy(hasAudit() ? auditRows_ : endpoints_, sourceLeaf, destinationLeaf, protocol,
                    port);
  }

  // The same from a key: both addresses are looked up first.
  [[nodiscard]] DeniedBy decide(const FlowKey& key) const noexcept {
    return decide(leafOf(key.source.data(), key.family), leafOf(key.destination.data(), key.family),
                  key.protocol, key.destinationPort);
  }

  // Looks up many IPv4 addresses at once: their cache misses overlap, and eight addresses go
  // together if the processor has gather instructions.
  //
  // Shape: addresses in host order; as many leaves as addresses.
  void leavesOfV4(std::span<const uint32_t> addresses, uint32_t* leaves) const noexcept {
    leavesOfV4(addresses, leaves, fastestWay());
  }

  // The same for IPv6 addresses, one after the other in network order.
  void leavesOfV6(std::span<const AddressBytes> addresses, uint32_t* leaves) const noexcept {
    leavesOfV6(addresses, leaves, fastestWay());
  }

  // Judges many flows at once, each as decide() does.
  //
  // Shape: each array has as many elements as `denied`; `ports` holds slotPort() of each flow.
  void decideBatch(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                   const uint32_t* ports, std::span<DeniedBy> denied) const noexcept {
    decideBatch(sourceLeaves, destinationLeaves, ports, denied, fastestWay());
  }

  // A protocol and a port as decideBatch() takes them.
  [[nodiscard]] static constexpr uint32_t slotPort(uint8_t protocol, uint16_t port) noexcept {
    const ProtocolSlot slot = protocolSlot(protocol);
    return static_cast<uint32_t>(slot) << 16 | (slot == ProtocolSlot::Other ? 0u : port);
  }

  // The implementations of a batch. Both give the same answers; tests compare them.
  enum class Way : uint8_t { Scalar, Avx2 };
  // Avx2 if the processor has it.
  [[nodiscard]] static Way fastestWay() noexcept;
  // Shape: `way` is one that the processor has.
  void leavesOfV4(std::span<const uint32_t> addresses, uint32_t* leaves, Way way) const noexcept;
  void leavesOfV6(std::span<const AddressBytes> addresses, uint32_t* leaves,
                  Way way) const noexcept;
  void decideBatch(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                   const uint32_t* ports, std::span<DeniedBy> denied, Way way) const noexcept;

  [[nodiscard]] uint32_t endpointCount() const noexcept {
    return static_cast<uint32_t>(endpoints_.size());
  }

 private:
  [[nodiscard]] DeniedBy decideBy(std::span<const EndpointRow> rows, uint32_t sourceLeaf,
                                  uint32_t destinationLeaf, uint8_t protocol,
                                  uint16_t port) const noexcept {
    const Leaf& source = leaves_[sourceLeaf];
    const Leaf& destination = leaves_[destinationLeaf];
    if (source.endpointId == destination.endpointId) {
      return 0;  // to itself, or nobody's here
    }
    const ProtocolSlot slot = protocolSlot(protocol);
    const uint16_t slotPort = slot == ProtocolSlot::Other ? uint16_t{0} : port;
    DeniedBy denied = 0;
    if (source.endpointId != NONE &&
        !allows(rows[source.endpointId].egressRow, destination.classId, slot, slotPort)) {
      denied |= DENIED_BY_EGRESS;
    }
    if (destination.endpointId != NONE &&
        !allows(rows[destination.endpointId].ingressRow, source.classId, slot, slotPort)) {
      denied |= DENIED_BY_INGRESS;
    }
    return denied;
  }

  [[nodiscard]] uint32_t leafOfV4(const uint8_t* address) const noexcept {
    uint32_t entry = trieV4Root_[static_cast<size_t>(address[0]) << 8 | address[1]];
    for (size_t byteIndex = 2; (entry & TRIE_CHILD_BIT) != 0; ++byteIndex) {
      const size_t node = entry & ~TRIE_CHILD_BIT;
      entry = trieV4Nodes_[node * TRIE_NODE_ENTRIES + address[byteIndex]];
    }
    return entry;
  }

  // Whether an address lies under a node's prefix.
  [[nodiscard]] static bool holds(const TrieV6Node& node, const uint8_t* address) noexcept {
    uint64_t bits[2];
    uint64_t value[2];
    uint64_t mask[2];
    std::memcpy(bits, address, 16);
    std::memcpy(value, node.value, 16);
    std::memcpy(mask, PREFIX_MASKS[node.bits].data(), 16);
    return (((bits[0] ^ value[0]) & mask[0]) | ((bits[1] ^ value[1]) & mask[1])) == 0;
  }

  [[nodiscard]] uint32_t leafOfV6(const uint8_t* address) const noexcept {
    uint32_t entry = trieV6Root_[static_cast<size_t>(address[0]) << 8 | address[1]];
    while ((entry & TRIE_CHILD_BIT) != 0) {
      const size_t index = entry & ~TRIE_CHILD_BIT;
      const TrieV6Node& node = trieV6Nodes_[index];
      if (!holds(node, address)) return node.missLeaf;
      if (node.byteIndex == TRIE_V6_PREFIX_NODE) return node.hitLeaf;
      entry = trieV6Entries_[index * TRIE_NODE_ENTRIES + address[node.byteIndex]];
    }
    return entry;
  }

  [[nodiscard]] bool allows(uint32_t row, uint32_t classId, ProtocolSlot slot,
                            uint16_t port) const noexcept {
    const uint32_t set = cells_[static_cast<size_t>(row) * classCount_ + classId];
    const size_t pageIndex = portSets_[set].pageIndex[static_cast<size_t>(slot)];
    const size_t page = portPageIndexes_[pageIndex * PORT_PAGE_INDEX_ENTRIES + (port >> 8)];
    const uint32_t word = portPages_[page * PORT_PAGE_WORDS + ((port >> 5) & 7)];
    return ((word >> (port & 31)) & 1) != 0;
  }

  void leavesOfV4Scalar(std::span<const uint32_t> addresses, uint32_t* leaves) const noexcept;
  void decideScalar(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                    const uint32_t* ports, std::span<DeniedBy> denied) const noexcept;
  // These handle a multiple of eight elements at the start of a batch; they return how many.
  size_t leavesOfV4Avx2(std::span<const uint32_t> addresses, uint32_t* leaves) const noexcept;
  size_t leavesOfV6Avx2(std::span<const AddressBytes> addresses, uint32_t* leaves) const noexcept;
  // The leaf of an address that reached a node without comparisons and is not under its prefix.
  [[nodiscard]] uint32_t leafOfDiffering(const TrieV6Node& node,
                                         const AddressBytes& address) const noexcept;
  size_t decideAvx2(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                    const uint32_t* ports, std::span<DeniedBy> denied) const noexcept;

  uint32_t classCount_ = 0;
  std::span<const uint32_t> trieV4Root_;
  std::span<const uint32_t> trieV4Nodes_;
  std::span<const uint32_t> trieV6Root_;
  std::span<const TrieV6Node> trieV6Nodes_;
  // By byte: how many nodes look at this byte or an earlier one.
  std::array<uint32_t, 16> trieV6LevelEnds_ = {};
  std::span<const uint32_t> trieV6Entries_;
  std::span<const Leaf> leaves_;
  std::span<const EndpointRow> endpoints_;
  std::span<const EndpointRow> auditRows_;
  std::span<const uint16_t> cells_;
  std::span<const PortSet> portSets_;
  std::span<const uint16_t> portPageIndexes_;
  std::span<const uint32_t> portPages_;
};

static_assert(std::is_trivially_copyable_v<TableView>);

}  // namespace sluice
