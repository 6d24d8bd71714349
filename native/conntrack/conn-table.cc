#include "native/conntrack/conn-table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "native/conntrack/conn-name.h"
#include "native/conntrack/tcp-track.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sluice {
namespace {

constexpr uint32_t ROOM_SWEEP_ENTRIES = 64;
constexpr size_t HASHES_AHEAD = 8;
// New places between two looks at whether there is memory for more; a power of two.
constexpr uint32_t PREPARED_EACH = 256;
// Between an answered connection and an unanswered one, the answered one is evicted if it has been
// silent this many times as long. So an answered flood does not evict a handshake that has just
// begun.
constexpr uint64_t ANSWER_WORTH = 2;

// Counts of hits beyond one for each connection: of drops, and of connections that have just ended.
constexpr uint32_t HITS_MORE = 16'384;

// Adds to a count that other threads read.
template <typename Count>
void add(Count& count, Count amount) {
  __atomic_store_n(&count, count + amount, __ATOMIC_RELAXED);
}

// When the worker passed the connection's last packet.
uint64_t activeUs(const ConnEntry& entry) {
  return entry.expiresUs - std::min(entry.expiresUs, timeoutOf(entry));
}

// Time since then.
uint64_t silenceUs(const ConnEntry& entry, uint64_t nowUs) {
  return nowUs - std::min(nowUs, activeUs(entry));
}

// A bit mask of the words, among the first seven, that equal `wanted`. `words` are eight, on a
// 32-byte boundary.
inline uint32_t wordsThatAre(uint32_t wanted, const uint32_t* words) {
#if defined(__SSE2__)
  const auto* lines = reinterpret_cast<const __m128i*>(words);
  const __m128i each = _mm_set1_epi32(static_cast<int>(wanted));
  const __m128i low = _mm_cmpeq_epi32(_mm_load_si128(lines), each);
  const __m128i high = _mm_cmpeq_epi32(_mm_load_si128(lines + 1), each);
  const auto bits = [](__m128i lanes) {
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(lanes)));
  };
  return bits(low) | (bits(high) & 7) << 4;
#else
  uint32_t bits = 0;
  for (uint32_t word = 0; word < 7; ++word) {
    bits |= static_cast<uint32_t>(words[word] == wanted) << word;
  }
  return bits;
#endif
}

}  // namespace

inline uint32_t ConnTable::Bucket::slotsWith(uint32_t tag) const noexcept {
  static_assert(SLUICE_CONN_SLOTS == 7 && offsetof(SluiceConnBucket, spilled) == 28);
  return wordsThatAre(tag, tags);
}

inline bool ConnTable::Bucket::forget(uint32_t number) noexcept {
  static_assert(offsetof(SluiceConnBucket, entries) == 32 &&
                offsetof(SluiceConnBucket, reserved) == 60);
  for (uint32_t slots = wordsThatAre(number, entries); slots != 0; slots &= slots - 1) {
    uint32_t& tag = tags[static_cast<uint32_t>(std::countr_zero(slots))];
    if (tag == 0) continue;
    tag = 0;
    return true;
  }
  return false;
}

Status ConnTable::create(uint32_t entriesMax, const HashSecret& secret, ConnTable* table,
                         uint32_t quota, const ConnMemory* shared) noexcept {
  if (entriesMax == 0 || entriesMax > CONNECTIONS_MAX || quota > entriesMax) {
    return {StatusCode::Argument};
  }
  const uint32_t buckets = bucketsFor(entriesMax);
  ConnTable made;
  const bool hasMemory = shared == nullptr
                             ? made.entries_.create(entriesMax) && made.buckets_.create(buckets)
                             : made.takeRoom(shared->room, entriesMax) &&
                                   made.buckets_.share(shared->buckets, 0, buckets);
  if (!hasMemory || !made.owners_.create(OWNERS_MAX) || !made.tallies_.create(entriesMax) ||
      !made.hits_.create(placesFor(entriesMax) + HITS_MORE, secret)) {
    return {StatusCode::Limit};
  }
  // eBPF has no AES: a program has to find the bucket too.
  made.hash_ = shared == nullptr ? ConnHash(secret) : ConnHash(secret, ConnHash::Way::Sip);
  made.addressHash_ = AddressHash(secret);
  made.secret_ = secret;
  made.entriesMax_ = made.limit_ = entriesMax;
  made.places_ = entriesMax;
  if (shared == nullptr) made.backed_ = entriesMax;
  made.bucketCount_ = buckets;
  made.quotaWanted_ = quota;
  made.owners_[NOBODY] = Owner{};
  made.shareOut();
  *table = std::move(made);
  return {};
}

