#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "native/bench/bench.h"
#include "native/bench/flows.h"
#include "native/conntrack/conn-table.h"
#include "native/layout/layout.gen.h"

namespace sluice::bench {
namespace {

constexpr size_t BATCH = BATCH_FRAMES_MAX;
constexpr long LOOKUPS = 1'000'000;
// The flows from here on are not in the table: they are the new connections.
constexpr uint32_t NEW_FIRST = FLOWS_MAX / 2;
constexpr uint64_t NOW_US = 1;
constexpr uint64_t FAR_US = UINT64_MAX;

// A flow to find, in the 16 bytes that an IPv4 flow needs. Names are made from these a batch at a
// time, as the filter makes them from frames. So reading the list costs no more than in a compared
// program with 16-byte keys.
struct Wanted {
  uint32_t lower;
  uint32_t higher;
  uint64_t rest;
};

Wanted packed(const ConnName& name) {
  const auto& words = name.key.words;
  return {static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[2]), words[4]};
}

void unpack(const Wanted& wanted, ConnName* name) {
  name->key.words[0] = wanted.lower;
  name->key.words[2] = wanted.higher;
  name->key.words[4] = wanted.rest;
}

enum class TrackWay : uint8_t { Single, Batch, Open, Sweep };

class ConntrackBench : public ListBench {
 public:
  explicit ConntrackBench(TrackWay way) : way_(way) {}

  // Fills the table, and draws the connections to find, each with the same probability.
  bool fill(uint32_t flows, size_t lookups) {
    // Half as much room again: a full table would refuse connections.
    const HashSecret secret = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    if (!ConnTable::create(flows + flows / 2 + 64, secret, &table_).ok()) return false;
    for (uint32_t flow = 0; flow < flows; ++flow) {
      const ConnName name = connNameOf(flowKeyOf(flow), IcmpRole::None, 0, 0);
      DropReason reason;
      ConnEntry* entry = table_.insert(name, table_.hintOf(name), {}, NOW_US, &reason);
      if (entry == nullptr) continue;  // shows in the sum of answers
      entry->state = ConnState::Established;
      entry->expiresUs = FAR_US;
      table_.settle(*entry, ConnClass::Assured);
    }
    wanted_.reserve(lookups);
    Random random;
    for (size_t at = 0; at < lookups; ++at) {
      const FlowKey key =
          flowKeyOf(way_ == TrackWay::Open ? NEW_FIRST + static_cast<uint32_t>(at) % NEW_FIRST
                                           : random.below(flows));
      const FlowKey& packet = random.below(2) == 0 ? key : reversed(key);
      wanted_.push_back(packed(connNameOf(packet, IcmpRole::None, 0, 0)));
    }
    return true;
  }

  [[nodiscard]] size_t memoryBytes() const noexcept override { return table_.memoryBytes(); }

 private:
  [[nodiscard]] size_t items() const noexcept override { return wanted_.size(); }
  uint64_t work(size_t first, size_t count) noexcept override {
    switch (way_) {
      case TrackWay::Single:
        return each(first, count);
      case TrackWay::Batch:
        return together(first, count);
      case TrackWay::Open:
        return open(first, count);
      case TrackWay::Sweep:
        return table_.expire(NOW_US, count);
    }
    return 0;
  }

  uint64_t together(size_t first, size_t count) noexcept {
    askAhead(wanted_.data(), wanted_.size(), first, count);
    for (size_t at = 0; at < count; ++at) unpack(wanted_[first + at], &names_[at]);
    table_.prepare({names_.data(), count}, hints_.data());
    uint64_t found = 0;
    for (size_t at = 0; at < count; ++at) {
      found += table_.find(names_[at], hints_[at], NOW_US) != nullptr ? 1 : 0;
    }
    return found;
  }

  uint64_t each(size_t first, size_t count) noexcept {
    askAhead(wanted_.data(), wanted_.size(), first, count);
    uint64_t found = 0;
    for (size_t at = first; at < first + count; ++at) {
      ConnName& name = names_[0];
      unpack(wanted_[at], &name);
      found += table_.find(name, table_.hintOf(name), NOW_US) != nullptr ? 1 : 0;
    }
    return found;
  }

  // A batch of unknown connections: each is inserted and removed at once, so that the table stays
  // the same.
  uint64_t open(size_t first, size_t count) noexcept {
    for (size_t at = 0; at < count; ++at) unpack(wanted_[first + at], &names_[at]);
    table_.prepare({names_.data(), count}, hints_.data());
    uint64_t opened = 0;
    for (size_t at = 0; at < count; ++at) {
      if (table_.find(names_[at], hints_[at], NOW_US) != nullptr) continue;
      DropReason reason;
      ConnEntry* entry = table_.insert(names_[at], hints_[at], {}, NOW_US, &reason);
      if (entry == nullptr) continue;
      entry->state = ConnState::Unreplied;
      entry->expiresUs = FAR_US;
      table_.remove(*entry);
      ++opened;
    }
    table_.forgetClosed();
    return opened;
  }

  TrackWay way_;
  ConnTable table_;
  std::vector<Wanted> wanted_;
  std::array<ConnName, BATCH> names_;
  std::array<ConnHint, BATCH> hints_;
};

}  // namespace

std::unique_ptr<Bench> makeConntrackBench(std::span<const char* const> words) {
  constexpr std::array<std::string_view, 4> WAYS = {"single", "batch", "open", "sweep"};
  const bool fits = words.size() == 2 || words.size() == 3;
  const long flows = fits ? std::strtol(words[0], nullptr, 10) : 0;
  const long lookups = words.size() == 3 ? std::strtol(words[2], nullptr, 10) : LOOKUPS;
  const auto* way = std::find(WAYS.begin(), WAYS.end(), fits ? words[1] : "");
  if (flows < 1 || flows > FLOWS_MAX || lookups < 1 || lookups > LOOKUPS || way == WAYS.end()) {
    std::fputs("want FLOWS single|batch|open|sweep [LOOKUPS]\n", stderr);
    return nullptr;
  }
  auto bench = std::make_unique<ConntrackBench>(static_cast<TrackWay>(way - WAYS.begin()));
  if (!bench->fill(static_cast<uint32_t>(flows), static_cast<size_t>(lookups))) {
    std::fputs("there is no memory for so many flows\n", stderr);
    return nullptr;
  }
  return bench;
}

}  // namespace sluice::bench
