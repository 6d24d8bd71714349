#include "native/attach/kernel-path.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

#include "native/attach/packet-socket.h"
#include "native/bpf/image.h"
#include "native/bpf/map.h"
#include "native/bpf/programs.gen.h"
#include "native/bpf/wire-symbols.h"

namespace sluice {
namespace {

constexpr uint32_t roundedUp(uint32_t count, uint32_t step) {
  return (count + step - 1) / step * step;
}

// A process that is stopped, or a worker that hangs, decides nothing: after this, nothing passes in
// its name. A worker that waits looks a hundred times a second; one on a busy machine gets its
// turn.
constexpr uint64_t LEASE_US = 2'000'000;

constexpr BpfMapShape SIDES_SHAPE = {BPF_MAP_TYPE_HASH, 4, sizeof(SluiceWireSide),
                                     KernelPath::SIDES_MAX, 0};
constexpr BpfMapShape DOWNS_SHAPE = {BPF_MAP_TYPE_HASH, 4, 4, KernelPath::SIDES_MAX, 0};
constexpr BpfMapShape COUNTERS_SHAPE = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(SluiceWireCounters),
                                        KernelPath::SIDES_MAX, 0};
static_assert(sizeof(SluiceWireCounters) % 8 == 0);

}  // namespace

MappedArray::~MappedArray() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
}

Status MappedArray::create(uint32_t valueBytes, uint32_t count) noexcept {
  const Status status =
      createMap({BPF_MAP_TYPE_ARRAY, 4, valueBytes, count, BPF_F_MMAPABLE}, &map_);
  if (!status.ok()) return status;
  size_ = size_t{valueBytes} * count;
  void* const mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, map_.get(), 0);
  if (mapped == MAP_FAILED) return Status::system("mmap", errno);
  // A child process does not use it.
  (void)madvise(mapped, size_, MADV_DONTFORK);
  bytes_ = static_cast<std::byte*>(mapped);
  return {};
}

Status KernelPath::create(uint32_t connectionsEach, const HashSecret& secret,
                          const Steering& steering, std::shared_ptr<KernelPath>* path) noexcept {
  std::shared_ptr<KernelPath> made(new (std::nothrow) KernelPath);
  if (made == nullptr) return {StatusCode::Limit};
  made->workers_ = steering.workers;
  made->connectionsEach_ = connectionsEach;
  made->bucketsEach_ = roundedUp(ConnTable::bucketsFor(connectionsEach), ConnTable::PER_PAGE);
  const Status status = made->make(secret, steering);
  if (status.ok()) *path = std::move(made);
  return status;
}

Status KernelPath::make(const HashSecret& secret, const Steering& steering) noexcept {
  const BpfMapShape buckets = {BPF_MAP_TYPE_ARRAY, 4, sizeof(SluiceConnBucket),
                               bucketsEach_ * workers_, BPF_F_MMAPABLE};
  const BpfMapShape waysOfSome = {BPF_MAP_TYPE_ARRAY, 4, sizeof(SluiceWireWay),
                                  SLUICE_WIRE_SIDES * workers_, BPF_F_MMAPABLE};
  Status status = possibleProcessors(&processors_);
  if (status.ok()) {
    status = ConnRooms::create(workers_, ConnTable::placesFor(connectionsEach_), &rooms_);
  }
  if (status.ok()) status = createMap(buckets, &buckets_);
  if (status.ok()) status = createMap(SIDES_SHAPE, &sides_);
  if (status.ok()) status = createMap(DOWNS_SHAPE, &downs_);
  if (status.ok()) status = createMap(COUNTERS_SHAPE, &counters_);
  if (status.ok()) status = control_.create(sizeof(SluiceWireControl), 1);
  if (status.ok()) control()->leaseUs = LEASE_US;
  if (status.ok()) status = createArrayOfMaps(waysOfSome, SIDES_MAX / SLUICE_WIRE_SIDES, &ways_);
  return status.ok() ? load(secret, steering) : status;
}