Status ConnTable::share(const ConnMemory& memory, GracePeriods* periods) noexcept {
  static_assert(PER_PAGE * sizeof(ConnEntry) % 4096 == 0 && PER_PAGE * sizeof(Bucket) % 4096 == 0);
  const uint32_t places = placesFor(entriesMax_);
  HugeArray<ConnEntry> entries;
  std::swap(entries, entries_);
  HugeArray<Bucket> buckets;
  HugeArray<Tally> tallies;
  if (!buckets.share(memory.buckets, memory.firstBucket, bucketCount_) ||
      !leaving_.create(places) || !tallies.create(places) || !takeRoom(memory.room, places)) {
    std::swap(entries, entries_);
    return {StatusCode::Limit};
  }
  std::memcpy(tallies.get(), tallies_.get(), size_t{placesUsed_} * sizeof(Tally));
  tallies_ = std::move(tallies);
  std::memcpy(static_cast<void*>(entries_.get()), entries.get(),
              size_t{placesUsed_} * sizeof(ConnEntry));
  buckets_ = std::move(buckets);
  places_ = places;
  // eBPF has no AES: a program has to find the bucket too.
  hash_ = ConnHash(secret_, ConnHash::Way::Sip);
  for (uint32_t number = 0; number < placesUsed_; ++number) {
    if (ConnEntry* const entry = at(number); entry != nullptr) place(*entry);
  }
  periods_ = periods;
  return {};
}

bool ConnTable::takeRoom(ConnRoom* room, uint32_t places) noexcept {
  if (room == nullptr || !room->grow(std::max(placesUsed_, 1u))) return false;
  room_ = room;
  backed_ = std::min(room->places(), places);
  entries_.borrow(room->entries());
  room->prepare(placesUsed_);
  return true;
}

bool ConnTable::makePlaces() noexcept {
  if (placesUsed_ == places_) return false;
  const bool grown = room_->grow(placesUsed_ + 1);
  backed_ = std::min(room_->places(), places_);
  // Else what is there would be its first taker's: nobody would give way, and no quota would hold.
  limitTo(grown ? entriesMax_ : connectionsFor(backed_));
  return grown;
}

// Asks for memory again where there was none, without waiting for it.
void ConnTable::lookForMemory() noexcept {
  room_->prepare(placesUsed_);
  if (room_->places() <= backed_) return;
  backed_ = std::min(room_->places(), places_);
  limitTo(entriesMax_);
}

void ConnTable::limitTo(uint32_t connections) noexcept {
  if (connections == limit_) return;
  limit_ = connections;
  shareOut();
}

// Lists an entry in the buckets of the present hash. One whose buckets are all full ends.
void ConnTable::place(ConnEntry& entry) noexcept {
  const uint64_t hash = hash_.one(entry.key);
  const uint32_t home = homeOf(hash);
  entry.place = home | entry.peers() << ConnEntry::HOME_BITS;
  const uint32_t number = numberOf(entry);
  if (!index(home, hash, number)) leave(entry, number);
}

uint16_t ConnTable::attach() noexcept {
  for (uint16_t number = NOBODY + 1; number < OWNERS_MAX; ++number) {
    Owner& owner = owners_[number];
    if (owner.attached || owner.count > 0) continue;
    owner = Owner{};
    owner.attached = true;
    ownersUsed_ = std::max(ownersUsed_, static_cast<uint16_t>(number + 1));
    ++attached_;
    shareOut();
    return number;
  }
  return NOBODY;
}

