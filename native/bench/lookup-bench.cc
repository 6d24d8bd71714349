#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "native/bench/bench.h"
#include "native/bench/flows.h"
#include "native/bench/read-file.h"
#include "native/packet/bytes.h"
#include "native/table/classify.h"
#include "native/table/table-slot.h"

namespace sluice::bench {
namespace {

constexpr size_t BATCH = BATCH_FRAMES_MAX;

// Addresses in the parser's form and ports in the filter's form: one array for each field.
struct Flows {
  std::vector<uint32_t> sourcesV4;
  std::vector<uint32_t> destinationsV4;
  std::vector<AddressBytes> sourcesV6;
  std::vector<AddressBytes> destinationsV6;
  std::vector<uint32_t> ports;
  std::vector<uint8_t> protocols;
};

class LookupBench : public ListBench {
 public:
  LookupBench(TableBytes bytes, TableView view, Flows flows, uint8_t family, bool single,
              TableView::Way way)
      : bytes_(std::move(bytes)),
        view_(view),
        flows_(std::move(flows)),
        family_(family),
        single_(single),
        way_(way) {}

  [[nodiscard]] size_t memoryBytes() const noexcept override { return bytes_.span().size(); }

 private:
  [[nodiscard]] size_t items() const noexcept override { return flows_.ports.size(); }
  uint64_t work(size_t first, size_t count) noexcept override {
    return single_ ? each(first, count) : together(first, count);
  }

  uint64_t together(size_t first, size_t count) noexcept {
    std::array<uint32_t, BATCH> sources;
    std::array<uint32_t, BATCH> destinations;
    std::array<DeniedBy, BATCH> denied;
    prepareNext(first, count);
    if (family_ == 4) {
      view_.leavesOfV4({&flows_.sourcesV4[first], count}, sources.data(), way_);
      view_.leavesOfV4({&flows_.destinationsV4[first], count}, destinations.data(), way_);
    } else {
      view_.leavesOfV6({&flows_.sourcesV6[first], count}, sources.data());
      view_.leavesOfV6({&flows_.destinationsV6[first], count}, destinations.data());
    }
    view_.decideBatch(sources.data(), destinations.data(), &flows_.ports[first],
                      {denied.data(), count}, way_);
    uint64_t allowed = 0;
    for (size_t at = 0; at < count; ++at) allowed += denied[at] == 0 ? 1 : 0;
    return allowed;
  }

  // One packet after the other, as the single-packet way does.
  uint64_t each(size_t first, size_t count) noexcept {
    uint64_t allowed = 0;
    prepareNext(first, count);
    for (size_t at = first; at < first + count; ++at) {
      uint32_t source = 0;
      uint32_t destination = 0;
      if (family_ == 4) {
        const uint32_t sourceBe = __builtin_bswap32(flows_.sourcesV4[at]);
        const uint32_t destinationBe = __builtin_bswap32(flows_.destinationsV4[at]);
        source = view_.leafOf(reinterpret_cast<const uint8_t*>(&sourceBe), 4);
        destination = view_.leafOf(reinterpret_cast<const uint8_t*>(&destinationBe), 4);
      } else {
        source = view_.leafOf(flows_.sourcesV6[at].data(), 6);
        destination = view_.leafOf(flows_.destinationsV6[at].data(), 6);
      }
      const DeniedBy denied = view_.decide(source, destination, flows_.protocols[at],
                                           static_cast<uint16_t>(flows_.ports[at]));
      allowed += denied == 0 ? 1 : 0;
    }
    return allowed;
  }

  void prepareNext(size_t first, size_t count) const noexcept {
    const auto ask = [first, count](const auto& list) {
      askAhead(list.data(), list.size(), first, count);
    };
    ask(flows_.sourcesV4);
    ask(flows_.destinationsV4);
    ask(flows_.sourcesV6);
    ask(flows_.destinationsV6);
    ask(flows_.ports);
  }

