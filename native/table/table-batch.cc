#include <algorithm>
#include <array>

#include "native/table/table-view.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define SLUICE_AVX2 __attribute__((target("avx2")))
#endif

namespace sluice {
namespace {

// Addresses or flows that are handled side by side.
constexpr size_t LANES = BATCH_FRAMES_MAX;

}  // namespace

void TableView::leavesOfV4Scalar(std::span<const uint32_t> addresses,
                                 uint32_t* leaves) const noexcept {
  const uint32_t* const root = trieV4Root();
  if (trieV4NodeCount_ == 0) {
    for (size_t at = 0; at < addresses.size(); ++at) leaves[at] = root[addresses[at] >> 16];
    return;
  }
  // An address that has its leaf already steps to the same leaf through node 0, without a branch.
  // Which addresses stop early is unpredictable, and a mispredicted branch costs more than all
  // three loads.
  const uint32_t* const nodes = trieV4Nodes();
  const auto step = [nodes](uint32_t entry, uint32_t byte) {
    const auto child = static_cast<uint32_t>(static_cast<int32_t>(entry) >> 31);
    const size_t node = entry & ~TRIE_CHILD_BIT & child;
    return entry ^ ((entry ^ nodes[node * TRIE_NODE_ENTRIES + byte]) & child);
  };
  for (size_t at = 0; at < addresses.size(); ++at) {
    const uint32_t address = addresses[at];
    const uint32_t inner = step(root[address >> 16], (address >> 8) & 255);
    leaves[at] = step(inner, address & 255);
  }
}

void TableView::decideScalar(const uint32_t* sourceLeaves, const uint32_t* destinationLeaves,
                             const uint32_t* ports, std::span<DeniedBy> denied) const noexcept {
  struct Question {
    uint32_t endpoint;
    uint32_t classId;
    uint32_t flow;
  };
  // The flows with a local end are selected first, so that no later step branches on it.
  std::array<Question, LANES + 1> egress;
  std::array<Question, LANES + 1> ingress;
  for (size_t first = 0; first < denied.size(); first += LANES) {
    const size_t end = std::min(first + LANES, denied.size());
    size_t egresses = 0;
    size_t ingresses = 0;
    for (size_t at = first; at < end; ++at) {
      const Leaf& source = leaves()[sourceLeaves[at]];
      const Leaf& destination = leaves()[destinationLeaves[at]];
      const auto flow = static_cast<uint32_t>(at);
      const bool apart = source.endpointId != destination.endpointId;
      egress[egresses] = {source.endpointId, destination.classId, flow};
      egresses += static_cast<size_t>(apart & (source.endpointId != NONE));
      ingress[ingresses] = {destination.endpointId, source.classId, flow};
      ingresses += static_cast<size_t>(apart & (destination.endpointId != NONE));
      denied[at] = 0;
    }
    const auto ask = [&](const Question& question, uint32_t row) {
      const uint32_t slotPort = ports[question.flow];
      return sluiceAllows(&sections_, row, question.classId, slotPort >> 16, slotPort & 0xffff);
    };
    for (size_t at = 0; at < egresses; ++at) {
      const bool allowed = ask(egress[at], endpoints()[egress[at].endpoint].egressRow);
      denied[egress[at].flow] |= static_cast<DeniedBy>(allowed ? 0 : DENIED_BY_EGRESS);
    }
    for (size_t at = 0; at < ingresses; ++at) {
      const bool allowed = ask(ingress[at], endpoints()[ingress[at].endpoint].ingressRow);
      denied[ingress[at].flow] |= static_cast<DeniedBy>(allowed ? 0 : DENIED_BY_INGRESS);
    }
  }
}

void TableView::leavesOfV4(std::span<const uint32_t> addresses, uint32_t* leaves,
                           Way way) const noexcept {
  const size_t done = way == Way::Avx2 ? leavesOfV4Avx2(addresses, leaves) : 0;
  leavesOfV4Scalar(addresses.subspan(done), leaves + done);
}

void TableView::leavesOfV6(std::span<const AddressBytes> addresses, uint32_t* leaves,
                           Way way) const noexcept {
  size_t at = way == Way::Avx2 ? leavesOfV6Avx2(addresses, leaves) : 0;
  for (; at < addresses.size(); ++at) leaves[at] = sluiceLeafV6(&sections_, addresses[at].data());
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

// A zero that the compiler makes again at each use. A gather merges into its destination register
// and waits for the register's last value. Without a fresh zero, the loads of one round would wait
// for those of the round before.
SLUICE_AVX2 inline __m256i freshZero() {
  __m256i zero = _mm256_setzero_si256();
  asm volatile("" : "+x"(zero));
  return zero;
}

// Loads table[index] in each lane whose top bit of `mask` is set; zero in the others.
SLUICE_AVX2 inline __m256i gather(const void* table, __m256i index, __m256i mask) {
  return _mm256_mask_i32gather_epi32(freshZero(), static_cast<const int*>(table), index, mask, 4);
}

// The same from a table of 16-bit numbers. A gather reads whole words; the word at the last number
// of a section still lies in the section's last 64-byte line.
SLUICE_AVX2 inline __m256i gatherHalves(const void* table, __m256i index, __m256i mask) {
  const __m256i pair = gather(table, _mm256_srli_epi32(index, 1), mask);
  const __m256i half = _mm256_slli_epi32(_mm256_and_si256(index, _mm256_set1_epi32(1)), 4);
  return _mm256_and_si256(_mm256_srlv_epi32(pair, half), _mm256_set1_epi32(0xffff));
}

SLUICE_AVX2 inline __m256i load(const uint32_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

SLUICE_AVX2 inline __m128i loadAddress(const uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

SLUICE_AVX2 inline __m128i loadMask(uint8_t prefixBits) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(&sluicePrefixMasks[prefixBits]));
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
    __m256i entry = gather(trieV4Root(), _mm256_srli_epi32(address, 16), all);
    // The child bit is the top bit, which a masked gather uses as its mask. A shift by eight makes
    // room for the entry's number and drops the bit.
    const __m256i bytes[] = {_mm256_and_si256(_mm256_srli_epi32(address, 8), low),
                             _mm256_and_si256(address, low)};
    for (const __m256i byte : bytes) {
      const __m256i child = _mm256_srai_epi32(entry, 31);
      const __m256i index =
          _mm256_and_si256(_mm256_or_si256(_mm256_slli_epi32(entry, 8), byte), child);
      const __m256i next = gather(trieV4Nodes(), index, all);
      entry = _mm256_blendv_epi8(entry, next, child);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(leaves + at), entry);
  }
  return at;
}

// Walks byte by byte for all addresses together. A node's number says which byte it looks at, so a
// step depends only on the entry before it. The walk makes no comparisons: every node repeats the
// whole path to it, so an address that agrees with the last node of its walk agrees with all of
// them.
SLUICE_AVX2 size_t TableView::leavesOfV6Avx2(std::span<const AddressBytes> addresses,
                                             uint32_t* leaves) const noexcept {
  constexpr size_t WIDTH = 8;
  const __m256i all = _mm256_set1_epi32(-1);
  const __m256i low = _mm256_set1_epi32(255);

  static_assert(sizeof(TrieV6Node) == 8 * sizeof(uint32_t));
  if (trieV6NodeCount_ == 0) return 0;  // without nodes, one by one is as fast
  const size_t whole = addresses.size() / WIDTH * WIDTH;
  for (size_t first = 0; first < whole; first += LANES) {
    const size_t vectors = std::min(LANES, whole - first) / WIDTH;
    __m256i words[4][LANES / WIDTH];  // of each address, in the order of memory
    __m256i entries[LANES / WIDTH];
    __m256i last[LANES / WIDTH];  // the node that each lane is or was at, and the child bit
    for (size_t at = 0; at < vectors; ++at) {
      const AddressBytes* const eight = &addresses[first + at * WIDTH];
      const auto pair = [eight](size_t lane) SLUICE_AVX2 {
        return _mm256_inserti128_si256(_mm256_castsi128_si256(loadAddress(eight[lane].data())),
                                       loadAddress(eight[lane + 4].data()), 1);
      };
      const __m256i lowPairs = _mm256_unpacklo_epi32(pair(0), pair(1));
      const __m256i highPairs = _mm256_unpackhi_epi32(pair(0), pair(1));
      const __m256i otherLowPairs = _mm256_unpacklo_epi32(pair(2), pair(3));
      const __m256i otherHighPairs = _mm256_unpackhi_epi32(pair(2), pair(3));
      words[0][at] = _mm256_unpacklo_epi64(lowPairs, otherLowPairs);
      words[1][at] = _mm256_unpackhi_epi64(lowPairs, otherLowPairs);
      words[2][at] = _mm256_unpacklo_epi64(highPairs, otherHighPairs);
      words[3][at] = _mm256_unpackhi_epi64(highPairs, otherHighPairs);
      const __m256i word = words[0][at];
      const __m256i index = _mm256_or_si256(_mm256_slli_epi32(_mm256_and_si256(word, low), 8),
                                            _mm256_and_si256(_mm256_srli_epi32(word, 8), low));
      entries[at] = gather(sections_.trieV6Root, index, all);
      last[at] = _mm256_setzero_si256();
    }
    uint32_t levelStart = 0;
    for (size_t byte = 2; byte < trieV6LevelEnds_.size(); ++byte) {
      const uint32_t levelEnd = trieV6LevelEnds_[byte];
      if (levelEnd == levelStart) continue;
      levelStart = levelEnd;
      // As signed numbers, children are less than leaves, and the children of this byte are less
      // than the others.
      const __m256i end = _mm256_set1_epi32(static_cast<int>(TRIE_CHILD_BIT + levelEnd));
      const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(byte % 4 * 8));
      for (size_t at = 0; at < vectors; ++at) {
        const __m256i entry = entries[at];
        const __m256i here = _mm256_cmpgt_epi32(end, entry);
        if (!anyOf(here)) continue;
        last[at] = _mm256_blendv_epi8(last[at], entry, here);
        const __m256i value = _mm256_and_si256(_mm256_srl_epi32(words[byte / 4][at], shift), low);
        const __m256i index = _mm256_or_si256(_mm256_slli_epi32(entry, 8), value);
        entries[at] = _mm256_mask_i32gather_epi32(
            entry, reinterpret_cast<const int*>(sections_.trieV6Entries), index, here, 4);
      }
    }
    for (size_t at = 0; at < vectors; ++at) {
      // A lane that is still at a node is at a single-prefix node.
      const __m256i entry = entries[at];
      last[at] = _mm256_blendv_epi8(last[at], entry, _mm256_srai_epi32(entry, 31));
      const __m256i record = _mm256_slli_epi32(last[at], 3);  // in words; drops the child bit
      const __m256i leaf = _mm256_mask_i32gather_epi32(
          entry, reinterpret_cast<const int*>(&trieV6Nodes()->hitLeaf), record, entry, 4);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(leaves + first + at * WIDTH), leaf);
      uint32_t lastOf[WIDTH];
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(lastOf),
                          _mm256_andnot_si256(_mm256_set1_epi32(INT32_MIN), last[at]));
      uint32_t differing = 0;
      for (size_t lane = 0; lane < WIDTH; ++lane) {
        // A lane that was at no node has number 0, but the path of node 0 does not apply to it.
        const TrieV6Node& node = trieV6Nodes()[lastOf[lane]];
        const __m128i difference = _mm_xor_si128(
            loadAddress(addresses[first + at * WIDTH + lane].data()), loadAddress(node.value));
        const int agrees = _mm_testz_si128(difference, loadMask(node.bits));
        differing |= static_cast<uint32_t>(agrees ^ 1) << lane;
      }
      differing &= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(last[at])));
      for (; differing != 0; differing &= differing - 1) {
        const auto lane = static_cast<size_t>(std::countr_zero(differing));
        const size_t place = first + at * WIDTH + lane;
        leaves[place] = leafOfDiffering(trieV6Nodes()[lastOf[lane]], addresses[place]);
      }
    }
  }
  return whole;
}