void ConnTable::detach(uint16_t owner) noexcept {
  if (owner == NOBODY || !owners_[owner].attached) return;
  owners_[owner].attached = false;
  if (owners_[owner].count > 0) ++gone_;
  --attached_;
  shareOut();
}

void ConnTable::shareOut() noexcept {
  share_ = std::max(limit_ / std::max<uint32_t>(attached_, 1), 1u);
  __atomic_store_n(&quota_, quotaWanted_ != 0 ? quotaWanted_ : share_, __ATOMIC_RELAXED);
  for (uint16_t number = 0; number < ownersUsed_; ++number) {
    Owner& owner = owners_[number];
    owner.quota = number == NOBODY ? limit_ : quota_;
  }
}

uint32_t ConnTable::shareOf(const Owner& owner) const noexcept {
  if (owner.attached) return std::min(share_, quota_);
  return attached_ == 0 ? limit_ : 0;
}

OwnerUse ConnTable::use(uint16_t owner) const noexcept {
  const Owner& of = owners_[owner];
  return {__atomic_load_n(&of.count, __ATOMIC_RELAXED),
          __atomic_load_n(&of.evicted, __ATOMIC_RELAXED),
          __atomic_load_n(&of.refused, __ATOMIC_RELAXED)};
}

void ConnTable::prepare(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  // A few at a time: their buckets are prefetched while the next names are hashed.
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
    const uint32_t slots = bucket.slotsWith(sluiceTagOf(hash));
    ConnEntry* likely =
        &entries_[bucket.entries[static_cast<size_t>(std::countr_zero(slots | 64))]];
    __builtin_prefetch(likely);
    hints[at].likely = slots != 0 ? likely : nullptr;
  }
}

ConnEntry* ConnTable::search(const ConnKey& key, uint64_t hash, uint64_t nowUs) noexcept {
  const uint32_t home = homeOf(hash);
  const Bucket& bucket = buckets_[home];
  const uint32_t slots = bucket.slotsWith(sluiceTagOf(hash));
  if (slots != 0) {
    ConnEntry& entry = entries_[bucket.entries[static_cast<size_t>(std::countr_zero(slots))]];
    if (entry.key == key && entry.expiresUs > nowUs) return &entry;
  } else if (bucket.spilled == 0) {
    return nullptr;
  }
  return searchFrom(home, key, sluiceTagOf(hash), nowUs);
}

ConnEntry* ConnTable::searchFrom(uint32_t home, const ConnKey& key, uint32_t tag,
                                 uint64_t nowUs) noexcept {
  const uint32_t probes = buckets_[home].spilled == 0 ? 1 : PROBE_BUCKETS;
  for (uint32_t probe = 0; probe < probes; ++probe) {
    const Bucket& bucket = buckets_[after(home, probe)];
    for (uint32_t slots = bucket.slotsWith(tag); slots != 0; slots &= slots - 1) {
      ConnEntry& entry = entries_[bucket.entries[static_cast<size_t>(std::countr_zero(slots))]];
      if (entry.key != key) continue;
      if (entry.expiresUs > nowUs || (entry.shared != 0 && renew(entry, nowUs))) return &entry;
      remove(entry);
      ++timedOut_;
      return nullptr;
    }
  }
  return nullptr;
}

inline void ConnTable::linkLast(ConnEntry& entry, uint32_t number, List& list) noexcept {
  entry.previous() = list.newest;
  entry.next() = NONE;
  (list.newest == NONE ? list.oldest : entries_[list.newest].next()) = number;
  list.newest = number;
}

inline void ConnTable::unlink(ConnEntry& entry, Owner& owner) noexcept {
  if ((entry.flags & ConnEntry::ASSURED) != 0) return;
  List& list = owner.listOf(entry.connClass(), entry.peers());
  const uint32_t previous = entry.previous();
  const uint32_t next = entry.next();
  (previous == NONE ? list.oldest : entries_[previous].next()) = next;
  (next == NONE ? list.newest : entries_[next].previous()) = previous;
  if (entry.connClass() != ConnClass::Closing) --owner.loose[entry.peers()];
}

