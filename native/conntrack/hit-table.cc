#include "native/conntrack/hit-table.h"

#include <algorithm>
#include <bit>

namespace sluice {
namespace {

constexpr uint32_t BUCKETS_MAX = 1u << 16;
// Keys of one bucket. A sender chooses ports but does not know the secret: more is bad luck.
constexpr uint32_t BUCKET_KEYS_MAX = 64;

// Where a key counts when there is no room for it.
uint32_t nobodysOf(const HitKey& key) {
  return (key.flow >> HitKey::DENIED_SHIFT & HitKey::SIDES) == 0 ? HitTable::NOBODYS_PASSED
                                                                 : HitTable::NOBODYS_DENIED;
}

}  // namespace

bool HitTable::create(uint32_t countsMax, const HashSecret& secret) noexcept {
  const uint32_t buckets = std::min(std::bit_ceil(countsMax), BUCKETS_MAX);
  if (!counts_.create(countsMax) || !buckets_.create(buckets)) return false;
  secret_ = secret;
  countsMax_ = countsMax;
  bucketMask_ = buckets - 1;
  for (const uint32_t nobodys : {NOBODYS_PASSED, NOBODYS_DENIED}) counts_[nobodys] = Count{};
  counts_[NOBODYS_DENIED].key.flow = (DENIED_BY_EGRESS | DENIED_BY_INGRESS) << HitKey::DENIED_SHIFT;
  return true;
}

uint32_t HitTable::bucketOf(const HitKey& key) const noexcept {
  uint64_t hash = (uint64_t{key.sourceLeaf} << 32 | key.destinationLeaf) ^ secret_[0];
  hash *= 0x9e3779b97f4a7c15u;
  hash ^= hash >> 32;
  hash = (hash ^ (uint64_t{key.generation} << 32 | key.flow) ^ secret_[1]) * 0xd6e8feb86659fd93u;
  return static_cast<uint32_t>(hash >> 40) & bucketMask_;
}

uint32_t HitTable::find(const HitKey& key) noexcept {
  const uint32_t bucket = bucketOf(key);
  uint32_t seen = 0;
  uint32_t number = buckets_[bucket] - 1;
  for (; number != NONE; number = counts_[number].nextOfBucket) {
    if (counts_[number].key == key) return number;
    if (++seen == BUCKET_KEYS_MAX) return nobodysOf(key);
  }
  return make(key, bucket);
}

uint32_t HitTable::make(const HitKey& key, uint32_t bucket) noexcept {
  uint32_t number = free_;
  if (number != NONE) {
    free_ = counts_[number].nextOfBucket;
  } else if (used_ < countsMax_) {
    number = used_++;
  } else {
    return nobodysOf(key);
  }
  counts_[number] = Count{};
  counts_[number].key = key;
  counts_[number].nextOfBucket = buckets_[bucket] - 1;
  buckets_[bucket] = number + 1;
  return number;
}

void HitTable::queue(uint32_t number) noexcept {
  Count& count = counts_[number];
  if (count.isWaiting) return;
  count.isWaiting = true;
  count.nextWaiting = NONE;
  (firstWaiting_ == NONE ? firstWaiting_ : counts_[lastWaiting_].nextWaiting) = number;
  lastWaiting_ = number;
  __atomic_store_n(&waiting_, waiting_ + 1, __ATOMIC_RELAXED);
}

void HitTable::free(uint32_t number) noexcept {
  const uint32_t bucket = bucketOf(counts_[number].key);
  if (buckets_[bucket] == number + 1) {
    buckets_[bucket] = counts_[number].nextOfBucket + 1;
  } else {
    uint32_t before = buckets_[bucket] - 1;
    while (counts_[before].nextOfBucket != number) before = counts_[before].nextOfBucket;
    counts_[before].nextOfBucket = counts_[number].nextOfBucket;
  }
  counts_[number].key = {};  // findAfter() does not find it
  counts_[number].nextOfBucket = free_;
  free_ = number;
}

size_t HitTable::read(uint64_t nowUs, size_t steps, std::span<HitRecord> records) noexcept {
  size_t written = 0;
  while (written < std::min(steps, records.size()) && firstWaiting_ != NONE) {
    const uint32_t number = firstWaiting_;
    Count& count = counts_[number];
    const bool isOver = count.holders == 0 && number > NOBODYS_DENIED;
    HitRecord& record = records[written++];
    record = {};
    record.totalPackets = count.packets;
    record.totalBytes = count.bytes;
    record.connections = count.connections;
    record.agoMs = static_cast<uint32_t>(
        count.lastUs == 0 ? UINT32_MAX : (nowUs - std::min(nowUs, count.lastUs)) / 1'000);
    record.generation = count.key.generation;
    record.sourceLeaf = count.key.sourceLeaf;
    record.destinationLeaf = count.key.destinationLeaf;
    record.number = number;
    record.port = static_cast<uint16_t>(count.key.flow);
    record.protocolSlot = count.key.flow >> 16 & HitKey::SIDES;
    record.deniedBy = count.key.flow >> HitKey::DENIED_SHIFT & HitKey::SIDES;
    record.auditedBy = count.key.flow >> HitKey::AUDITED_SHIFT & HitKey::SIDES;
    record.isOver = isOver ? 1 : 0;
    firstWaiting_ = count.nextWaiting;
    count.isWaiting = false;
    count.packets = count.bytes = count.lastUs = count.connections = 0;
    __atomic_store_n(&waiting_, waiting_ - 1, __ATOMIC_RELAXED);
    if (isOver) free(number);
  }
  return written;
}

}  // namespace sluice
