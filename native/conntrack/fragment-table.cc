#include "native/conntrack/fragment-table.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sluice {
namespace {

constexpr size_t RANGES_MAX = 8;
constexpr uint32_t LENGTH_UNKNOWN = UINT32_MAX;

// Bytes of a datagram, [start, end).
struct Range {
  uint16_t start = 0;
  uint16_t end = 0;
  bool operator==(const Range&) const = default;
};

// Other threads read what is counted.
template <typename Count>
void add(Count& count, Count amount) noexcept {
  __atomic_store_n(&count, static_cast<Count>(count + amount), __ATOMIC_RELAXED);
}

Range rangeOf(const PacketView& view) {
  return {view.fragmentOffset, static_cast<uint16_t>(view.fragmentOffset + view.l4Bytes)};
}

}  // namespace

struct alignas(64) FragmentTable::Datagram {
  Key key;
  uint64_t expiresUs = 0;
  FragmentVerdict verdict;
  uint32_t totalBytes = LENGTH_UNKNOWN;
  Range first;
  Range last;  // the last fragment, to recognize a copy of it
  std::array<Range, RANGES_MAX> ranges = {};
  uint32_t chained = 0;  // the next of its chain; of a free place, the next free one
  uint32_t older = 0;    // of its owner and remote network
  uint32_t newer = 0;
  uint16_t owner = ConnTable::NOBODY;
  uint8_t network = 0;
  uint8_t rangeCount = 0;
  bool localSends = true;
  bool overlapped = false;

  [[nodiscard]] bool isV4() const { return static_cast<uint8_t>(key.words[4] >> 40) == 4; }

  [[nodiscard]] uint64_t startedUs() const {
    return expiresUs - (isV4() ? FRAGMENT_TIMEOUT_V4_US : FRAGMENT_TIMEOUT_V6_US);
  }

  [[nodiscard]] bool isCopy(Range range) const { return range == first || range == last; }

  [[nodiscard]] bool overlaps(Range range) const {
    return std::any_of(ranges.begin(), ranges.begin() + rangeCount, [range](Range held) {
      return range.start < held.end && held.start < range.end;
    });
  }

  [[nodiscard]] uint32_t highest() const {
    uint32_t end = 0;
    for (size_t each = 0; each < rangeCount; ++each) {
      end = std::max<uint32_t>(end, ranges[each].end);
    }
    return end;
  }

  // Adds a range that overlaps no other and joins it to its neighbours; false when there is no room
  // for another gap.
  bool add(Range range) {
    size_t kept = 0;
    for (size_t each = 0; each < rangeCount; ++each) {
      if (ranges[each].end == range.start) {
        range.start = ranges[each].start;
      } else if (ranges[each].start == range.end) {
        range.end = ranges[each].end;
      } else {
        ranges[kept++] = ranges[each];
      }
    }
    if (kept == RANGES_MAX) return false;
    ranges[kept++] = range;
    rangeCount = static_cast<uint8_t>(kept);
    return true;
  }

  [[nodiscard]] bool whole() const {
    return rangeCount == 1 && ranges[0].start == 0 && ranges[0].end == totalBytes;
  }
};

FragmentTable::FragmentTable() noexcept = default;
FragmentTable::~FragmentTable() = default;
FragmentTable::FragmentTable(FragmentTable&&) noexcept = default;
FragmentTable& FragmentTable::operator=(FragmentTable&&) noexcept = default;

Status FragmentTable::create(uint32_t datagramsMax, const HashSecret& secret,
                             FragmentTable* table) noexcept {
  static_assert(sizeof(Datagram) == 128);
  if (datagramsMax == 0 || datagramsMax > FRAGMENTS_MAX) return {StatusCode::Argument};
  const uint32_t chains = std::bit_ceil(datagramsMax);
  FragmentTable made;
  if (!made.datagrams_.create(datagramsMax + 1) || !made.chains_.create(chains) ||
      !made.owners_.create(ConnTable::OWNERS_MAX) || !made.forgotten_.create()) {
    return {StatusCode::Limit};
  }
  made.secret_ = secret;
  made.addressHash_ = AddressHash(secret);
  made.datagramsMax_ = datagramsMax;
  made.chainMask_ = chains - 1;
  *table = std::move(made);
  return {};
}

void FragmentTable::attach(uint16_t owner) noexcept {
  if (owner == ConnTable::NOBODY || owners_[owner].attached) return;
  owners_[owner].attached = true;
  ownersUsed_ = std::max(ownersUsed_, static_cast<uint16_t>(owner + 1));
  ++attached_;
}