inline uint32_t ConnTable::peersOf(const ConnKey& key, uint8_t remoteEnd) const noexcept {
  static_assert(PEERS == 64);
  const bool v4 = static_cast<uint8_t>(key.words[4] >> 40) == 4;
  return static_cast<uint32_t>(addressHash_.ofNetwork(key.words[size_t{2} * remoteEnd], v4) >> 58);
}

inline bool ConnTable::index(uint32_t home, uint64_t hash, uint32_t number) noexcept {
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    Bucket& bucket = buckets_[after(home, probe)];
    const uint32_t free = bucket.slotsWith(0);
    if (free == 0) continue;
    const auto slot = static_cast<size_t>(std::countr_zero(free));
    bucket.tags[slot] = sluiceTagOf(hash);
    bucket.entries[slot] = number;
    if (probe > 0) ++buckets_[home].spilled;
    return true;
  }
  return false;
}

ConnEntry* ConnTable::insert(const ConnName& name, const ConnHint& hint, ConnCharge charge,
                             uint64_t nowUs, DropReason* reason) noexcept {
  if (limit_ != entriesMax_) [[unlikely]]
    lookForMemory();
  Owner& owner = owners_[charge.owner];
  if (owner.count >= owner.quota && !makeRoom(owner, nowUs)) {
    add(owner.refused, uint64_t{1});
    *reason = owner.attached ? DropReason::ConnectionQuota : DropReason::ConntrackFull;
    return nullptr;
  }
  if ((size_ >= limit_ && !makeRoomInTable(owner, nowUs)) || isOut()) {
    *reason = DropReason::ConntrackFull;
    return nullptr;
  }
  const uint32_t home = homeOf(hint.hash);
  if (!index(home, hint.hash, nextFree()) &&
      (!makeRoomNear(home, nowUs) || !index(home, hint.hash, nextFree()))) {
    *reason = DropReason::ConntrackFull;
    return nullptr;
  }
  const uint32_t number = nextFree();
  ConnEntry& entry = entries_[number];
  if (free_ != NONE) {
    free_ = entry.next();
  } else if ((++placesUsed_ & (PREPARED_EACH - 1)) == 0 && room_ != nullptr) {
    room_->prepare(placesUsed_);
  }
  add(size_, 1u);
  add(owner.count, 1u);

  const uint32_t peers = peersOf(name.key, charge.remoteEnd);
  entry.begin(name, home, peers, charge.owner);
  linkLast(entry, number, owner.unanswered[peers]);
  ++owner.loose[peers];
  return &entry;
}

void ConnTable::remove(ConnEntry& entry) noexcept {
  const uint32_t number = numberOf(entry);
  const uint32_t home = entry.home();
  for (uint32_t probe = 0; probe < PROBE_BUCKETS && !buckets_[after(home, probe)].forget(number);
       ++probe) {
    // The entry is in a later bucket then.
    if (probe == 0) --buckets_[home].spilled;
  }
  leave(entry, number);
}

// Ends a connection that no bucket lists any more.
inline void ConnTable::leave(ConnEntry& entry, uint32_t number) noexcept {
  if (entry.shared == 0) [[likely]]
    endTally(entry);
  Owner& owner = owners_[entry.owner];
  unlink(entry, owner);
  add(owner.count, UINT32_MAX);
  if (owner.count == 0 && !owner.attached && entry.owner != NOBODY) --gone_;
  add(size_, UINT32_MAX);
  entry.expiresUs = 0;
  if (entry.shared != 0) [[unlikely]] {
    entry.enter(ConnState::None, 0);
    takeBack(entry);
    return;
  }
  noteClosed(entry);
  setFree(entry, number);
}

inline void ConnTable::noteClosed(const ConnEntry& entry) noexcept {
  if (closedCount_ == CLOSED_MAX) return;
  closed_[closedCount_++] = {entry.key, entry.packets(), entry.bytes(), entry.flags,
                             entry.auditedBy};
}

inline void ConnTable::setFree(ConnEntry& entry, uint32_t number) noexcept {
  entry.state = ConnState::None;
  entry.next() = free_;
  free_ = number;
}

void ConnTable::takeBack(ConnEntry& entry) noexcept {
  entry.takeBack();
  if (entry.leaving != 0) return;
  entry.leaving = 1;
  leaving_[leavingNext_++ % places_] = {periods_->next(), numberOf(entry)};
}

