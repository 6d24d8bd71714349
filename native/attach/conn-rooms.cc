#include "native/attach/conn-rooms.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <new>
#include <span>
#include <utility>

#include "native/host/clock.h"

namespace sluice {
namespace {

// 3 MiB of entries in a map: half a millisecond of the kernel's time, and a grace period.
constexpr uint32_t SHIFT_MAX = 14;
// A page of entries, as ConnTable::PER_PAGE.
constexpr uint32_t SHIFT_MIN = 6;
// After the kernel has refused more, it is asked again after this time.
constexpr uint64_t REFUSED_NS = 1'000'000'000;
// Who waits for more gives up when there was none for so long, and looks this often.
constexpr uint64_t PATIENCE_NS = 1'000'000'000;
constexpr timespec LOOK_EVERY = {0, 200'000};
// Maps that are made at a time, and put in force by one grace period.
constexpr uint32_t TOGETHER_MAX = 16;

}  // namespace

ConnRooms::ConnRooms(uint32_t workers, uint32_t placesEach) noexcept
    : shift_(
          std::clamp(static_cast<uint32_t>(std::bit_width(placesEach - 1)), SHIFT_MIN, SHIFT_MAX)),
      mapsEach_((placesEach + (1u << shift_) - 1) >> shift_),
      maps_(workers * mapsEach_) {}

Status ConnRooms::create(uint32_t workers, uint32_t placesEach,
                         std::unique_ptr<ConnRooms>* rooms) noexcept {
  std::unique_ptr<ConnRooms> made(new (std::nothrow) ConnRooms(workers, placesEach));
  if (made == nullptr) return {StatusCode::Limit};
  const Status status = made->start(workers);
  if (status.ok()) *rooms = std::move(made);
  return status;
}

BpfMapShape ConnRooms::shapeOfOne() const noexcept {
  return {BPF_MAP_TYPE_ARRAY, 4, sizeof(SluiceConn), 1u << shift_, BPF_F_MMAPABLE};
}

Status ConnRooms::start(uint32_t workers) noexcept {
  Status status = createArrayOfMaps(shapeOfOne(), maps_, &map_);
  for (uint32_t worker = 0; worker < workers && status.ok(); ++worker) {
    std::unique_ptr<Room> room(new (std::nothrow) Room(this, worker * mapsEach_));
    if (room == nullptr) return {StatusCode::Limit};
    status = room->reserve();
    rooms_.push_back(std::move(room));
  }
  if (!status.ok()) return status;
  const auto body = [](void* context) -> void* {
    static_cast<ConnRooms*>(context)->run();
    return nullptr;
  };
  if (const int error = pthread_create(&thread_, nullptr, body, this); error != 0) {
    return Status::system("pthread_create", error);
  }
  pthread_setname_np(thread_, "sluice-room");
  running_ = true;
  return {};
}

ConnRooms::~ConnRooms() {
  if (!running_) return;
  end_.store(true);
  asked_.fetch_add(1);
  asked_.notify_all();
  pthread_join(thread_, nullptr);
}

void ConnRooms::run() noexcept {
  for (uint32_t seen = 0;;) {
    asked_.wait(seen);
    if (end_.load()) return;
    seen = asked_.load();
    for (const std::unique_ptr<Room>& room : rooms_) room->catchUp();
  }
}

ConnRooms::Room::~Room() {
  const size_t bytes = (size_t{rooms_->mapsEach_} << rooms_->shift_) * sizeof(ConnEntry);
  if (entries_ != nullptr) munmap(static_cast<void*>(entries_), bytes);
}

Status ConnRooms::Room::reserve() noexcept {
  const size_t bytes = (size_t{rooms_->mapsEach_} << rooms_->shift_) * sizeof(ConnEntry);
  void* const reserved =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return Status::system("mmap", errno);
  entries_ = static_cast<ConnEntry*>(reserved);
  return add(1);
}

// Makes the map of the places from `first` on, and memory there.
Status ConnRooms::Room::make(uint32_t first, Descriptor* map) noexcept {
  const Status status = createMap(rooms_->shapeOfOne(), map);
  if (!status.ok()) return status;
  const size_t bytes = sizeof(ConnEntry) << rooms_->shift_;
  void* const at = static_cast<void*>(entries_ + first);
  if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, map->get(), 0) != at) {
    return Status::system("mmap", errno);
  }
  // A child process does not use it.
  (void)madvise(at, bytes, MADV_DONTFORK);
  return {};
}

// Makes the maps that follow, until there are so many places, or as many as are made at a time.
Status ConnRooms::Room::add(uint32_t wanted) noexcept {
  const uint32_t first = places();
  std::array<Descriptor, TOGETHER_MAX> maps;
  std::array<uint32_t, TOGETHER_MAX> numbers;
  std::array<uint32_t, TOGETHER_MAX> values;
  uint32_t count = 0;
  Status status;
  do {
    const uint32_t next = first + (count << rooms_->shift_);
    status = make(next, &maps[count]);
    if (!status.ok()) break;
    numbers[count] = firstMap_ + (next >> rooms_->shift_);
    values[count] = static_cast<uint32_t>(maps[count].get());
    ++count;
  } while (count < TOGETHER_MAX && first + (count << rooms_->shift_) < wanted);
  if (count == 0) return status;
  status = putInMap(rooms_->map_.get(), std::span(numbers).first(count), values.data());
  if (!status.ok()) return status;
  places_.store(first + (count << rooms_->shift_), std::memory_order_release);
  return {};
}

bool ConnRooms::Room::isRefused() const noexcept {
  const uint64_t atNs = refusedAtNs_.load();
  return atNs != 0 && clockNs() < atNs + REFUSED_NS;
}

void ConnRooms::Room::ask(uint32_t places) noexcept {
  wanted_.store(places);
  rooms_->asked_.fetch_add(1);
  rooms_->asked_.notify_all();
}

void ConnRooms::Room::prepare(uint32_t used) noexcept {
  const uint32_t one = 1u << rooms_->shift_;
  const uint32_t all = rooms_->mapsEach_ << rooms_->shift_;
  const uint32_t ahead = std::min(used + one / 2 + used / 8, all);
  if (ahead > places() && !isRefused()) ask(ahead);
}

bool ConnRooms::Room::grow(uint32_t wanted) noexcept {
  if (wanted > rooms_->mapsEach_ << rooms_->shift_) return false;
  if (places() >= wanted) return true;
  if (isRefused()) return false;
  // Who waits takes places faster than they are made one map after the other.
  const uint32_t more = std::min(places(), TOGETHER_MAX << rooms_->shift_);
  const uint32_t all = rooms_->mapsEach_ << rooms_->shift_;
  ask(std::max({wanted, std::min(places() + more, all), wanted_.load()}));
  uint32_t had = places();
  // Whoever has given up once gets the kernel's answer without waiting for it, or goes on without.
  for (uint64_t sinceNs = clockNs(); places() < wanted && !isRefused() && !isSilent_.load();) {
    const uint64_t nowNs = clockNs();
    if (places() != had) {
      had = places();
      sinceNs = nowNs;
    } else if (nowNs - sinceNs > PATIENCE_NS) {
      // The kernel does not answer, as where memory has to be taken from others first.
      isSilent_.store(true);
    } else {
      nanosleep(&LOOK_EVERY, nullptr);
    }
  }
  return places() >= wanted;
}

void ConnRooms::Room::catchUp() noexcept {
  while (places() < wanted_.load() && !isRefused()) {
    refusedAtNs_.store(add(wanted_.load()).ok() ? 0 : clockNs());
  }
  isSilent_.store(false);
}

}  // namespace sluice
