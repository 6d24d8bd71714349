#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/attach/conn-rooms.h"
#include "native/bpf/programs/wire.h"
#include "native/conntrack/conn-table.h"
#include "native/host/descriptor.h"
#include "native/packet/status.h"
#include "native/packet/steering.h"

namespace sluice {

// Memory that programs share with this process: an array with BPF_F_MMAPABLE.
class MappedArray {
 public:
  MappedArray() = default;
  ~MappedArray();
  MappedArray(const MappedArray&) = delete;
  MappedArray& operator=(const MappedArray&) = delete;
  // Errors: System: "BPF_MAP_CREATE", "mmap".
  Status create(uint32_t valueBytes, uint32_t count) noexcept;
  [[nodiscard]] int map() const noexcept { return map_.get(); }
  [[nodiscard]] std::byte* bytes() const noexcept { return bytes_; }

 private:
  Descriptor map_;
  std::byte* bytes_ = nullptr;
  size_t size_ = 0;
};

// What a data plane's links of the kind `kernel` have in common: the programs of
// native/bpf/programs/wire.bpf.c, their maps, and the memory for the connections.
//
// Threads: the control thread; counts(): any, one at a time.
class KernelPath {
 public:
  static constexpr uint32_t SIDES_MAX = 512;

  // Errors: System, of BPF_MAP_CREATE and BPF_PROG_LOAD: EPERM without CAP_BPF and CAP_PERFMON;
  // Limit.
  static Status create(uint32_t connectionsEach, const HashSecret& secret, const Steering& steering,
                       std::shared_ptr<KernelPath>* path) noexcept;
  KernelPath(const KernelPath&) = delete;
  KernelPath& operator=(const KernelPath&) = delete;

  // Of each worker, for Dataplane::shareConnections().
  [[nodiscard]] std::vector<ConnMemory> connections() const;
  [[nodiscard]] uint32_t workers() const noexcept { return workers_; }
  [[nodiscard]] uint32_t* inForce() const noexcept;
  [[nodiscard]] uint64_t* aliveUs() const noexcept;

  // Whether a side in this namespace may have one in its wire: all are in the first one's, since
  // interfaces are known by their indexes, and frames stay in a namespace.
  [[nodiscard]] bool isIn(uint64_t namespaceNumber) noexcept {
    if (namespaceNumber_ == 0) namespaceNumber_ = namespaceNumber;
    return namespaceNumber_ == namespaceNumber;
  }
  // A free number for a side, with its counts at zero. Errors: Limit when there is none; System.
  Status takeNumber(uint32_t* number) noexcept;
  void returnNumber(uint32_t number) noexcept { taken_[number] = false; }
  [[nodiscard]] SluiceWireWay* way(uint32_t number, uint32_t worker) const noexcept;
  // Errors: System.
  Status counts(uint32_t number, SluiceWireCounters* sum) const noexcept;

  // Tells the programs of a side, by the index of its interface; of its TAP. Errors: System.
  Status setSide(uint32_t interfaceIndex, const SluiceWireSide& side) noexcept;
  Status setDown(uint32_t tapIndex, uint32_t interfaceIndex) noexcept;
  void removeSide(uint32_t interfaceIndex, uint32_t tapIndex) noexcept;

  [[nodiscard]] int program() const noexcept { return program_.get(); }
  [[nodiscard]] int downProgram() const noexcept { return downProgram_.get(); }

 private:
  KernelPath() = default;
  Status make(const HashSecret& secret, const Steering& steering) noexcept;
  Status load(const HashSecret& secret, const Steering& steering) noexcept;
  Status makeWays(uint32_t array) noexcept;
  [[nodiscard]] SluiceWireControl* control() const noexcept;

  uint32_t workers_ = 1;
  uint32_t connectionsEach_ = 0;
  uint32_t bucketsEach_ = 0;
  size_t processors_ = 0;
  uint64_t namespaceNumber_ = 0;
  std::unique_ptr<ConnRooms> rooms_;
  Descriptor buckets_;
  Descriptor sides_;
  Descriptor downs_;
  Descriptor counters_;
  MappedArray control_;
  Descriptor ways_;
  Descriptor program_;
  Descriptor downProgram_;
  // The arrays in `ways`, made when the first of their numbers is taken.
  std::array<std::unique_ptr<MappedArray>, SIDES_MAX / SLUICE_WIRE_SIDES> waysOf_ = {};
  std::array<bool, SIDES_MAX> taken_ = {};
};

}  // namespace sluice