size_t ConnTable::reclaim() noexcept {
  size_t reclaimed = 0;
  while (leavingFirst_ != leavingNext_ && reclaimed < RECLAIMED_MAX) {
    const Leaving& first = leaving_[leavingFirst_ % places_];
    if (!periods_->isOver(first.period)) break;
    ++leavingFirst_;
    ++reclaimed;
    ConnEntry& entry = entries_[first.number];
    entry.leaving = 0;
    entry.shared = 0;
    if (entry.state != ConnState::None) continue;
    endTally(entry);
    noteClosed(entry);
    setFree(entry, first.number);
  }
  return reclaimed;
}

bool ConnTable::renew(ConnEntry& entry, uint64_t nowUs) noexcept {
  const uint64_t seenUs = entry.seenUs();
  if (entry.protocol() == PROTOCOL_TCP) {
    settle(entry, tcpClassOf(entry));
  } else if (entry.state == ConnState::Replied) {
    settleOther(entry, entry.opener(), seenUs);
    if (entry.connClass() == ConnClass::Unanswered) settle(entry, ConnClass::Unassured);
  }
  entry.expiresUs = seenUs + timeoutOf(entry);
  return entry.expiresUs > nowUs;
}

void ConnTable::countFor(ConnEntry& entry, uint32_t hits) noexcept {
  hits_.hold(hits);
  hits_.release(entry.ends[0].hits);
  entry.ends[0].hits = hits;
}

void ConnTable::addUntallied(const ConnEntry& entry) noexcept {
  Tally more = {entry.packets(), 0};
  if (more.packets == 0) return;
  more.bytes = entry.bytes();
  if (entry.tallied != 0) {
    const Tally& before = tallies_[numberOf(entry)];
    more.packets -= before.packets;
    more.bytes -= before.bytes;
    if (more.packets == 0) return;
  }
  const uint64_t lastUs = std::max({activeUs(entry), entry.ends[0].seenUs, entry.ends[1].seenUs});
  hits_.add(entry.ends[0].hits, more.packets, more.bytes, lastUs);
}

void ConnTable::endTally(ConnEntry& entry) noexcept {
  addUntallied(entry);
  hits_.release(entry.ends[0].hits);
}

void ConnTable::tally(ConnEntry& entry) noexcept {
  addUntallied(entry);
  skipTally(entry);
}

void ConnTable::skipTally(ConnEntry& entry) noexcept {
  tallies_[numberOf(entry)] = {entry.packets(), entry.bytes()};
  entry.tallied = 1;
}

void ConnTable::settle(ConnEntry& entry, ConnClass to) noexcept {
  if (entry.connClass() == to) return;
  Owner& owner = owners_[entry.owner];
  unlink(entry, owner);
  entry.standing = static_cast<uint16_t>(to) & 3;
  if (to == ConnClass::Assured) {
    entry.changeFlags(0, ConnEntry::ASSURED);
    return;
  }
  entry.changeFlags(ConnEntry::ASSURED, 0);
  linkLast(entry, numberOf(entry), owner.listOf(to, entry.peers()));
  if (to != ConnClass::Closing) ++owner.loose[entry.peers()];
}

void ConnTable::settleTcp(ConnEntry& entry, uint8_t sender) noexcept {
  // Only a finished handshake proves that the other end is there; if the start was not seen, its
  // answer does.
  if (entry.state == ConnState::Established &&
      ((entry.flags & ConnEntry::NO_WINDOW) == 0 || sender != entry.opener())) {
    entry.changeFlags(ConnEntry::UNREPLIED, 0);
  }
  settle(entry, tcpClassOf(entry));
}

void ConnTable::settleOther(ConnEntry& entry, uint8_t sender, uint64_t nowUs) noexcept {
  if (entry.state == ConnState::Unreplied) {
    if (sender == entry.opener()) return;
    entry.enter(ConnState::Replied, ConnEntry::UNREPLIED);
    settle(entry, ConnClass::Unassured);
  } else if (entry.livedMs(nowUs) > ASSURED_AFTER_MS && entry.protocol() != PROTOCOL_ICMP &&
             entry.protocol() != PROTOCOL_ICMPV6) {
    settle(entry, ConnClass::Assured);
  }
}

