#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "native/bench/bench.h"
#include "native/bench/flows.h"
#include "native/conntrack/conn-table.h"

namespace sluice::bench {
namespace {

constexpr size_t BATCH = BATCH_FRAMES_MAX;
constexpr size_t LOOKUPS = 1'000'000;
constexpr uint32_t FLOWS_COLLIDING_MAX = 8'000;
// Names are chosen by these bits of the hash, which give a name's place in the table.
constexpr uint64_t CHOSEN_BITS = 0x7ff;
constexpr int CHOSEN_SHIFT = 21;

constexpr HashSecret OURS = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
constexpr HashSecret GUESSED = {};

class CollidingBench : public Bench {
 public:
  // False when the table takes fewer of the names than it should.
  bool fill(uint32_t flows, bool chosen) {
    const ConnHash guessed(GUESSED);
    std::vector<ConnName> names;
    Random random;
    for (uint32_t flow = 0; flow < FLOWS_MAX && names.size() < flows; ++flow) {
      const FlowKey key = flowKeyOf(chosen ? flow : random.below(FLOWS_MAX));
      const ConnName name = connNameOf(key, IcmpRole::None, 0, 0);
      if (chosen && (guessed.one(name.key) >> CHOSEN_SHIFT & CHOSEN_BITS) != 0) continue;
      names.push_back(name);
    }
    if (!ConnTable::create(65'536, OURS, &table_).ok()) return false;
    for (const ConnName& name : names) {
      if (table_.find(name, table_.hintOf(name), 1) != nullptr) continue;
      DropReason reason;
      ConnEntry* entry = table_.insert(name, table_.hintOf(name), {}, 1, &reason);
      if (entry == nullptr) return false;
      entry->state = ConnState::Established;
      entry->expiresUs = UINT64_MAX;
      table_.settle(*entry, ConnClass::Assured);
    }
    if (names.size() < flows) return false;
    wanted_.reserve(LOOKUPS);
    for (size_t at = 0; at < LOOKUPS; ++at) wanted_.push_back(names[random.below(flows)]);
    return true;
  }

  Measured run() noexcept override {
    return measure(LOOKUPS, BATCH, [this](size_t first, size_t count) {
      table_.prepare({&wanted_[first], count}, hints_.data());
      uint64_t found = 0;
      for (size_t at = 0; at < count; ++at) {
        found += table_.find(wanted_[first + at], hints_[at], 1) != nullptr ? 1 : 0;
      }
      return found;
    });
  }

  [[nodiscard]] size_t memoryBytes() const noexcept override { return table_.memoryBytes(); }

 private:
  ConnTable table_;
  std::vector<ConnName> wanted_;
  std::array<ConnHint, BATCH> hints_;
};

}  // namespace

std::unique_ptr<Bench> makeCollidingBench(std::span<const char* const> words) {
  const long flows = words.size() == 2 ? std::strtol(words[0], nullptr, 10) : 0;
  const bool chosen = words.size() == 2 && std::string_view(words[1]) == "chosen";
  if (flows < 1 || flows > FLOWS_COLLIDING_MAX) {
    std::fputs("want FLOWS random|chosen\n", stderr);
    return nullptr;
  }
  auto bench = std::make_unique<CollidingBench>();
  if (!bench->fill(static_cast<uint32_t>(flows), chosen)) {
    std::fputs("the table does not take what it should\n", stderr);
    return nullptr;
  }
  return bench;
}

}  // namespace sluice::bench
