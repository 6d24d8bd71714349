#include <algorithm>
#include <array>

#include "native/table/table-view.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define SLUICE_AVX2 __attribute__((target("avx2")))
#endif

namespace sluice {
namespace {

// IPv6 addresses that are looked up side by side.
constexpr size_t LANES = BATCH_FRAMES_MAX;

}  // namespace

void TableView::leavesOfV4Scalar(std::span<const uint32_t> addresses,
                                 uint32_t* leaves) const noexcept {
  const uint32_t* const root = trieV4Root_.data();
  if (trieV4Nodes_.empty()) {
    for (size_t at = 0; at < addresses.size(); ++at) leaves[at] = root[addresses[at] >> 16];
    return;
  }
  // A leaf steps to itself: which addresses stop early is nothing a branch could foresee.
  const uint32_t* const nodes = trieV4Nodes_.data();
  const auto step = [nodes](uint32_t entry, uint32_t byte) {
    const bool child = (entry & TRIE_CHILD_BIT) != 0;
    const size_t node = child ? entry & ~TRIE_CHILD_BIT : 0;
    const uint32_t next = nodes[node * TRIE_NODE_ENTRIES + byte];
    return child ? next : entry;
  };
  for (size_t at = 0; at < addresses.size(); ++at) {
    const uint32_t address = addresses[at];
    const uint32_t inner = step(root[address >> 16], (address >> 8) & 255);
    leaves[at] = step(inner, address & 255);
  }
}

void TableView::leavesOfV6(std::span<const AddressBytes> addresses,
                           uint32_t* leaves) const noexcept {
  // Every address takes one step a round, so that the lines which the next round needs are on
  // their way together.
  for (size_t first = 0; first < addresses.size(); first += LANES) {
    const size_t count = std::min(LANES, addresses.size() - first);
    std::array<uint8_t, LANES> walking;
    size_t left = 0;
    for (size_t lane = 0; lane < count; ++lane) {
      const uint8_t* address = addresses[first + lane].data();
      const uint32_t entry = trieV6Root_[static_cast<size_t>(address[0]) << 8 | address[1]];
      leaves[first + lane] = entry;
      if ((entry & TRIE_CHILD_BIT) == 0) continue;
      __builtin_prefetch(&trieV6Nodes_[entry & ~TRIE_CHILD_BIT]);
      walking[left++] = static_cast<uint8_t>(lane);
    }
    while (left > 0) {
      std::array<const uint32_t*, LANES> next;
      size_t kept = 0;
      for (size_t index = 0; index < left; ++index) {
        const uint8_t lane = walking[index];
        const uint8_t* address = addresses[first + lane].data();
        const size_t number = leaves[first + lane] & ~TRIE_CHILD_BIT;
        const TrieV6Node& node = trieV6Nodes_[number];
        uint64_t bits[2];
        uint64_t value[2];
        uint64_t mask[2];
        std::memcpy(bits, address, 16);
        std::memcpy(value, node.value, 16);
        std::memcpy(mask, node.mask, 16);
        const bool inside =
            (((bits[0] ^ value[0]) & mask[0]) | ((bits[1] ^ value[1]) & mask[1])) == 0;
        leaves[first + lane] = node.missLeaf;
        next[kept] = &trieV6Entries_[number * TRIE_NODE_ENTRIES + address[node.byteIndex]];
        __builtin_prefetch(next[kept]);
        walking[kept] = lane;
        kept += inside ? 1 : 0;
      }
      left = 0;
      for (size_t index = 0; index < kept; ++index) {
        const uint8_t lane = walking[index];
        const uint32_t entry = *next[index];
        leaves[first + lane] = entry;
        const bool child = (entry & TRIE_CHILD_BIT) != 0;
        __builtin_prefetch(trieV6Nodes_.data() + (child ? entry & ~TRIE_CHILD_BIT : 0));
        walking[left] = lane;
        left += child ? 1 : 0;
      }
    }
  }
}

void TableView::decideScalar(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                             const uint32_t* ports, std::span<DeniedBy> denied) const noexcept {
  for (size_t at = 0; at < denied.size(); ++at) {
    const Leaf& source = leaves_[sourceLeaves[at]];
    const Leaf& destination = leaves_[destinationLeaves[at]];
    const auto slot = static_cast<ProtocolSlot>(ports[at] >> 16);
    const auto port = static_cast<uint16_t>(ports[at]);
    DeniedBy by = 0;
    if (source.endpointId != destination.endpointId) {
      if (source.endpointId != NONE &&
          !allows(endpoints_[source.endpointId].egressRow, destination.classId, slot, port)) {
        by |= DENIED_BY_EGRESS;
      }
      if (destination.endpointId != NONE &&
          !allows(endpoints_[destination.endpointId].ingressRow, source.classId, slot, port)) {
        by |= DENIED_BY_INGRESS;
      }
    }
    denied[at] = by;
  }
}

void TableView::leavesOfV4(std::span<const uint32_t> addresses, uint32_t* leaves,
                           Way way) const noexcept {
  const size_t done = way == Way::Avx2 ? leavesOfV4Avx2(addresses, leaves) : 0;
  leavesOfV4Scalar(addresses.subspan(done), leaves + done);
}

void TableView::decideBatch(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                            const uint32_t* ports, std::span<DeniedBy> denied,
                            Way way) const noexcept {
  const size_t done =
      way == Way::Avx2 ? decideAvx2(sourceLeaves, destinationLeaves, ports, denied) : 0;
  decideScalar(sourceLeaves + done, destinationLeaves + done, ports + done, denied.subspan(done));
}

#if defined(__x86_64__)

namespace {

// Loads table[index] in each lane whose top bit of `mask` is set; zero in the others.
SLUICE_AVX2 inline __m256i gather(const void* table, __m256i index, __m256i mask) {
  return _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), static_cast<const int*>(table), index,
                                     mask, 4);
}