// Of a shared table, a program may have moved the oldest one to another class.
ConnEntry* ConnTable::oldestOf(const List& list, uint64_t nowUs) noexcept {
  for (;;) {
    const uint32_t number = list.oldest;
    if (number == NONE) return nullptr;
    ConnEntry& entry = entries_[number];
    if (entry.shared == 0) return &entry;
    (void)renew(entry, nowUs);
    if (list.oldest == number) return &entry;
  }
}

ConnEntry* ConnTable::firstToGo(const Owner& owner, uint64_t nowUs) noexcept {
  if (ConnEntry* const closing = oldestOf(owner.closing, nowUs); closing != nullptr) return closing;
  const auto longest = static_cast<uint32_t>(
      std::max_element(owner.loose.begin(), owner.loose.end()) - owner.loose.begin());
  const uint32_t all = std::accumulate(owner.loose.begin(), owner.loose.end(), uint32_t{0});
  // One remote prefix has more than its share.
  if (owner.loose[longest] > all / 4) return firstOfPeers(owner, longest, nowUs);

  // No prefix has: evict the oldest entry of a few longer lists. Comparing all lists would take too
  // long.
  ConnEntry* first = nullptr;
  uint32_t seen = 0;
  for (uint32_t step = 0; step < PEERS && seen < LISTS_COMPARED; ++step) {
    const uint32_t peers = (peersTurn_ + step) % PEERS;
    if (owner.loose[peers] == 0 || owner.loose[peers] < all / (2 * PEERS)) continue;
    ConnEntry* const each = firstOfPeers(owner, peers, nowUs);
    if (first == nullptr || silenceUs(*each, nowUs) > silenceUs(*first, nowUs)) first = each;
    ++seen;
  }
  peersTurn_ = (peersTurn_ + 1) % PEERS;
  return first;
}

ConnEntry* ConnTable::firstOfPeers(const Owner& owner, uint32_t peers, uint64_t nowUs) noexcept {
  ConnEntry* const unanswered = oldestOf(owner.unanswered[peers], nowUs);
  ConnEntry* const answered = oldestOf(owner.unassured[peers], nowUs);
  if (answered == nullptr) return unanswered;
  if (unanswered == nullptr) return answered;
  if (unanswered->expiresUs <= nowUs) return unanswered;
  return silenceUs(*answered, nowUs) > ANSWER_WORTH * silenceUs(*unanswered, nowUs) ? answered
                                                                                    : unanswered;
}

ConnTable::Owner* ConnTable::largestOwner(bool aboveShare) noexcept {
  Owner* largest = nullptr;
  for (uint16_t number = 0; number < ownersUsed_; ++number) {
    Owner& owner = owners_[number];
    if (aboveShare && owner.count <= shareOf(owner)) continue;
    if (largest != nullptr && owner.count <= largest->count) continue;
    const bool gives =
        owner.closing.oldest != NONE || std::any_of(owner.loose.begin(), owner.loose.end(),
                                                    [](uint32_t loose) { return loose > 0; });
    if (gives) largest = &owner;
  }
  return largest;
}

ConnEntry* ConnTable::nextSwept() noexcept {
  if (sweep_ >= placesUsed_) sweep_ = 0;
  ConnEntry& entry = entries_[sweep_++];
  return entry.state == ConnState::None ? nullptr : &entry;
}

bool ConnTable::isOver(ConnEntry& entry, uint64_t nowUs) noexcept {
  const bool isLate = entry.shared != 0 ? !renew(entry, nowUs) : entry.expiresUs <= nowUs;
  return isLate || (gone_ > 0 && entry.owner != NOBODY && !owners_[entry.owner].attached);
}

void ConnTable::removeOver(ConnEntry& entry) noexcept {
  remove(entry);
  ++timedOut_;
}

