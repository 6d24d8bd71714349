#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "native/bpf/map.h"
#include "native/conntrack/conn-room.h"
#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// The memory of all workers' connections: an array of maps, each with the entries of some places
// in a row.
//
// Threads: each room is one worker's. A thread of its own makes memory, ahead of need: workers may
//          not call bpf(2).
class ConnRooms {
 public:
  // Errors: System, "BPF_MAP_CREATE", "BPF_MAP_UPDATE_ELEM", "mmap", "pthread_create"; Limit.
  static Status create(uint32_t workers, uint32_t placesEach,
                       std::unique_ptr<ConnRooms>* rooms) noexcept;
  ~ConnRooms();
  ConnRooms(const ConnRooms&) = delete;
  ConnRooms& operator=(const ConnRooms&) = delete;

  [[nodiscard]] ConnRoom* room(uint32_t worker) const noexcept { return rooms_[worker].get(); }
  // The array of maps; each worker's maps follow those of the one before.
  [[nodiscard]] int map() const noexcept { return map_.get(); }
  [[nodiscard]] uint32_t mapsEach() const noexcept { return mapsEach_; }
  // Of the places in a map, which are a power of two.
  [[nodiscard]] uint32_t placesShift() const noexcept { return shift_; }

 private:
  class Room final : public ConnRoom {
   public:
    Room(ConnRooms* rooms, uint32_t firstMap) noexcept : rooms_(rooms), firstMap_(firstMap) {}
    ~Room() override;
    Status reserve() noexcept;
    void prepare(uint32_t used) noexcept override;
    [[nodiscard]] bool grow(uint32_t places) noexcept override;
    // Makes what has been asked for: the thread.
    void catchUp() noexcept;

   private:
    Status make(uint32_t first, Descriptor* map) noexcept;
    Status add(uint32_t wanted) noexcept;
    void ask(uint32_t places) noexcept;
    // Whether the kernel has just said that there is no more.
    [[nodiscard]] bool isRefused() const noexcept;

    ConnRooms* rooms_;
    uint32_t firstMap_;
    std::atomic<uint32_t> wanted_ = 0;
    std::atomic<uint64_t> refusedAtNs_ = 0;
    std::atomic<bool> isSilent_ = false;  // somebody waited for long, and there is no answer yet
  };

  ConnRooms(uint32_t workers, uint32_t placesEach) noexcept;
  Status start(uint32_t workers) noexcept;
  [[nodiscard]] BpfMapShape shapeOfOne() const noexcept;
  void run() noexcept;

  uint32_t shift_;
  uint32_t mapsEach_;
  uint32_t maps_;
  Descriptor map_;
  std::vector<std::unique_ptr<Room>> rooms_;
  std::atomic<uint32_t> asked_ = 0;
  std::atomic<bool> end_ = false;
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace sluice
