#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "native/bench/bench.h"
#include "native/bench/flows.h"
#include "native/bench/frame-slot.h"
#include "native/bench/read-file.h"
#include "native/worker/filter.h"

namespace sluice::bench {
namespace {

constexpr size_t BATCH = BATCH_FRAMES_MAX;
// Packets of the flood between a new client's SYN and its answer: a few milliseconds' worth.
constexpr uint32_t ANSWER_AFTER = 8'192;

class FloodBench : public Bench {
 public:
  explicit FloodBench(uint32_t syns) : syns_(syns) {}

  bool open(std::span<const std::byte> blob, uint32_t connections) {
    const std::array<uint32_t, 1> links = {0};
    uint32_t generation = 0;
    FilterOptions options;
    options.connectionsMax = connections;
    options.hashSecret = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    if (!tables_.publish(blob, links, &generation).ok() ||
        !Filter::create(options, &filter_).ok()) {
      return false;
    }
    table_ = tables_.read(0);
    inside_.endpointId = 0;
    inside_.wire = true;
    outside_ = inside_;
    outside_.linkId = 1;
    outside_.endpointId = 0;
    outside_.role = LinkRole::Uplink;
    bool open = true;
    for (uint32_t flow = 0; flow < FLOOD_ESTABLISHED; ++flow) {
      open = begins(flow) && completes(flow) && open;
    }
    return open;
  }

  Measured run() noexcept override {
    Measured measured;
    Histogram histogram;
    const uint32_t legitimateEvery = std::max<uint32_t>(syns_ / FLOOD_LEGITIMATE, BATCH);
    uint64_t floodNs = 0;
    uint32_t begun = 0;
    uint32_t completed = 0;
    for (uint32_t sent = 0; sent < syns_; sent += BATCH) {
      if (begun < FLOOD_LEGITIMATE && sent >= begun * legitimateEvery) {
        (void)begins(legitimate(begun++));
      }
      while (completed < begun && sent >= completed * legitimateEvery + ANSWER_AFTER) {
        measured.answers += completes(legitimate(completed++)) ? 1 : 0;
      }
      floodNs += flood(histogram);
    }
    while (completed < begun) measured.answers += completes(legitimate(completed++)) ? 1 : 0;
    for (uint32_t flow = 0; flow < FLOOD_ESTABLISHED; ++flow) {
      measured.answers += goesOn(flow) ? 1 : 0;
    }
    // Gives the next run other new clients: only the first thousand stay.
    round_ = (round_ + 1) % ROUNDS;
    measured.nsPerItem = static_cast<double>(floodNs) / static_cast<double>(syns_);
    measured.p50 = static_cast<double>(histogram.percentile(0.5)) / BATCH;
    measured.p99 = static_cast<double>(histogram.percentile(0.99)) / BATCH;
    return measured;
  }

  [[nodiscard]] size_t memoryBytes() const noexcept override { return 0; }

 private:
  static constexpr uint32_t ROUNDS = 64;
  static constexpr uint32_t FLOOD_FIRST = FLOOD_ESTABLISHED + ROUNDS * FLOOD_LEGITIMATE;

  [[nodiscard]] uint32_t legitimate(uint32_t number) const noexcept {
    return FLOOD_ESTABLISHED + round_ * FLOOD_LEGITIMATE + number;
  }

  bool passes(const FlowKey& key, const LinkContext& from, uint8_t flags, uint32_t sequence,
              uint32_t acknowledgement) noexcept {
    FrameSlot slot;
    slot.write(key, flags, sequence, acknowledgement);
    return filter_->judge(slot.frame(), from, *table_, nowUs_).passes();
  }
  bool begins(uint32_t flow) noexcept {
    return passes(flowKeyOf(flow), outside_, TCP_SYN, 1'000, 0);
  }
  bool completes(uint32_t flow) noexcept {
    const FlowKey key = flowKeyOf(flow);
    return passes(reversed(key), inside_, TCP_SYN | TCP_ACK, 5'000, 1'001) &&
           passes(key, outside_, TCP_ACK, 1'001, 5'001);
  }
  bool goesOn(uint32_t flow) noexcept {
    const FlowKey key = flowKeyOf(flow);
    return passes(reversed(key), inside_, TCP_ACK, 5'001, 1'001) &&
           passes(key, outside_, TCP_ACK, 1'001, 5'001);
  }

  // Sends a batch and expires connections, as a worker's round does. Returns the time that it took.
  uint64_t flood(Histogram& histogram) noexcept {
    std::array<Frame, BATCH> frames;
    for (size_t at = 0; at < BATCH; ++at) {
      slots_[at].write(flowKeyOf(FLOOD_FIRST + next_), TCP_SYN, next_, 0);
      frames[at] = slots_[at].frame();
      next_ = (next_ + 1) % (FLOWS_MAX - FLOOD_FIRST);
    }
    const uint64_t before = nowNs();
    filter_->judgeBatch(frames, outside_, *table_, nowUs_, judgements_.data());
    filter_->expire(nowUs_, BATCH);
    filter_->forgetClosed();
    const uint64_t took = nowNs() - before;
    histogram.add(took);
    nowUs_ += 10;
    return took;
  }

  uint32_t syns_;
  uint32_t next_ = 0;
  uint32_t round_ = 0;
  uint64_t nowUs_ = 1;
  TableSlot tables_{1};
  const TableInForce* table_ = nullptr;
  std::unique_ptr<Filter> filter_;
  LinkContext inside_;
  LinkContext outside_;
  std::array<FrameSlot, BATCH> slots_;
  std::array<Judgement, BATCH> judgements_;
};

}  // namespace

std::unique_ptr<Bench> makeFloodBench(std::span<const char* const> words) {
  const long syns = words.size() == 3 ? std::strtol(words[1], nullptr, 10) : 0;
  const long connections = words.size() == 3 ? std::strtol(words[2], nullptr, 10) : 0;
  if (syns < 1 || syns > FLOWS_MAX || connections < 2 * FLOOD_ESTABLISHED) {
    std::fputs("want TABLE SYNS CONNECTIONS\n", stderr);
    return nullptr;
  }
  std::vector<std::byte> blob;
  if (!readFile(words[0], &blob)) return nullptr;
  auto bench = std::make_unique<FloodBench>(static_cast<uint32_t>(syns));
  if (!bench->open(blob, static_cast<uint32_t>(connections))) {
    std::fprintf(stderr, "%s: the filter refuses what it should let pass\n", words[0]);
    return nullptr;
  }
  return bench;
}

}  // namespace sluice::bench
