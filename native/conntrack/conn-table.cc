#include "native/conntrack/conn-table.h"

#include <algorithm>
#include <bit>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sluice {
namespace {

constexpr uint32_t ENTRIES_MAX = 1u << 26;
constexpr uint32_t ROOM_SWEEP_ENTRIES = 64;
constexpr size_t HASHES_AHEAD = 8;

uint32_t tagOf(uint64_t hash) { return static_cast<uint32_t>(hash >> 32) | 1; }

}  // namespace

inline uint32_t ConnTable::Bucket::slotsWith(uint32_t tag) const noexcept {
#if defined(__SSE2__)
  static_assert(BUCKET_SLOTS == 7 && offsetof(Bucket, spilled) == 28);
  const auto* words = reinterpret_cast<const __m128i*>(this);
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
  const __m128i low = _mm_cmpeq_epi32(_mm_load_si128(words), wanted);
  const __m128i high = _mm_cmpeq_epi32(_mm_load_si128(words + 1), wanted);
  const auto bits = [](__m128i lanes) {
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(lanes)));
  };
  return bits(low) | (bits(high) & 7) << 4;  // the eighth word is no tag
#else
  uint32_t slots = 0;
  for (size_t slot = 0; slot < BUCKET_SLOTS; ++slot) {
    slots |= static_cast<uint32_t>(tags[slot] == tag) << slot;
  }
  return slots;
#endif
}

Status ConnTable::create(uint32_t entriesMax, const HashSecret& secret, ConnTable* table) noexcept {
  if (entriesMax == 0 || entriesMax > ENTRIES_MAX) return {StatusCode::Argument};
  // Four entries a bucket of seven slots when it is full: next to none finds its neighbourhood
  // full.
  const uint32_t buckets = std::max(entriesMax / 4, PROBE_BUCKETS);
  ConnTable made;
  if (!made.entries_.create(entriesMax) || !made.buckets_.create(buckets)) {
    return {StatusCode::Limit};
  }
  made.hash_ = ConnHash(secret);
  made.entriesMax_ = entriesMax;
  made.bucketCount_ = buckets;
  for (uint32_t number = entriesMax; number-- > 0;) {
    made.entries_[number] = ConnEntry{};
    made.entries_[number].next = made.free_;
    made.free_ = number;
  }
  *table = std::move(made);
  return {};
}

void ConnTable::prepare(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  // A few at a time: their buckets are on the way while the next are hashed.
  for (size_t first = 0; first < names.size(); first += HASHES_AHEAD) {
    const size_t count = std::min(HASHES_AHEAD, names.size() - first);
    hash_.many(names.subspan(first, count), hints + first);
    for (size_t at = first; at < first + count; ++at) {
      __builtin_prefetch(&buckets_[homeOf(hints[at].hash)]);
    }
  }
  for (size_t at = 0; at < names.size(); ++at) {
    const uint64_t hash = hints[at].hash;
    const Bucket& bucket = buckets_[homeOf(hash)];
    const uint32_t slots = bucket.slotsWith(tagOf(hash));
    ConnEntry* likely =
        &entries_[bucket.entries[static_cast<size_t>(std::countr_zero(slots | 64))]];
    __builtin_prefetch(likely);
    hints[at].likely = slots != 0 ? likely : nullptr;
  }
}

ConnEntry* ConnTable::search(const ConnKey& key, uint64_t hash, uint64_t nowUs) noexcept {
  const uint32_t tag = tagOf(hash);
  const uint32_t home = homeOf(hash);
  const uint32_t probes = buckets_[home].spilled == 0 ? 1 : PROBE_BUCKETS;
  for (uint32_t probe = 0; probe < probes; ++probe) {
    const Bucket& bucket = buckets_[after(home, probe)];
    for (uint32_t slots = bucket.slotsWith(tag); slots != 0; slots &= slots - 1) {
      ConnEntry& entry = entries_[bucket.entries[static_cast<size_t>(std::countr_zero(slots))]];
      if (entry.key != key) continue;
      if (entry.expiresUs > nowUs) return &entry;
      remove(entry);
      ++timedOut_;
      return nullptr;
    }
  }
  return nullptr;
}

