#pragma once

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <vector>

#include "native/bpf/map.h"
#include "native/bpf/programs/wire.h"
#include "native/conntrack/conn-table.h"
#include "native/host/descriptor.h"
#include "native/testing/shared-memory.h"

namespace sluice::testing {

// An array that programs share with this process.
template <typename Value>
class SharedArray {
 public:
  SharedArray() = default;
  SharedArray(const SharedArray&) = delete;
  SharedArray& operator=(const SharedArray&) = delete;
  ~SharedArray() {
    if (values_ != nullptr) munmap(values_, bytes_);
  }

  Status make(uint32_t count) {
    const Status status =
        createMap({BPF_MAP_TYPE_ARRAY, 4, sizeof(Value), count, BPF_F_MMAPABLE}, &map_);
    if (!status.ok()) return status;
    bytes_ = sizeof(Value) * count;
    void* const mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, map_.get(), 0);
    if (mapped == MAP_FAILED) return Status::system("mmap", errno);
    values_ = static_cast<Value*>(mapped);
    return {};
  }
  [[nodiscard]] int map() const { return map_.get(); }
  Value& operator[](size_t at) const { return values_[at]; }

 private:
  Descriptor map_;
  size_t bytes_ = 0;
  Value* values_ = nullptr;
};

// The programs of wires with maps of their own, on a table that they share.
class WirePrograms {
 public:
  static constexpr uint32_t SIDES = 2;
  static constexpr uint32_t MARK = 0x51ce51ce;
  static constexpr uint32_t MULTIPLIER = 0x9e3779b1;

  struct Options {
    const SharedMemory* memory;
    uint32_t entriesMax;
    HashSecret secret;
    uint32_t workers = 1;
    bool weaklyOrdered = false;  // with the barriers that x86 needs not
    bool withoutCast = false;    // as on a kernel before 6.2
  };
  // Errors: System, EPERM where this process may load no programs.
  Status load(const Options& options);

  [[nodiscard]] int wire() const { return wire_.get(); }
  [[nodiscard]] int wireDown() const { return down_.get(); }
  SluiceWireControl& control() { return control_[0]; }
  SluiceWireWay& way(uint32_t side, uint32_t worker = 0) { return ways_[side * workers_ + worker]; }
  void putSide(uint32_t interface, const SluiceWireSide& side);
  void putDown(uint32_t tap, uint32_t interface);
  void removeDown(uint32_t tap);
  // Frames by where they went, of all processors: of one side, or of all.
  std::array<uint64_t, SLUICE_WIRE_ENDS> counted(uint32_t side);
  std::array<uint64_t, SLUICE_WIRE_ENDS> counted();

 private:
  Descriptor sides_;
  Descriptor downs_;
  SharedArray<SluiceWireControl> control_;
  Descriptor waysOfAll_;
  SharedArray<SluiceWireWay> ways_;
  uint32_t workers_ = 1;
  Descriptor counters_;
  Descriptor wire_;
  Descriptor down_;
  std::vector<SluiceWireCounters> each_;
};

}  // namespace sluice::testing