SLUICE_AVX2 inline __m256i load(const uint32_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

SLUICE_AVX2 inline bool anyOf(__m256i mask) {
  return _mm256_movemask_ps(_mm256_castsi256_ps(mask)) != 0;
}

}  // namespace

TableView::Way TableView::fastestWay() noexcept {
  static const Way way = __builtin_cpu_supports("avx2") ? Way::Avx2 : Way::Scalar;
  return way;
}

SLUICE_AVX2 size_t TableView::leavesOfV4Avx2(std::span<const uint32_t> addresses,
                                             uint32_t* leaves) const noexcept {
  const __m256i all = _mm256_set1_epi32(-1);
  const __m256i low = _mm256_set1_epi32(255);
  size_t at = 0;
  for (; at + 8 <= addresses.size(); at += 8) {
    const __m256i address = load(&addresses[at]);
    __m256i entry = gather(trieV4Root_.data(), _mm256_srli_epi32(address, 16), all);
    // The child bit is the top bit, which is what a masked gather looks at; a shift by eight
    // makes room for the entry's number and drops the bit.
    const __m256i bytes[] = {_mm256_and_si256(_mm256_srli_epi32(address, 8), low),
                             _mm256_and_si256(address, low)};
    for (const __m256i byte : bytes) {
      if (!anyOf(entry)) break;
      const __m256i index = _mm256_or_si256(_mm256_slli_epi32(entry, 8), byte);
      entry = _mm256_mask_i32gather_epi32(
          entry, reinterpret_cast<const int*>(trieV4Nodes_.data()), index, entry, 4);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(leaves + at), entry);
  }
  return at;
}

