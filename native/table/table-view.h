#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "native/layout/layout.gen.h"
#include "native/packet/bytes.h"
#include "native/packet/flow-key.h"
#include "native/packet/status.h"
#include "native/table/evaluate.h"

namespace sluice {

// The sides that deny a flow, each judged on its own; 0 when the flow is allowed.
using DeniedBy = uint8_t;

// The slot of a port set for an IP protocol number.
[[nodiscard]] constexpr ProtocolSlot protocolSlot(uint8_t protocol) noexcept {
  return static_cast<ProtocolSlot>(sluiceProtocolSlot(protocol));
}

// Lines of TABLE_ALIGNMENT_BYTES that take the place of those of a table.
struct TableLines {
  std::span<const uint32_t> numbers;  // ascending, counted from the start of the table
  std::span<const std::byte> bytes;   // the lines, one behind the other
};

// A table blob. open() checks it once; reads need no checks afterwards. The evaluator itself is
// evaluate.h.
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

  // Writes lines into the table that `*view` was opened on, and checks what they changed: their own
  // references, those to them, and the checksum. What was checked before and stays needs no other
  // check.
  //
  // Shape:  nobody else reads the table meanwhile.
  // Cost:   where entries and leaves of tries change, the lines; otherwise as open().
  // Errors: Argument when the lines do not fit the table, which is then unchanged; as open(), and
  //         `*view` and the lines have to be put right before the table is read again.
  static Status rewrite(std::span<std::byte> table, const TableLines& lines,
                        TableView* view) noexcept;

  // The same view of a copy of its table.
  [[nodiscard]] TableView ofCopy(std::span<const std::byte> copy) const noexcept;

  // Finds an address's leaf: its class and the local endpoint that owns it.
  //
  // Shape: `family` is 4 or 6; IPv4 stands in the first four bytes.
  // Cost:  three loads for IPv4; at most 15 nodes for IPv6.
  [[nodiscard]] uint32_t leafOf(const uint8_t* address, uint8_t family) const noexcept {
    return family == 4 ? sluiceLeafV4(&sections_, load32(address))
                       : sluiceLeafV6(&sections_, address);
  }

  [[nodiscard]] const Leaf& leaf(uint32_t index) const noexcept { return leaves()[index]; }

  // Judges the first packet of a flow between two addresses: the sender's egress when it is a local
  // endpoint, the receiver's ingress when it is one. An endpoint's traffic to itself is allowed.
  //
  // Units: `port` is the destination port; ignored for protocols other than TCP, UDP and SCTP.
  [[nodiscard]] DeniedBy decide(uint32_t sourceLeaf, uint32_t destinationLeaf, uint8_t protocol,
                                uint16_t port) const noexcept {
    return static_cast<DeniedBy>(
        sluiceDecide(&sections_, endpoints_, sourceLeaf, destinationLeaf, protocol, port));
  }

  // Whether some rule denies; otherwise only isolation does.
  [[nodiscard]] bool hasDenyRules() const noexcept { return hasDenyRules_; }

  // Whether any policy is audited, so that audit() can differ from decide().
  [[nodiscard]] bool hasAudit() const noexcept { return auditRows_ != nullptr; }

  // Judges like decide(), as if the audited policies were enforced too.
  [[nodiscard]] DeniedBy audit(uint32_t sourceLeaf, uint32_t destinationLeaf, uint8_t protocol,
                               uint16_t port) const noexcept {
    return static_cast<DeniedBy>(sluiceDecide(&sections_, hasAudit() ? auditRows_ : endpoints_,
                                              sourceLeaf, destinationLeaf, protocol, port));
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

  [[nodiscard]] uint32_t endpointCount() const noexcept { return endpointCount_; }

 private:
  [[nodiscard]] const uint32_t* trieV4Root() const noexcept {
    return reinterpret_cast<const uint32_t*>(sections_.trieV4Root);
  }
  [[nodiscard]] const uint32_t* trieV4Nodes() const noexcept {
    return reinterpret_cast<const uint32_t*>(sections_.trieV4Nodes);
  }
  [[nodiscard]] const TrieV6Node* trieV6Nodes() const noexcept {
    return reinterpret_cast<const TrieV6Node*>(sections_.trieV6Nodes);
  }
  [[nodiscard]] const Leaf* leaves() const noexcept {
    return reinterpret_cast<const Leaf*>(sections_.leaves);
  }
  [[nodiscard]] const EndpointRow* endpoints() const noexcept {
    return reinterpret_cast<const EndpointRow*>(endpoints_);
  }

  // Notes where the sections of a checked table are.
  void bind(std::span<const std::byte> blob) noexcept;

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

  SluiceTableSections sections_ = {};
  SluiceSection endpoints_ = nullptr;
  SluiceSection auditRows_ = nullptr;  // nullptr: nothing is audited
  uint32_t endpointCount_ = 0;
  bool hasDenyRules_ = false;
  uint32_t trieV4NodeCount_ = 0;
  uint32_t trieV6NodeCount_ = 0;
  // By byte: how many nodes look at this byte or an earlier one.
  std::array<uint32_t, 16> trieV6LevelEnds_ = {};
};

static_assert(std::is_trivially_copyable_v<TableView>);

}  // namespace sluice
