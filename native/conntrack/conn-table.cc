#include "native/conntrack/conn-table.h"

#include <algorithm>
#include <new>

namespace sluice {
namespace {

constexpr uint32_t ENTRIES_MAX = 1u << 26;
constexpr uint32_t ROOM_SWEEP_ENTRIES = 64;

uint64_t hashOf(const ConnKey& key, const HashSecret& secret) {
  const auto& words = key.words;
  if (static_cast<uint8_t>(words[4] >> 40) == 4) {
    return sipHash13(std::array<uint64_t, 2>{words[0] | words[2] << 32, words[4]}, secret);
  }
  return sipHash13(words, secret);
}

uint32_t tagOf(uint64_t hash) { return static_cast<uint32_t>(hash >> 32) | 1; }

}  // namespace

Status ConnTable::create(uint32_t entriesMax, const HashSecret& secret, ConnTable* table) noexcept {
  if (entriesMax == 0 || entriesMax > ENTRIES_MAX) return {StatusCode::Argument};
  // Two to four entries a bucket of seven slots: next to none finds its neighbourhood full.
  const uint32_t buckets = std::max(std::bit_ceil(entriesMax) / 4, PROBE_BUCKETS);
  ConnTable made;
  made.entries_.reset(new (std::nothrow) ConnEntry[entriesMax]);
  made.buckets_.reset(new (std::nothrow) Bucket[buckets]);
  if (made.entries_ == nullptr || made.buckets_ == nullptr) return {StatusCode::Limit};
  made.secret_ = secret;
  made.entriesMax_ = entriesMax;
  made.bucketMask_ = buckets - 1;
  for (uint32_t number = entriesMax; number-- > 0;) {
    made.entries_[number].next = made.free_;
    made.free_ = number;
  }
  *table = std::move(made);
  return {};
}

ConnLookup ConnTable::find(const ConnName& name, uint64_t nowUs) noexcept {
  ConnLookup lookup;
  lookup.name = name;
  lookup.hash = hashOf(name.key, secret_);
  const uint32_t tag = tagOf(lookup.hash);
  const uint32_t home = static_cast<uint32_t>(lookup.hash) & bucketMask_;
  const uint32_t probes = buckets_[home].spilled == 0 ? 1 : PROBE_BUCKETS;
  for (uint32_t probe = 0; probe < probes; ++probe) {
    const Bucket& bucket = buckets_[(home + probe) & bucketMask_];
    for (size_t slot = 0; slot < BUCKET_SLOTS; ++slot) {
      if (bucket.tags[slot] != tag) continue;
      ConnEntry& entry = entries_[bucket.entries[slot]];
      if (entry.key != name.key) continue;
      if (entry.expiresUs <= nowUs) {
        remove(entry);
        ++timedOut_;
      } else {
        lookup.entry = &entry;
      }
      return lookup;
    }
  }
  return lookup;
}

ConnEntry* ConnTable::insert(const ConnLookup& lookup, uint64_t nowUs) noexcept {
  if (free_ == NONE) makeRoom(nowUs);
  if (free_ == NONE) return nullptr;
  const uint32_t number = free_;
  if (!index(lookup.hash, number)) return nullptr;
  ConnEntry& entry = entries_[number];
  free_ = entry.next;
  ++size_;

  entry = ConnEntry{};
  entry.key = lookup.name.key;
  entry.home = static_cast<uint32_t>(lookup.hash) & bucketMask_;
  entry.flags = ConnEntry::UNREPLIED;
  if (lookup.name.sender == 1) entry.flags |= ConnEntry::ORIGINAL_FROM_HIGHER;
  entry.previous = unrepliedNewest_;
  if (unrepliedNewest_ != NONE) entries_[unrepliedNewest_].next = number;
  unrepliedNewest_ = number;
  if (unrepliedOldest_ == NONE) unrepliedOldest_ = number;
  return &entry;
}

bool ConnTable::index(uint64_t hash, uint32_t number) noexcept {
  const uint32_t home = static_cast<uint32_t>(hash) & bucketMask_;
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    Bucket& bucket = buckets_[(home + probe) & bucketMask_];
    const auto free = std::find(bucket.tags.begin(), bucket.tags.end(), 0u);
    if (free == bucket.tags.end()) continue;
    *free = tagOf(hash);
    bucket.entries[static_cast<size_t>(free - bucket.tags.begin())] = number;
    if (probe > 0) ++buckets_[home].spilled;
    return true;
  }
  return false;
}

void ConnTable::remove(ConnEntry& entry) noexcept {
  const uint32_t number = numberOf(entry);
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    Bucket& bucket = buckets_[(entry.home + probe) & bucketMask_];
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
  entry.state = ConnState::None;
  entry.expiresUs = 0;
  entry.next = free_;
  free_ = number;
  --size_;
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

size_t ConnTable::expire(uint64_t nowUs, std::span<FlowKey> closed) noexcept {
  size_t count = 0;
  const size_t steps = std::min<size_t>(closed.size(), entriesMax_);
  for (size_t step = 0; step < steps; ++step) {
    ConnEntry& entry = entries_[sweep_];
    sweep_ = sweep_ + 1 == entriesMax_ ? 0 : sweep_ + 1;
    if (entry.state != ConnState::None && entry.expiresUs <= nowUs) {
      closed[count++] = originalKeyOf(entry);
      remove(entry);
    }
  }
  timedOut_ += count;
  return count;
}

}  // namespace sluice
