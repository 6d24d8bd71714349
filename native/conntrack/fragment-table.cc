#include "native/conntrack/fragment-table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace sluice {
namespace {

constexpr uint32_t DATAGRAMS_MAX = 1u << 20;
constexpr size_t RANGES_MAX = 8;
constexpr uint32_t LENGTH_UNKNOWN = UINT32_MAX;

// Bytes of a datagram, [start, end).
struct Range {
  uint16_t start = 0;
  uint16_t end = 0;
  bool operator==(const Range&) const = default;
};

Range rangeOf(const PacketView& view) {
  return {view.fragmentOffset, static_cast<uint16_t>(view.fragmentOffset + view.l4Bytes)};
}

}  // namespace

struct alignas(64) FragmentTable::Datagram {
  Key key;
  uint64_t expiresUs = 0;  // 0: free
  uint32_t totalBytes = LENGTH_UNKNOWN;
  uint8_t rangeCount = 0;
  bool overlapped = false;
  FragmentVerdict verdict;
  Range first;
  Range last;  // the fragment that came last, to know a copy of it
  std::array<Range, RANGES_MAX> ranges = {};

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

  // Adds a range that overlaps none, joined to its neighbours. False: no room for another gap.
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
  if (datagramsMax == 0 || datagramsMax > DATAGRAMS_MAX) return {StatusCode::Argument};
  const uint32_t slots = std::max(std::bit_ceil(datagramsMax), SET_SIZE);
  FragmentTable made;
  made.datagrams_.reset(new (std::nothrow) Datagram[slots]);
  if (made.datagrams_ == nullptr) return {StatusCode::Limit};
  made.secret_ = secret;
  made.setMask_ = slots / SET_SIZE - 1;
  *table = std::move(made);
  return {};
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

FragmentTable::Datagram* FragmentTable::setOf(const Key& key) noexcept {
  const uint64_t hash = sipHash13(key.words, secret_);
  return &datagrams_[(static_cast<uint32_t>(hash) & setMask_) * SET_SIZE];
}

FragmentTable::Datagram* FragmentTable::find(const Key& key, uint64_t nowUs) noexcept {
  Datagram* set = setOf(key);
  Datagram* found = std::find_if(set, set + SET_SIZE, [&](const Datagram& datagram) {
    return datagram.expiresUs > nowUs && datagram.key.words == key.words;
  });
  return found == set + SET_SIZE ? nullptr : found;
}

DropReason FragmentTable::reserve(const PacketView& view, uint8_t zone, uint64_t nowUs,
                                  Datagram** datagram) noexcept {
  const Key key = keyOf(view, zone);
  if (Datagram* underWay = find(key, nowUs); underWay != nullptr) {
    // A copy of a fragment is dropped alone; anything else could replace what was judged.
    if (!underWay->isCopy(rangeOf(view))) underWay->overlapped = true;
    return DropReason::FragmentOverlap;
  }
  Datagram* set = setOf(key);
  Datagram* room = std::find_if(set, set + SET_SIZE,
                                [nowUs](const Datagram& each) { return each.expiresUs <= nowUs; });
  if (room == set + SET_SIZE) return DropReason::FragmentFull;
  *datagram = room;
  return DropReason::None;
}

void FragmentTable::admit(const PacketView& view, uint8_t zone, uint64_t nowUs, Datagram* datagram,
                          const FragmentVerdict& verdict) noexcept {
  *datagram = Datagram{};
  datagram->verdict = verdict;
  datagram->key = keyOf(view, zone);
  datagram->expiresUs =
      nowUs + (view.key.family == 4 ? FRAGMENT_TIMEOUT_V4_US : FRAGMENT_TIMEOUT_V6_US);
  datagram->first = rangeOf(view);
  datagram->last = datagram->first;
  datagram->ranges[0] = datagram->first;
  datagram->rangeCount = 1;
}

FragmentVerdict* FragmentTable::verdictOf(const PacketView& view, uint8_t zone,
                                          uint64_t nowUs) noexcept {
  Datagram* datagram = find(keyOf(view, zone), nowUs);
  return datagram != nullptr ? &datagram->verdict : nullptr;
}

void FragmentTable::seal(const PacketView& view, uint8_t zone, uint64_t nowUs) noexcept {
  if (Datagram* datagram = find(keyOf(view, zone), nowUs)) datagram->overlapped = true;
}

DropReason FragmentTable::follow(const PacketView& view, uint8_t zone, uint64_t nowUs) noexcept {
  Datagram* datagram = find(keyOf(view, zone), nowUs);
  // TCP at offset 8 would rewrite the flags of the first one, or hide them from whoever judged it.
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
  if (datagram->whole()) datagram->expiresUs = 0;
  return DropReason::None;
}

}  // namespace sluice