void FragmentTable::detach(uint16_t owner, uint64_t nowUs) noexcept {
  for (const uint32_t& oldest : owners_[owner].oldest) {
    while (oldest != 0) forget(datagrams_[oldest], nowUs);
  }
  if (!owners_[owner].attached) return;
  owners_[owner].attached = false;
  owners_[owner].evicted = 0;  // the next owner of this number has lost nothing
  --attached_;
}

FragmentUse FragmentTable::use(uint16_t owner) const noexcept {
  const Owner& of = owners_[owner];
  return {__atomic_load_n(&of.count, __ATOMIC_RELAXED), shareOf(owner),
          __atomic_load_n(&of.evicted, __ATOMIC_RELAXED)};
}

FragmentTable::Key FragmentTable::keyOf(const PacketView& view, uint8_t zone) noexcept {
  const FlowKey& flow = view.key;
  // IPv6 tells datagrams apart without the protocol (RFC 8200 section 4.5).
  const uint64_t protocol = flow.family == 4 ? flow.protocol : 0;
  Key key;
  std::memcpy(&key.words[0], flow.source.data(), 16);
  std::memcpy(&key.words[2], flow.destination.data(), 16);
  key.words[4] = uint64_t{view.fragmentId} | protocol << 32 | uint64_t{flow.family} << 40 |
                 uint64_t{zone} << 48;
  return key;
}

uint32_t& FragmentTable::chainOf(const Key& key) noexcept {
  return chains_[static_cast<uint32_t>(sipHash13(key.words, secret_)) & chainMask_];
}

FragmentTable::Datagram* FragmentTable::find(const PacketView& view, uint8_t zone,
                                             uint64_t nowUs) noexcept {
  const Key key = keyOf(view, zone);
  for (uint32_t number = chainOf(key); number != 0; number = datagrams_[number].chained) {
    Datagram& datagram = datagrams_[number];
    if (datagram.key != key) continue;
    if (datagram.expiresUs > nowUs) return &datagram;
    remove(datagram);
    return nullptr;
  }
  return nullptr;
}

DropReason FragmentTable::checkFirst(const PacketView& view, uint8_t zone,
                                     uint64_t nowUs) noexcept {
  Datagram* const underWay = find(view, zone, nowUs);
  if (underWay == nullptr) return DropReason::None;
  // An exact copy is dropped alone; any other overlap could replace bytes that were judged.
  if (!underWay->isCopy(rangeOf(view))) underWay->overlapped = true;
  return DropReason::FragmentOverlap;
}

uint32_t FragmentTable::shareOf(uint16_t owner) const noexcept {
  if (attached_ == 0) return datagramsMax_;
  return owners_[owner].attached ? std::max(datagramsMax_ / attached_, 1u) : 0;
}

FragmentTable::Datagram& FragmentTable::firstToGo(const Owner& owner) noexcept {
  const auto longest = static_cast<size_t>(
      std::max_element(owner.counts.begin(), owner.counts.end()) - owner.counts.begin());
  // One remote network has more than its share.
  if (owner.counts[longest] > owner.count / 4) return datagrams_[owner.oldest[longest]];

  // No network has: evict the oldest entry of a few longer lists.
  Datagram* first = nullptr;
  uint32_t seen = 0;
  for (uint32_t step = 0; step < NETWORKS && seen < LISTS_COMPARED; ++step) {
    const uint32_t network = (listsTurn_ + step) % NETWORKS;
    if (owner.counts[network] == 0 || owner.counts[network] < owner.count / (2 * NETWORKS)) {
      continue;
    }
    Datagram& each = datagrams_[owner.oldest[network]];
    if (first == nullptr || each.startedUs() < first->startedUs()) first = &each;
    ++seen;
  }
  listsTurn_ = (listsTurn_ + 1) % NETWORKS;
  return *first;
}

// Shape: the table is not empty.
uint16_t FragmentTable::mostAboveShare() const noexcept {
  const auto above = [this](uint16_t owner) {
    return int64_t{owners_[owner].count} - int64_t{shareOf(owner)};
  };
  uint16_t most = ConnTable::NOBODY;
  for (uint16_t owner = ConnTable::NOBODY; owner < ownersUsed_; ++owner) {
    if (owners_[owner].count == 0) continue;
    if (owners_[most].count == 0 || above(owner) > above(most)) most = owner;
  }
  return most;
}

void FragmentTable::makeRoom(uint16_t owner, uint64_t nowUs) noexcept {
  const uint32_t count = owners_[owner].count;
  const bool atShare = owners_[owner].attached && count >= shareOf(owner);
  if (!atShare && size_ < datagramsMax_) return;
  // An owner without datagrams may have one, even if its share is 0.
  const bool below = count == 0 || count < shareOf(owner);
  Datagram& gives = firstToGo(owners_[below ? mostAboveShare() : owner]);
  if (gives.expiresUs > nowUs) {
    add(evicted_, uint64_t{1});
    add(owners_[gives.owner].evicted, uint64_t{1});
  }
  forget(gives, nowUs);
}

