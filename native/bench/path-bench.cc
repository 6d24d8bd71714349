#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "native/bench/bench.h"
#include "native/bench/flows.h"
#include "native/bench/frame-slot.h"
#include "native/bench/read-file.h"
#include "native/worker/filter.h"

namespace sluice::bench {
namespace {

constexpr size_t BATCH = BATCH_FRAMES_MAX;
constexpr long FRAMES = 512 * 1024;
constexpr uint64_t NOW_US = 1;
constexpr uint32_t INSIDE = 0;
constexpr uint32_t OUTSIDE = 1;

enum class PathWay : uint8_t { Parse, Single, Batch };

class PathBench : public ListBench {
 public:
  PathBench(PathWay way, size_t frames) : slots_(frames), way_(way) {}

  // Puts the table in force and opens every connection. False when the filter refused a packet.
  bool open(std::span<const std::byte> blob, uint32_t flows) {
    const std::array<uint32_t, 1> links = {INSIDE};
    uint32_t generation = 0;
    FilterOptions options;
    options.connectionsMax = flows + flows / 2 + 64;
    options.hashSecret = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    if (!tables_.publish(blob, links, &generation).ok() ||
        !Filter::create(options, &filter_).ok()) {
      return false;
    }
    table_ = tables_.read(0);
    inside_.linkId = INSIDE;
    inside_.endpointId = 0;
    inside_.wire = true;
    outside_ = inside_;
    outside_.linkId = OUTSIDE;
    outside_.role = LinkRole::Uplink;

    bool passed = true;
    const auto say = [&](const FlowKey& key, const LinkContext& from, uint8_t flags,
                         uint32_t sequence, uint32_t acknowledgement) {
      FrameSlot slot;
      slot.write(key, flags, sequence, acknowledgement);
      passed = passed && filter_->judge(slot.frame(), from, *table_, NOW_US).passes();
    };
    for (uint32_t flow = 0; flow < flows; ++flow) {
      const FlowKey key = flowKeyOf(flow);
      say(key, outside_, TCP_SYN, 1'000, 0);
      say(reversed(key), inside_, TCP_SYN | TCP_ACK, 5'000, 1'001);
      say(key, outside_, TCP_ACK, 1'001, 5'001);
    }
    // Batches come from one link each, the two in turn.
    Random random;
    frames_.reserve(slots_.size());
    for (size_t at = 0; at < slots_.size(); ++at) {
      const FlowKey key = flowKeyOf(random.below(flows));
      if (fromInside(at)) {
        slots_[at].write(reversed(key), TCP_ACK, 5'001, 1'001);
      } else {
        slots_[at].write(key, TCP_ACK, 1'001, 5'001);
      }
      frames_.push_back(slots_[at].frame());
    }
    return passed;
  }

  // The frames apart: the same in every way.
  [[nodiscard]] size_t memoryBytes() const noexcept override { return 0; }

 private:
  static bool fromInside(size_t at) noexcept { return at / BATCH % 2 == 1; }

  [[nodiscard]] size_t items() const noexcept override { return frames_.size(); }
  uint64_t work(size_t first, size_t count) noexcept override {
    const LinkContext& from = fromInside(first) ? inside_ : outside_;
    uint64_t passed = 0;
    if (way_ == PathWay::Parse) {
      for (size_t at = first; at < first + count; ++at) {
        PacketView view;
        DropReason reason = parsePacket(frames_[at], &view);
        if (reason == DropReason::None) reason = parseTransport(&view);
        if (reason == DropReason::None) reason = checkOffload(frames_[at], view);
        passed += reason == DropReason::None && view.key.sourcePort != 0 ? 1 : 0;
      }
    } else if (way_ == PathWay::Single) {
      for (size_t at = first; at < first + count; ++at) {
        passed += filter_->judge(frames_[at], from, *table_, NOW_US).passes() ? 1 : 0;
      }
    } else {
      filter_->judgeBatch({&frames_[first], count}, from, *table_, NOW_US, judgements_.data());
      for (size_t at = 0; at < count; ++at) passed += judgements_[at].passes() ? 1 : 0;
    }
    return passed;
  }

  std::vector<FrameSlot> slots_;
  std::vector<Frame> frames_;
  PathWay way_;
  TableSlot tables_{1};
  const TableInForce* table_ = nullptr;
  std::unique_ptr<Filter> filter_;
  LinkContext inside_;
  LinkContext outside_;
  std::array<Judgement, BATCH> judgements_;
};

}  // namespace

std::unique_ptr<Bench> makePathBench(std::span<const char* const> words) {
  const bool fits = words.size() == 3 || words.size() == 4;
  const long flows = fits ? std::strtol(words[1], nullptr, 10) : 0;
  const long frames = words.size() == 4 ? std::strtol(words[3], nullptr, 10) : FRAMES;
  if (flows < 1 || flows > FLOWS_MAX || frames < 1 || frames > FRAMES) {
    std::fputs("want TABLE FLOWS parse|single|batch [FRAMES]\n", stderr);
    return nullptr;
  }
  std::vector<std::byte> blob;
  if (!readFile(words[0], &blob)) return nullptr;
  const std::string_view name = words[2];
  const PathWay way = name == "parse"    ? PathWay::Parse
                      : name == "single" ? PathWay::Single
                                         : PathWay::Batch;
  auto bench = std::make_unique<PathBench>(way, static_cast<size_t>(frames));
  if (!bench->open(blob, static_cast<uint32_t>(flows))) {
    std::fprintf(stderr, "%s: the filter refuses what it should let pass\n", words[0]);
    return nullptr;
  }
  return bench;
}

}  // namespace sluice::bench