void ConnTable::evict(ConnEntry& entry, uint64_t nowUs) noexcept {
  if (isOver(entry, nowUs)) {
    removeOver(entry);
    return;
  }
  add(evicted_[entry.standing], uint64_t{1});
  add(owners_[entry.owner].evicted, uint64_t{1});
  remove(entry);
}

bool ConnTable::makeRoom(Owner& owner, uint64_t nowUs) noexcept {
  if (ConnEntry* const own = firstToGo(owner, nowUs); own != nullptr) {
    evict(*own, nowUs);
    return true;
  }
  for (uint32_t step = 0; step < ROOM_SWEEP_ENTRIES; ++step) {
    ConnEntry* const entry = nextSwept();
    if (entry == nullptr || &owners_[entry->owner] != &owner || !isOver(*entry, nowUs)) continue;
    removeOver(*entry);
    return true;
  }
  // That may have settled some by what programs have noted.
  ConnEntry* const settled = isShared() ? firstToGo(owner, nowUs) : nullptr;
  if (settled != nullptr) evict(*settled, nowUs);
  return settled != nullptr;
}

bool ConnTable::makeRoomInTable(Owner& owner, uint64_t nowUs) noexcept {
  ConnEntry* lent = nullptr;
  for (uint32_t step = 0; step < ROOM_SWEEP_ENTRIES; ++step) {
    ConnEntry* const entry = nextSwept();
    if (entry == nullptr) continue;
    if (isOver(*entry, nowUs)) {
      removeOver(*entry);
      return true;
    }
    const Owner& other = owners_[entry->owner];
    if (other.attached && other.count > quota_) lent = entry;
  }
  const bool hasShare = owner.count < shareOf(owner);
  const Owner* from = hasShare ? largestOwner(true) : nullptr;
  ConnEntry* gives = from != nullptr ? firstToGo(*from, nowUs) : nullptr;
  // An assured connection, of an owner that got more than its present quota before other owners
  // joined.
  if (gives == nullptr && hasShare) gives = lent;
  if (gives == nullptr) gives = firstToGo(owner, nowUs);
  if (gives == nullptr && hasShare) {
    from = largestOwner(false);
    if (from != nullptr) gives = firstToGo(*from, nowUs);
  }
  if (gives == nullptr) return false;
  evict(*gives, nowUs);
  return true;
}

bool ConnTable::makeRoomNear(uint32_t home, uint64_t nowUs) noexcept {
  ConnEntry* first = nullptr;
  uint32_t firstStands = 0;
  for (uint32_t probe = 0; probe < PROBE_BUCKETS; ++probe) {
    for (const uint32_t number : buckets_[after(home, probe)].entries) {
      ConnEntry& entry = entries_[number];
      const bool over = isOver(entry, nowUs);
      if (!over && entry.connClass() == ConnClass::Assured) continue;
      const uint32_t stands = over ? 0 : entry.standing + 1;
      if (first != nullptr &&
          (stands > firstStands ||
           (stands == firstStands && silenceUs(entry, nowUs) <= silenceUs(*first, nowUs)))) {
        continue;
      }
      first = &entry;
      firstStands = stands;
    }
  }
  if (first == nullptr) return false;
  evict(*first, nowUs);
  return true;
}

size_t ConnTable::expire(uint64_t nowUs, size_t steps) noexcept {
  size_t count = 0;
  size_t left = std::min<size_t>(steps, placesUsed_);
  // Of a shared table, programs may have noted what makes a time longer, or shorter.
  const uint64_t latestUs = isShared() || gone_ > 0 ? UINT64_MAX : nowUs;
  while (left > 0) {
    if (sweep_ >= placesUsed_) sweep_ = 0;
    const size_t run = std::min<size_t>(left, placesUsed_ - sweep_);
    ConnEntry* entry = &entries_[sweep_];
    ConnEntry* const end = entry + run;
    for (; entry != end; ++entry) {
      // A free place counts as timed out, too.
      if (entry->expiresUs > latestUs) continue;
      if (entry->state == ConnState::None || !isOver(*entry, nowUs)) continue;
      remove(*entry);
      ++count;
    }
    sweep_ += static_cast<uint32_t>(run);
    left -= run;
  }
  timedOut_ += count;
  return count;
}

}  // namespace sluice