  TableBytes bytes_;
  TableView view_;
  Flows flows_;
  uint8_t family_;
  bool single_;
  TableView::Way way_;
};

// Records as JavaScript passes them, as many in one call as it passes.
class ClassifyBench : public ListBench {
 public:
  static constexpr size_t CALL = 256;

  ClassifyBench(TableBytes bytes, TableView view, std::vector<std::byte> records)
      : bytes_(std::move(bytes)), view_(view), records_(std::move(records)) {}

  [[nodiscard]] size_t memoryBytes() const noexcept override { return bytes_.span().size(); }

 private:
  static constexpr size_t ITEMS = 1 << 20;

  [[nodiscard]] size_t items() const noexcept override { return ITEMS; }
  [[nodiscard]] size_t batch() const noexcept override { return CALL; }
  // The same tuples again and again: this measures the call, not the speed of reading new tuples.
  uint64_t work(size_t first, size_t count) noexcept override {
    const std::span tuples(reinterpret_cast<const FlowTuple*>(records_.data()),
                           records_.size() / sizeof(FlowTuple));
    std::array<DeniedBy, CALL> verdicts;
    const size_t place = first % (tuples.size() / CALL * CALL);
    classify(view_, tuples.subspan(place, count), verdicts.data());
    return static_cast<uint64_t>(std::count(verdicts.begin(), verdicts.begin() + count, 0));
  }

  TableBytes bytes_;
  TableView view_;
  std::vector<std::byte> records_;
};

}  // namespace

std::unique_ptr<Bench> makeLookupBench(std::span<const char* const> words) {
  if (words.size() != 3) {
    std::fputs("want TABLE TUPLES single|scalar|avx2|fastest|classify\n", stderr);
    return nullptr;
  }
  std::vector<std::byte> blob;
  std::vector<std::byte> records;
  if (!readFile(words[0], &blob) || !readFile(words[1], &records)) return nullptr;
  TableBytes bytes;
  TableView view;
  Status status = TableBytes::copy(blob, &bytes);
  if (status.ok()) status = TableView::open(bytes.span(), &view);
  if (!status.ok() || records.size() < sizeof(FlowTuple)) {
    std::fprintf(stderr, "%s: no table, or no tuples in %s\n", words[0], words[1]);
    return nullptr;
  }
  const std::string_view name = words[2];
  if (name == "classify" && records.size() >= ClassifyBench::CALL * sizeof(FlowTuple)) {
    return std::make_unique<ClassifyBench>(std::move(bytes), view, std::move(records));
  }
  const TableView::Way fastest = TableView::fastestWay();
  TableView::Way way = TableView::Way::Scalar;
  if (name == "fastest") way = fastest;
  if (name == "avx2") {
    way = TableView::Way::Avx2;
    if (fastest != way) {
      std::fputs("this processor has no AVX2\n", stderr);
      return nullptr;
    }
  }

  Flows flows;
  uint8_t family = 4;
  for (size_t at = 0; at + sizeof(FlowTuple) <= records.size(); at += sizeof(FlowTuple)) {
    FlowTuple tuple;
    std::memcpy(&tuple, &records[at], sizeof tuple);
    family = tuple.family;
    if (family == 4) {
      flows.sourcesV4.push_back(load32(tuple.source));
      flows.destinationsV4.push_back(load32(tuple.destination));
    } else {
      std::copy_n(tuple.source, 16, flows.sourcesV6.emplace_back().begin());
      std::copy_n(tuple.destination, 16, flows.destinationsV6.emplace_back().begin());
    }
    flows.ports.push_back(TableView::slotPort(tuple.protocol, tuple.port));
    flows.protocols.push_back(tuple.protocol);
  }
  return std::make_unique<LookupBench>(std::move(bytes), view, std::move(flows), family,
                                       name == "single", way);
}

}  // namespace sluice::bench
