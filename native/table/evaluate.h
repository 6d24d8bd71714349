#pragma once

#include "native/layout/dialect.h"
#include "native/layout/shared.gen.h"

// The evaluator: judges a flow by a compiled table. The one source for the addon, whose TableView
// is its face in C++, and for eBPF programs in the kernel, whose verifier has to see that no read
// leaves the table. What differs between the two is how bytes are read, and stands first.
//
// Source: docs/format.md, "Table blob".

#ifdef __bpf__

// The includer defines SLUICE_TABLE_BYTES: the power of two, known when the program is loaded, that
// the table's memory has.

// The table's first byte, and a section's place: bytes from there.
typedef const SluiceU8* SluiceTable;
typedef SluiceU64 SluiceSection;
// Each mask keeps a read inside the table's memory. It changes nothing in a table that
// TableView::open() has checked.
#define SLUICE_READ(type, table, section, at) \
  (*(const type*)((table) + (((section) + (at)) & (SLUICE_TABLE_BYTES - sizeof(type)))))
#define SLUICE_CLASS_COUNT(table) SLUICE_READ(SluiceU32, table, 0, SLUICE_TableHeader_classCount)
#define SLUICE_SECTION(table, name) \
  SLUICE_READ(SluiceU32, table, 0, SLUICE_TableHeader_sections + 8 * SLUICE_SECTION_##name)
#define SLUICE_SECTION_SIZE(table, name) \
  SLUICE_READ(SluiceU32, table, 0, SLUICE_TableHeader_sections + 8 * SLUICE_SECTION_##name + 4)

// An address in two words: the verifier allows no variable index into the stack on every kernel.
typedef struct {
  SluiceU64 words[2];
} SluiceAddress;
#define SLUICE_ADDRESS_WORD(address, word) ((address)->words[word])
#define SLUICE_ADDRESS_BYTE(address, byte) \
  ((SluiceU32)((address)->words[(byte) >> 3 & 1] >> ((byte) * 8 & 63)) & 255)
#define SLUICE_PREFIX_MASK(bits, word) sluicePrefixMask(bits, word)
// The verifier wants to see that a loop ends; in a checked table it ends earlier.
#define SLUICE_WITHIN(condition) (condition)

#else

#include <cstddef>
#include <cstring>

typedef const SluiceU8* SluiceSection;
// The places of a checked table's sections.
struct SluiceTableSections {
  SluiceU32 classCount;
  SluiceSection trieV4Root;
  SluiceSection trieV4Nodes;
  SluiceSection trieV6Root;
  SluiceSection trieV6Nodes;
  SluiceSection trieV6Entries;
  SluiceSection leaves;
  SluiceSection cells;
  SluiceSection portSets;
  SluiceSection portPageIndexes;
  SluiceSection portPages;
};
typedef const SluiceTableSections* SluiceTable;
#define SLUICE_READ(type, table, section, at) (*reinterpret_cast<const type*>((section) + (at)))
#define SLUICE_CLASS_COUNT(table) ((table)->classCount)
#define SLUICE_SECTION(table, name) ((table)->name)

// Sixteen bytes in network order.
typedef SluiceU8 SluiceAddress;
inline SluiceU64 sluiceAddressWord(const SluiceAddress* address, int word) noexcept {
  SluiceU64 value;
  std::memcpy(&value, address + word * 8, sizeof value);
  return value;
}
#define SLUICE_ADDRESS_WORD(address, word) sluiceAddressWord(address, word)
#define SLUICE_ADDRESS_BYTE(address, byte) ((address)[byte])
#define SLUICE_PREFIX_MASK(bits, word) (sluicePrefixMasks[bits].words[word])
#define SLUICE_WITHIN(condition) true

#endif

// The bits of a 16-byte address that a prefix covers: its first or second word, as it lies in
// memory.
SLUICE_CONSTEXPR SluiceU64 sluicePrefixMask(SluiceU32 bits, int word) {
  const SluiceU32 first = (SluiceU32)word * 64;
  const SluiceU32 covered = bits <= first ? 0 : bits - first;
  if (covered == 0) return 0;
  return __builtin_bswap64(covered >= 64 ? ~0ull : ~0ull << (64 - covered));
}

#ifndef __bpf__

struct SluicePrefixMask {
  SluiceU64 words[2];
};
// By prefix length: a look-up is faster than the shifts.
struct SluicePrefixMaskTable {
  SluicePrefixMask masks[129];
  constexpr SluicePrefixMaskTable() : masks() {
    for (SluiceU32 bits = 0; bits <= 128; ++bits) {
      masks[bits] = {{sluicePrefixMask(bits, 0), sluicePrefixMask(bits, 1)}};
    }
  }
  constexpr const SluicePrefixMask& operator[](size_t bits) const { return masks[bits]; }
};
inline constexpr SluicePrefixMaskTable sluicePrefixMasks;

#endif

// Finds the leaf of an IPv4 address in host order: three reads at most.
SLUICE_INLINE SluiceU32 sluiceLeafV4(SluiceTable table, SluiceU32 address) {
  const SluiceSection nodes = SLUICE_SECTION(table, trieV4Nodes);
  SluiceU32 entry = SLUICE_READ(SluiceU32, table, SLUICE_SECTION(table, trieV4Root),
                                (SluiceU64)(address >> 16) * 4);
  int shift = 8;
  for (; SLUICE_WITHIN(shift >= 0) && (entry & SLUICE_TRIE_CHILD_BIT) != 0; shift -= 8) {
    const SluiceU64 node = entry & ~SLUICE_TRIE_CHILD_BIT;
    entry = SLUICE_READ(SluiceU32, table, nodes,
                        (node * SLUICE_TRIE_NODE_ENTRIES + (address >> shift & 255)) * 4);
  }
  return entry;
}

// Finds the leaf of an IPv6 address: at most 15 nodes.
SLUICE_INLINE SluiceU32 sluiceLeafV6(SluiceTable table, const SluiceAddress* address) {
  const SluiceSection nodes = SLUICE_SECTION(table, trieV6Nodes);
  const SluiceSection entries = SLUICE_SECTION(table, trieV6Entries);
  const SluiceU64 root = SLUICE_ADDRESS_BYTE(address, 0) << 8 | SLUICE_ADDRESS_BYTE(address, 1);
  SluiceU32 entry = SLUICE_READ(SluiceU32, table, SLUICE_SECTION(table, trieV6Root), root * 4);
  int step = 0;
  for (; SLUICE_WITHIN(step < 16) && (entry & SLUICE_TRIE_CHILD_BIT) != 0; ++step) {
    const SluiceU64 node = entry & ~SLUICE_TRIE_CHILD_BIT;
    const SluiceU64 at = node * SLUICE_TrieV6Node_BYTES;
    const SluiceU32 bits = SLUICE_READ(SluiceU8, table, nodes, at + SLUICE_TrieV6Node_bits);
    const SluiceU64 first = SLUICE_ADDRESS_WORD(address, 0) ^
                            SLUICE_READ(SluiceU64, table, nodes, at + SLUICE_TrieV6Node_value);
    const SluiceU64 second = SLUICE_ADDRESS_WORD(address, 1) ^
                             SLUICE_READ(SluiceU64, table, nodes, at + SLUICE_TrieV6Node_value + 8);
    if (((first & SLUICE_PREFIX_MASK(bits, 0)) | (second & SLUICE_PREFIX_MASK(bits, 1))) != 0) {
      return SLUICE_READ(SluiceU32, table, nodes, at + SLUICE_TrieV6Node_missLeaf);
    }
    const SluiceU32 byte = SLUICE_READ(SluiceU8, table, nodes, at + SLUICE_TrieV6Node_byteIndex);
    if (byte == SLUICE_TRIE_V6_PREFIX_NODE) {
      return SLUICE_READ(SluiceU32, table, nodes, at + SLUICE_TrieV6Node_hitLeaf);
    }
    entry = SLUICE_READ(SluiceU32, table, entries,
                        (node * SLUICE_TRIE_NODE_ENTRIES + SLUICE_ADDRESS_BYTE(address, byte)) * 4);
  }
  return entry;
}

// The slot of a port set for an IP protocol number: TCP, UDP, SCTP, every other.
SLUICE_CONSTEXPR SluiceU32 sluiceProtocolSlot(SluiceU32 protocol) {
  switch (protocol) {
    case 6:
      return 0;
    case 17:
      return 1;
    case 132:
      return 2;
    default:
      return 3;
  }
}

// Whether a row allows a port of a protocol slot to or from a class of addresses.
SLUICE_INLINE SluiceBool sluiceAllows(SluiceTable table, SluiceU32 row, SluiceU32 classId,
                                      SluiceU32 slot, SluiceU32 port) {
  const SluiceU64 cell = (SluiceU64)row * SLUICE_CLASS_COUNT(table) + classId;
  const SluiceU64 set = SLUICE_READ(SluiceU16, table, SLUICE_SECTION(table, cells), cell * 2);
  const SluiceU64 index = SLUICE_READ(SluiceU32, table, SLUICE_SECTION(table, portSets),
                                      set * SLUICE_PortSet_BYTES + (SluiceU64)slot * 4);
  const SluiceU64 page = SLUICE_READ(SluiceU16, table, SLUICE_SECTION(table, portPageIndexes),
                                     (index * SLUICE_PORT_PAGE_INDEX_ENTRIES + (port >> 8)) * 2);
  const SluiceU32 word = SLUICE_READ(SluiceU32, table, SLUICE_SECTION(table, portPages),
                                     (page * SLUICE_PORT_PAGE_WORDS + (port >> 5 & 7)) * 4);
  return (word >> (port & 31) & 1) != 0;
}

// Judges the first packet of a flow between two leaves: the sender's egress when it is a local
// endpoint, the receiver's ingress when it is one. An endpoint's traffic to itself is allowed.
//
// Shape:  `rows` is the section of the endpoints' rows, or of their audited ones; the result has
// the
//         bits DENIED_BY_EGRESS and DENIED_BY_INGRESS, 0 when the flow is allowed.
// Units:  `port` is the destination port; ignored for protocols other than TCP, UDP and SCTP.
SLUICE_INLINE SluiceU32 sluiceDecide(SluiceTable table, SluiceSection rows, SluiceU32 sourceLeaf,
                                     SluiceU32 destinationLeaf, SluiceU32 protocol,
                                     SluiceU32 port) {
  const SluiceSection leaves = SLUICE_SECTION(table, leaves);
  const SluiceU64 source = (SluiceU64)sourceLeaf * SLUICE_Leaf_BYTES;
  const SluiceU64 destination = (SluiceU64)destinationLeaf * SLUICE_Leaf_BYTES;
  const SluiceU32 sender = SLUICE_READ(SluiceU32, table, leaves, source + SLUICE_Leaf_endpointId);
  const SluiceU32 receiver =
      SLUICE_READ(SluiceU32, table, leaves, destination + SLUICE_Leaf_endpointId);
  if (sender == receiver) return 0;  // to itself, or nobody's here
  const SluiceU32 slot = sluiceProtocolSlot(protocol);
  const SluiceU32 slotPort = slot == 3 ? 0 : port;
  SluiceU32 denied = 0;
  if (sender != SLUICE_NONE &&
      !sluiceAllows(
          table,
          SLUICE_READ(SluiceU32, table, rows,
                      (SluiceU64)sender * SLUICE_EndpointRow_BYTES + SLUICE_EndpointRow_egressRow),
          SLUICE_READ(SluiceU32, table, leaves, destination + SLUICE_Leaf_classId), slot,
          slotPort)) {
    denied |= SLUICE_DENIED_BY_EGRESS;
  }
  if (receiver != SLUICE_NONE &&
      !sluiceAllows(table,
                    SLUICE_READ(SluiceU32, table, rows,
                                (SluiceU64)receiver * SLUICE_EndpointRow_BYTES +
                                    SLUICE_EndpointRow_ingressRow),
                    SLUICE_READ(SluiceU32, table, leaves, source + SLUICE_Leaf_classId), slot,
                    slotPort)) {
    denied |= SLUICE_DENIED_BY_INGRESS;
  }
  return denied;
}