Status KernelPath::load(const HashSecret& secret, const Steering& steering) noexcept {
  using Kind = BpfSymbol::Kind;
  const auto map = [](int fd) { return static_cast<uint64_t>(fd); };
  std::vector<BpfSymbol> symbols = {
      {"buckets", Kind::Map, map(buckets_.get())},
      {"entries", Kind::Map, map(rooms_->map())},
      {"sides", Kind::Map, map(sides_.get())},
      {"downs", Kind::Map, map(downs_.get())},
      {"control", Kind::Map, map(control_.map())},
      {"ways", Kind::Map, map(ways_.get())},
      {"counters", Kind::Map, map(counters_.get())},
      {"bucketCount", Kind::Number, ConnTable::bucketsFor(connectionsEach_)},
      {"bucketsEach", Kind::Number, bucketsEach_},
      {"mapsEach", Kind::Number, rooms_->mapsEach()},
      {"placesShift", Kind::Number, rooms_->placesShift()},
      {"secretLow", Kind::Number, secret[0]},
      {"secretHigh", Kind::Number, secret[1]},
      {"workers", Kind::Number, workers_},
      {"steeringMultiplier", Kind::Number, steering.multiplier},
      {"processors", Kind::Number, processors_},
      {"frameMark", Kind::Number, FRAME_MARK},
  };
  Status status = appendWireSymbols(&symbols);
  if (status.ok()) status = loadImage(WIRE, BPF_PROG_TYPE_SCHED_CLS, 0, symbols, &program_);
  if (!status.ok()) return status;
  return loadImage(WIRE_DOWN, BPF_PROG_TYPE_SCHED_CLS, 0, symbols, &downProgram_);
}

std::vector<ConnMemory> KernelPath::connections() const {
  std::vector<ConnMemory> memory;
  for (uint32_t worker = 0; worker < workers_; ++worker) {
    memory.push_back({rooms_->room(worker), buckets_.get(), worker * bucketsEach_});
  }
  return memory;
}

uint32_t* KernelPath::inForce() const noexcept { return &control()->generation; }

uint64_t* KernelPath::aliveUs() const noexcept { return control()->aliveUs; }

SluiceWireControl* KernelPath::control() const noexcept {
  return reinterpret_cast<SluiceWireControl*>(control_.bytes());
}

SluiceWireWay* KernelPath::way(uint32_t number, uint32_t worker) const noexcept {
  return reinterpret_cast<SluiceWireWay*>(waysOf_[number / SLUICE_WIRE_SIDES]->bytes()) +
         number % SLUICE_WIRE_SIDES * workers_ + worker;
}

Status KernelPath::takeNumber(uint32_t* number) noexcept {
  const auto free = std::ranges::find(taken_, false);
  if (free == taken_.end()) return {StatusCode::Limit};
  const auto wanted = static_cast<uint32_t>(free - taken_.begin());
  Status status = makeWays(wanted / SLUICE_WIRE_SIDES);
  if (!status.ok()) return status;
  std::memset(static_cast<void*>(way(wanted, 0)), 0, sizeof(SluiceWireWay) * workers_);
  const std::vector<SluiceWireCounters> none(processors_);
  status = putInMap(counters_.get(), &wanted, none.data(), BPF_ANY);
  if (!status.ok()) return status;
  *free = true;
  *number = wanted;
  return {};
}

Status KernelPath::makeWays(uint32_t array) noexcept {
  if (waysOf_[array] != nullptr) return {};
  std::unique_ptr<MappedArray> made(new (std::nothrow) MappedArray);
  if (made == nullptr) return {StatusCode::Limit};
  Status status = made->create(sizeof(SluiceWireWay), SLUICE_WIRE_SIDES * workers_);
  if (status.ok()) status = putInMap(ways_.get(), &array, static_cast<uint32_t>(made->map()));
  if (status.ok()) waysOf_[array] = std::move(made);
  return status;
}

Status KernelPath::counts(uint32_t number, SluiceWireCounters* sum) const noexcept {
  std::vector<SluiceWireCounters> each(processors_);
  *sum = {};
  const Status status = readFromMap(counters_.get(), &number, each.data());
  for (const SluiceWireCounters& one : each) {
    for (size_t end = 0; end < std::size(one.frames); ++end) sum->frames[end] += one.frames[end];
    sum->passedBytes += one.passedBytes;
  }
  return status;
}

Status KernelPath::setSide(uint32_t interfaceIndex, const SluiceWireSide& side) noexcept {
  return putInMap(sides_.get(), &interfaceIndex, &side, BPF_ANY);
}

Status KernelPath::setDown(uint32_t tapIndex, uint32_t interfaceIndex) noexcept {
  return putInMap(downs_.get(), &tapIndex, interfaceIndex);
}

void KernelPath::removeSide(uint32_t interfaceIndex, uint32_t tapIndex) noexcept {
  (void)removeFromMap(sides_.get(), &interfaceIndex);
  (void)removeFromMap(downs_.get(), &tapIndex);
}

}  // namespace sluice