SLUICE_AVX2 size_t TableView::decideAvx2(const uint32_t* sourceLeaves,
                                         const uint32_t* destinationLeaves, const uint32_t* ports,
                                         std::span<DeniedBy> denied) const noexcept {
  const __m256i all = _mm256_set1_epi32(-1);
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i classCount = _mm256_set1_epi32(static_cast<int>(classCount_));
  const auto* leafWords = reinterpret_cast<const uint32_t*>(leaves_.data());
  const auto* endpointWords = reinterpret_cast<const uint32_t*>(endpoints_.data());
  static_assert(sizeof(Leaf) == 12 && offsetof(Leaf, classId) == 0 &&
                offsetof(Leaf, endpointId) == 4);
  static_assert(sizeof(EndpointRow) == 8 && offsetof(EndpointRow, ingressRow) == 0 &&
                offsetof(EndpointRow, egressRow) == 4);

  // Whether the lanes of `asked` are denied by row × class: all ones where they are.
  const auto deniedBy = [&](__m256i asked, __m256i rowIndex, __m256i classId, __m256i port,
                            __m256i slot) SLUICE_AVX2 {
    const __m256i row = gather(endpointWords, rowIndex, asked);
    const __m256i cell = _mm256_add_epi32(_mm256_mullo_epi32(row, classCount), classId);
    const __m256i set = gather(cells_.data(), cell, asked);
    const __m256i inSet = _mm256_add_epi32(_mm256_slli_epi32(set, 2), slot);
    const __m256i pageIndex = gather(portSets_.data(), inSet, asked);
    // Page numbers are two to a word.
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(port, 8), low);
    const __m256i pageWord = _mm256_add_epi32(_mm256_slli_epi32(pageIndex, 7),
                                              _mm256_srli_epi32(high, 1));
    const __m256i pair = gather(portPageIndexes_.data(), pageWord, asked);
    const __m256i half = _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(1)), 4);
    const __m256i page =
        _mm256_and_si256(_mm256_srlv_epi32(pair, half), _mm256_set1_epi32(0xffff));
    const __m256i bits = gather(
        portPages_.data(),
        _mm256_add_epi32(_mm256_slli_epi32(page, 3),
                         _mm256_and_si256(_mm256_srli_epi32(port, 5), _mm256_set1_epi32(7))),
        asked);
    const __m256i bit = _mm256_and_si256(
        _mm256_srlv_epi32(bits, _mm256_and_si256(port, _mm256_set1_epi32(31))),
        _mm256_set1_epi32(1));
    return _mm256_and_si256(asked, _mm256_cmpeq_epi32(bit, _mm256_setzero_si256()));
  };

  size_t at = 0;
  for (; at + 8 <= denied.size(); at += 8) {
    const __m256i source = load(sourceLeaves + at);
    const __m256i destination = load(destinationLeaves + at);
    const __m256i sourceLeaf = _mm256_add_epi32(source, _mm256_slli_epi32(source, 1));
    const __m256i destinationLeaf =
        _mm256_add_epi32(destination, _mm256_slli_epi32(destination, 1));
    const __m256i slotPort = load(ports + at);
    const __m256i slot = _mm256_srli_epi32(slotPort, 16);
    const __m256i sourceEndpoint = gather(leafWords + 1, sourceLeaf, all);
    const __m256i destinationEndpoint = gather(leafWords + 1, destinationLeaf, all);
    const __m256i same = _mm256_cmpeq_epi32(sourceEndpoint, destinationEndpoint);
    const __m256i noSource = _mm256_or_si256(same, _mm256_cmpeq_epi32(sourceEndpoint, all));
    const __m256i noDestination =
        _mm256_or_si256(same, _mm256_cmpeq_epi32(destinationEndpoint, all));
    const __m256i byEgress = _mm256_xor_si256(noSource, all);
    const __m256i byIngress = _mm256_xor_si256(noDestination, all);
    __m256i by = _mm256_setzero_si256();
    if (anyOf(byEgress)) {
      const __m256i rowIndex =
          _mm256_add_epi32(_mm256_slli_epi32(sourceEndpoint, 1), _mm256_set1_epi32(1));
      const __m256i classId = gather(leafWords, destinationLeaf, byEgress);
      by = _mm256_and_si256(deniedBy(byEgress, rowIndex, classId, slotPort, slot),
                            _mm256_set1_epi32(DENIED_BY_EGRESS));
    }
    if (anyOf(byIngress)) {
      const __m256i rowIndex = _mm256_slli_epi32(destinationEndpoint, 1);
      const __m256i classId = gather(leafWords, sourceLeaf, byIngress);
      const __m256i mask = deniedBy(byIngress, rowIndex, classId, slotPort, slot);
      by = _mm256_or_si256(by, _mm256_and_si256(mask, _mm256_set1_epi32(DENIED_BY_INGRESS)));
    }
    // Eight words to eight bytes.
    const __m256i halves = _mm256_packus_epi32(by, by);
    const __m256i packed = _mm256_packus_epi16(halves, halves);
    const auto lower = static_cast<uint32_t>(_mm256_extract_epi32(packed, 0));
    const auto upper = static_cast<uint32_t>(_mm256_extract_epi32(packed, 4));
    const uint64_t bytes = lower | static_cast<uint64_t>(upper) << 32;
    std::memcpy(&denied[at], &bytes, sizeof bytes);
  }
  return at;
}

#else

TableView::Way TableView::fastestWay() noexcept { return Way::Scalar; }

size_t TableView::leavesOfV4Avx2(std::span<const uint32_t>, uint32_t*) const noexcept { return 0; }

size_t TableView::decideAvx2(const uint32_t*, const uint32_t*, const uint32_t*,
                             std::span<DeniedBy>) const noexcept {
  return 0;
}

#endif

}  // namespace sluice
