#include "native/testing/wire-programs.h"

#include "native/bpf/image.h"
#include "native/bpf/programs.gen.h"
#include "native/bpf/wire-symbols.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr uint32_t PROCESSORS_MAX = 1'024;
static_assert(SLUICE_WIRE_UP_MAX + PROCESSORS_MAX <= SLUICE_WIRE_TAP_QUEUE);

}  // namespace

Status WirePrograms::load(const Options& options) {
  workers_ = options.workers;
  each_.resize(PROCESSORS_MAX);
  constexpr auto COUNTERS = static_cast<uint32_t>(sizeof(SluiceWireCounters));
  const BpfMapShape shapes[] = {{BPF_MAP_TYPE_HASH, 4, sizeof(SluiceWireSide), SIDES, 0},
                                {BPF_MAP_TYPE_HASH, 4, 4, SIDES, 0},
                                {BPF_MAP_TYPE_PERCPU_ARRAY, 4, COUNTERS, SIDES, 0}};
  Descriptor* const maps[] = {&sides_, &downs_, &counters_};
  Status status = control_.make(1);
  const BpfMapShape waysOfSome = {BPF_MAP_TYPE_ARRAY, 4, sizeof(SluiceWireWay),
                                  SLUICE_WIRE_SIDES * options.workers, BPF_F_MMAPABLE};
  if (status.ok()) status = createArrayOfMaps(waysOfSome, 1, &waysOfAll_);
  if (status.ok()) status = ways_.make(SLUICE_WIRE_SIDES * options.workers);
  const uint32_t first = 0;
  const auto ways = static_cast<uint32_t>(ways_.map());
  if (status.ok()) status = putInMap(waysOfAll_.get(), &first, ways);
  for (size_t map = 0; map < std::size(maps) && status.ok(); ++map) {
    status = createMap(shapes[map], maps[map]);
  }
  if (!status.ok()) return status;
  using Kind = BpfSymbol::Kind;
  const auto map = [](int fd) { return static_cast<uint64_t>(fd); };
  std::vector<BpfSymbol> symbols = {
      {"buckets", Kind::Map, map(options.memory->descriptors().buckets)},
      {"entries", Kind::Map, map(options.memory->rooms().map())},
      {"sides", Kind::Map, map(sides_.get())},
      {"downs", Kind::Map, map(downs_.get())},
      {"control", Kind::Map, map(control_.map())},
      {"ways", Kind::Map, map(waysOfAll_.get())},
      {"counters", Kind::Map, map(counters_.get())},
      {"bucketCount", Kind::Number, ConnTable::bucketsFor(options.entriesMax)},
      {"bucketsEach", Kind::Number, 0},
      {"mapsEach", Kind::Number, 0},
      {"placesShift", Kind::Number, options.memory->rooms().placesShift()},
      {"secretLow", Kind::Number, options.secret[0]},
      {"secretHigh", Kind::Number, options.secret[1]},
      {"workers", Kind::Number, options.workers},
      {"steeringMultiplier", Kind::Number, MULTIPLIER},
      {"processors", Kind::Number, 1},
      {"frameMark", Kind::Number, MARK}};
  if (options.weaklyOrdered) symbols.push_back({"isWeaklyOrdered", Kind::Number, 1});
  if (options.withoutCast) {
    symbols.push_back({"hasCast", Kind::Number, 0});
    symbols.push_back({"bpf_rdonly_cast", Kind::Function, BpfSymbol::NO_FUNCTION});
  }
  status = appendWireSymbols(&symbols);
  if (status.ok()) status = loadImage(WIRE, BPF_PROG_TYPE_SCHED_CLS, 0, symbols, &wire_);
  if (status.ok()) status = loadImage(WIRE_DOWN, BPF_PROG_TYPE_SCHED_CLS, 0, symbols, &down_);
  return status;
}

void WirePrograms::putSide(uint32_t interface, const SluiceWireSide& side) {
  CHECK(putInMap(sides_.get(), &interface, &side, 0).ok());
}

void WirePrograms::putDown(uint32_t tap, uint32_t interface) {
  CHECK(putInMap(downs_.get(), &tap, interface).ok());
}

void WirePrograms::removeDown(uint32_t tap) { CHECK(removeFromMap(downs_.get(), &tap).ok()); }

std::array<uint64_t, SLUICE_WIRE_ENDS> WirePrograms::counted(uint32_t side) {
  std::array<uint64_t, SLUICE_WIRE_ENDS> sums = {};
  CHECK(readFromMap(counters_.get(), &side, each_.data()).ok());
  for (const SluiceWireCounters& each : each_) {
    for (uint32_t end = 0; end < SLUICE_WIRE_ENDS; ++end) sums[end] += each.frames[end];
  }
  return sums;
}

std::array<uint64_t, SLUICE_WIRE_ENDS> WirePrograms::counted() {
  std::array<uint64_t, SLUICE_WIRE_ENDS> sums = {};
  for (uint32_t side = 0; side < SIDES; ++side) {
    const auto each = counted(side);
    for (uint32_t end = 0; end < SLUICE_WIRE_ENDS; ++end) sums[end] += each[end];
  }
  return sums;
}

}  // namespace sluice::testing