void FragmentTable::admit(const PacketView& view, uint8_t zone, uint64_t nowUs,
                          FragmentCharge charge, const FragmentVerdict& verdict) noexcept {
  makeRoom(charge.owner, nowUs);
  const uint32_t number = free_ != 0 ? free_ : ++placesUsed_;
  Datagram& datagram = datagrams_[number];
  if (free_ != 0) free_ = datagram.chained;
  datagram = Datagram{};
  datagram.key = keyOf(view, zone);
  datagram.expiresUs =
      nowUs + (view.key.family == 4 ? FRAGMENT_TIMEOUT_V4_US : FRAGMENT_TIMEOUT_V6_US);
  datagram.verdict = verdict;
  datagram.first = rangeOf(view);
  datagram.last = datagram.first;
  datagram.ranges[0] = datagram.first;
  datagram.rangeCount = 1;
  datagram.owner = charge.owner;
  datagram.localSends = charge.localSends;
  const uint64_t remote = datagram.key.words[charge.localSends ? 2 : 0];
  static_assert(NETWORKS == 64);
  datagram.network =
      static_cast<uint8_t>(addressHash_.ofNetwork(remote, view.key.family == 4) >> 58);

  uint32_t& chain = chainOf(datagram.key);
  datagram.chained = chain;
  chain = number;
  Owner& owner = owners_[charge.owner];
  uint32_t& newest = owner.newest[datagram.network];
  datagram.older = newest;
  (newest == 0 ? owner.oldest[datagram.network] : datagrams_[newest].newer) = number;
  newest = number;
  ++owner.counts[datagram.network];
  add(owner.count, 1u);
  ++size_;
}

void FragmentTable::remove(Datagram& datagram) noexcept {
  const auto number = static_cast<uint32_t>(&datagram - datagrams_.get());
  uint32_t* link = &chainOf(datagram.key);
  while (*link != number) link = &datagrams_[*link].chained;
  *link = datagram.chained;
  Owner& owner = owners_[datagram.owner];
  (datagram.older == 0 ? owner.oldest[datagram.network] : datagrams_[datagram.older].newer) =
      datagram.newer;
  (datagram.newer == 0 ? owner.newest[datagram.network] : datagrams_[datagram.newer].older) =
      datagram.older;
  --owner.counts[datagram.network];
  add(owner.count, UINT32_MAX);
  --size_;
  datagram.chained = free_;
  free_ = number;
}

void FragmentTable::forget(Datagram& datagram, uint64_t nowUs) noexcept {
  if (datagram.expiresUs > nowUs) {
    const auto [source, destination] = hashesOf(datagram.key);
    const bool sends = datagram.localSends;
    forgotten_.note(ForgottenDatagrams::spotOf(sends ? source : destination,
                                               sends ? destination : source, sends),
                    datagram.verdict, datagram.expiresUs, nowUs);
  }
  remove(datagram);
}

FragmentVerdict& FragmentTable::verdictOf(Datagram& datagram) noexcept { return datagram.verdict; }

void FragmentTable::seal(Datagram& datagram) noexcept {
  datagram.overlapped = true;
  datagram.verdict.once = true;
}

DropReason FragmentTable::follow(const PacketView& view, Datagram* datagram,
                                 uint64_t nowUs) noexcept {
  // A TCP fragment at offset 8 would overwrite the flags of the first fragment, or hide the flags
  // from its judge.
  if (view.key.protocol == PROTOCOL_TCP && view.fragmentOffset == 8) {
    if (datagram != nullptr) datagram->overlapped = true;
    return DropReason::FragmentTiny;
  }
  if (datagram == nullptr) return DropReason::FragmentOrphan;
  if (datagram->overlapped) return DropReason::FragmentOverlap;

  const Range range = rangeOf(view);
  if (datagram->isCopy(range)) return DropReason::FragmentOverlap;
  const bool known = datagram->totalBytes != LENGTH_UNKNOWN;
  const bool beyond = known && range.end > datagram->totalBytes;
  const bool otherEnd = !view.moreFragments && (known ? range.end != datagram->totalBytes
                                                      : range.end < datagram->highest());
  if (datagram->overlaps(range) || beyond || otherEnd) {
    datagram->overlapped = true;
    return DropReason::FragmentOverlap;
  }
  if (!datagram->add(range)) return DropReason::FragmentFull;
  datagram->last = range;
  if (!view.moreFragments) datagram->totalBytes = range.end;
  if (datagram->whole()) forget(*datagram, nowUs);
  return DropReason::None;
}

}  // namespace sluice