// If the first difference is in the bytes that this node skips, the address agrees with all nodes
// above, and this node's miss leaf is right. Otherwise a node above has the answer, and the walk
// starts again.
SLUICE_AVX2 uint32_t TableView::leafOfDiffering(const TrieV6Node& node,
                                                const AddressBytes& address) const noexcept {
  const __m128i difference = _mm_and_si128(
      _mm_xor_si128(loadAddress(address.data()), loadAddress(node.value)), loadMask(node.bits));
  const auto same =
      static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(difference, _mm_setzero_si128())));
  const auto firstByte = static_cast<uint32_t>(std::countr_one(same));
  return firstByte >= node.skipFrom ? node.missLeaf : sluiceLeafV6(&sections_, address.data());
}

// Makes each step for a whole block before the next step, not flow by flow. The processor sees too
// few instructions ahead to overlap chains of eight gathers, but all gathers of one step are ready
// at once.
SLUICE_AVX2 size_t TableView::decideAvx2(const uint32_t* sourceLeaves,
                                         const uint32_t* destinationLeaves, const uint32_t* ports,
                                         std::span<DeniedBy> denied) const noexcept {
  constexpr size_t WIDTH = 8;
  struct Block {
    __m256i vectors[LANES / WIDTH];
    SLUICE_AVX2 __m256i& operator[](size_t at) { return vectors[at]; }
    SLUICE_AVX2 __m256i operator[](size_t at) const { return vectors[at]; }
  };
  static_assert(sizeof(Leaf) == 12 && offsetof(Leaf, classId) == 0 &&
                offsetof(Leaf, endpointId) == 4);
  static_assert(sizeof(EndpointRow) == 8 && offsetof(EndpointRow, ingressRow) == 0 &&
                offsetof(EndpointRow, egressRow) == 4);
  const auto* leafWords = reinterpret_cast<const uint32_t*>(sections_.leaves);
  const auto* endpointWords = reinterpret_cast<const uint32_t*>(endpoints_);
  const __m256i all = _mm256_set1_epi32(-1);
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i classCount = _mm256_set1_epi32(static_cast<int>(sections_.classCount));

  // Adds `bit` to the answer of each flow in `asked` whose row and class do not allow its port.
  const auto ask = [&](size_t vectors, const uint32_t* flowPorts, const Block& asked,
                       const Block& rowIndex, const Block& leafIndex, DeniedBy bit,
                       Block& answer) SLUICE_AVX2 {
    Block step;
    for (size_t at = 0; at < vectors; ++at) {
      const __m256i row = gather(endpointWords, rowIndex[at], asked[at]);
      const __m256i classId = gather(leafWords, leafIndex[at], asked[at]);
      step[at] = _mm256_add_epi32(_mm256_mullo_epi32(row, classCount), classId);
    }
    for (size_t at = 0; at < vectors; ++at) {
      const __m256i set = gatherHalves(sections_.cells, step[at], asked[at]);
      const __m256i slot = _mm256_srli_epi32(load(flowPorts + at * WIDTH), 16);
      step[at] = _mm256_add_epi32(_mm256_slli_epi32(set, 2), slot);
    }
    for (size_t at = 0; at < vectors; ++at) {
      step[at] = gather(sections_.portSets, step[at], asked[at]);
    }
    for (size_t at = 0; at < vectors; ++at) {
      const __m256i port = load(flowPorts + at * WIDTH);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi32(port, 8), low);
      const __m256i index = _mm256_or_si256(_mm256_slli_epi32(step[at], 8), high);
      const __m256i page = gatherHalves(sections_.portPageIndexes, index, asked[at]);
      const __m256i inPage = _mm256_and_si256(_mm256_srli_epi32(port, 5), _mm256_set1_epi32(7));
      step[at] = _mm256_add_epi32(_mm256_slli_epi32(page, 3), inPage);
    }
    for (size_t at = 0; at < vectors; ++at) {
      const __m256i port = load(flowPorts + at * WIDTH);
      const __m256i word = gather(sections_.portPages, step[at], asked[at]);
      const __m256i inWord = _mm256_and_si256(port, _mm256_set1_epi32(31));
      const __m256i allowed =
          _mm256_and_si256(_mm256_srlv_epi32(word, inWord), _mm256_set1_epi32(1));
      const __m256i refused =
          _mm256_and_si256(asked[at], _mm256_cmpeq_epi32(allowed, _mm256_setzero_si256()));
      answer[at] = _mm256_or_si256(answer[at], _mm256_and_si256(refused, _mm256_set1_epi32(bit)));
    }
  };

  const size_t whole = denied.size() / WIDTH * WIDTH;
  for (size_t first = 0; first < whole; first += LANES) {
    const size_t vectors = std::min(LANES, whole - first) / WIDTH;
    Block sourceLeaf;
    Block destinationLeaf;
    Block sourceEndpoint;
    Block destinationEndpoint;
    for (size_t at = 0; at < vectors; ++at) {
      const __m256i source = load(sourceLeaves + first + at * WIDTH);
      const __m256i destination = load(destinationLeaves + first + at * WIDTH);
      sourceLeaf[at] = _mm256_add_epi32(source, _mm256_slli_epi32(source, 1));
      destinationLeaf[at] = _mm256_add_epi32(destination, _mm256_slli_epi32(destination, 1));
      sourceEndpoint[at] = gather(leafWords + 1, sourceLeaf[at], all);
      destinationEndpoint[at] = gather(leafWords + 1, destinationLeaf[at], all);
    }
    Block byEgress;
    Block byIngress;
    Block egressRow;
    Block ingressRow;
    Block answer;
    __m256i anyEgress = _mm256_setzero_si256();
    __m256i anyIngress = _mm256_setzero_si256();
    for (size_t at = 0; at < vectors; ++at) {
      const __m256i source = sourceEndpoint[at];
      const __m256i destination = destinationEndpoint[at];
      const __m256i same = _mm256_cmpeq_epi32(source, destination);
      byEgress[at] =
          _mm256_andnot_si256(_mm256_or_si256(same, _mm256_cmpeq_epi32(source, all)), all);
      byIngress[at] =
          _mm256_andnot_si256(_mm256_or_si256(same, _mm256_cmpeq_epi32(destination, all)), all);
      anyEgress = _mm256_or_si256(anyEgress, byEgress[at]);
      anyIngress = _mm256_or_si256(anyIngress, byIngress[at]);
      egressRow[at] = _mm256_add_epi32(_mm256_slli_epi32(source, 1), _mm256_set1_epi32(1));
      ingressRow[at] = _mm256_slli_epi32(destination, 1);
      answer[at] = _mm256_setzero_si256();
    }
    if (anyOf(anyEgress)) {
      ask(vectors, ports + first, byEgress, egressRow, destinationLeaf, DENIED_BY_EGRESS, answer);
    }
    if (anyOf(anyIngress)) {
      ask(vectors, ports + first, byIngress, ingressRow, sourceLeaf, DENIED_BY_INGRESS, answer);
    }
    for (size_t at = 0; at < vectors; ++at) {
      // Packs eight words into eight bytes.
      const __m256i halves = _mm256_packus_epi32(answer[at], answer[at]);
      const __m256i packed = _mm256_packus_epi16(halves, halves);
      const auto lower = static_cast<uint32_t>(_mm256_extract_epi32(packed, 0));
      const auto upper = static_cast<uint32_t>(_mm256_extract_epi32(packed, 4));
      const uint64_t bytes = lower | static_cast<uint64_t>(upper) << 32;
      std::memcpy(&denied[first + at * WIDTH], &bytes, sizeof bytes);
    }
  }
  return whole;
}

#else

TableView::Way TableView::fastestWay() noexcept { return Way::Scalar; }

size_t TableView::leavesOfV4Avx2(std::span<const uint32_t>, uint32_t*) const noexcept { return 0; }

size_t TableView::leavesOfV6Avx2(std::span<const AddressBytes>, uint32_t*) const noexcept {
  return 0;
}

size_t TableView::decideAvx2(const uint32_t*, const uint32_t*, const uint32_t*,
                             std::span<DeniedBy>) const noexcept {
  return 0;
}

#endif

}  // namespace sluice