ConnEntry* ConnTable::insert(const ConnName& name, const ConnHint& hint, uint64_t nowUs) noexcept {
  if (free_ == NONE) makeRoom(nowUs);
  if (free_ == NONE) return nullptr;
  if (!index(hint.hash, free_) &&
      (!makeRoomNear(homeOf(hint.hash), nowUs) || !index(hint.hash, free_))) {
    return nullptr;
  }
  const uint32_t number = free_;
  ConnEntry& entry = entries_[number];
  free_ = entry.next;
  resizeBy(1);

  entry = ConnEntry{};
  entry.key = name.key;
  entry.home = homeOf(hint.hash);
  entry.flags = ConnEntry::UNREPLIED;
  if (name.sender == 1) entry.flags |= ConnEntry::ORIGINAL_FROM_HIGHER;
  entry.previous = unrepliedNewest_;
  if (unrepliedNewest_ != NONE) entries_[unrepliedNewest_].next = number;
  unrepliedNewest_ = number;
  if (unrepliedOldest_ == NONE) unrepliedOldest_ = number;
  return &entry;
}

bool ConnTable::index(uint64_t hash, uint32_t number) noexcept {
  const uint32_t home = homeOf(hash);
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    Bucket& bucket = buckets_[after(home, probe)];
    const uint32_t free = bucket.slotsWith(0);
    if (free == 0) continue;
    const auto slot = static_cast<size_t>(std::countr_zero(free));
    bucket.tags[slot] = tagOf(hash);
    bucket.entries[slot] = number;
    if (probe > 0) ++buckets_[home].spilled;
    return true;
  }
  return false;
}

void ConnTable::remove(ConnEntry& entry) noexcept {
  const uint32_t number = numberOf(entry);
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    Bucket& bucket = buckets_[after(entry.home, probe)];
    size_t slot = 0;
    while (slot < BUCKET_SLOTS && (bucket.tags[slot] == 0 || bucket.entries[slot] != number)) {
      ++slot;
    }
    if (slot == BUCKET_SLOTS) continue;
    bucket.tags[slot] = 0;
    if (probe > 0) --buckets_[entry.home].spilled;
    break;
  }
  unlinkUnreplied(entry);
  if (closedCount_ < CLOSED_MAX) {
    closed_[closedCount_++] = {originalKeyOf(entry), entry.packets, entry.bytes(), entry.auditedBy};
  }
  entry.state = ConnState::None;
  entry.expiresUs = 0;
  entry.next = free_;
  free_ = number;
  resizeBy(-1);
}

void ConnTable::markReplied(ConnEntry& entry) noexcept { unlinkUnreplied(entry); }

void ConnTable::unlinkUnreplied(ConnEntry& entry) noexcept {
  if ((entry.flags & ConnEntry::UNREPLIED) == 0) return;
  entry.flags &= static_cast<uint8_t>(~ConnEntry::UNREPLIED);
  uint32_t& before = entry.previous == NONE ? unrepliedOldest_ : entries_[entry.previous].next;
  uint32_t& after = entry.next == NONE ? unrepliedNewest_ : entries_[entry.next].previous;
  before = entry.next;
  after = entry.previous;
  entry.previous = NONE;
  entry.next = NONE;
}

void ConnTable::makeRoom(uint64_t nowUs) noexcept {
  for (uint32_t step = 0; step < std::min(ROOM_SWEEP_ENTRIES, entriesMax_); ++step) {
    ConnEntry& entry = entries_[sweep_];
    sweep_ = sweep_ + 1 == entriesMax_ ? 0 : sweep_ + 1;
    if (entry.state != ConnState::None && entry.expiresUs <= nowUs) {
      remove(entry);
      ++timedOut_;
      return;
    }
  }
  if (unrepliedOldest_ != NONE) {
    remove(entries_[unrepliedOldest_]);
    ++evicted_;
  }
}

bool ConnTable::makeRoomNear(uint32_t home, uint64_t nowUs) noexcept {
  ConnEntry* first = nullptr;
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    for (const uint32_t number : buckets_[after(home, probe)].entries) {
      ConnEntry& entry = entries_[number];
      const bool mayGo = (entry.flags & ConnEntry::UNREPLIED) != 0 || entry.expiresUs <= nowUs;
      if (mayGo && (first == nullptr || entry.expiresUs < first->expiresUs)) first = &entry;
    }
  }
  if (first == nullptr) return false;
  ++(first->expiresUs <= nowUs ? timedOut_ : evicted_);
  remove(*first);
  return true;
}

size_t ConnTable::expire(uint64_t nowUs, size_t steps) noexcept {
  size_t count = 0;
  for (size_t step = 0; step < std::min<size_t>(steps, entriesMax_); ++step) {
    ConnEntry& entry = entries_[sweep_];
    sweep_ = sweep_ + 1 == entriesMax_ ? 0 : sweep_ + 1;
    if (entry.state != ConnState::None && entry.expiresUs <= nowUs) {
      remove(entry);
      ++count;
    }
  }
  timedOut_ += count;
  return count;
}

}  // namespace sluice
