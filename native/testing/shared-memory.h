#pragma once

#include <cstdint>
#include <memory>

#include "native/attach/conn-rooms.h"
#include "native/conntrack/conn-table.h"
#include "native/host/descriptor.h"

namespace sluice::testing {

// Memory for a connection table that eBPF programs read: maps, or ordinary memory where this
// process may make none.
class SharedMemory {
 public:
  explicit SharedMemory(uint32_t entriesMax);

  [[nodiscard]] bool valid() const { return descriptors_.room != nullptr && buckets_.valid(); }
  // Whether the kernel has it as maps: the entries then, for programs.
  [[nodiscard]] bool isMapped() const { return rooms_ != nullptr; }
  [[nodiscard]] const ConnRooms& rooms() const { return *rooms_; }
  [[nodiscard]] const ConnMemory& descriptors() const { return descriptors_; }

 private:
  // Ordinary memory, all at once.
  class PlainRoom final : public ConnRoom {
   public:
    explicit PlainRoom(uint32_t places) {
      if (!memory_.create(places)) return;
      entries_ = memory_.get();
      places_ = places;
    }
    void prepare(uint32_t) noexcept override {}
    [[nodiscard]] bool grow(uint32_t places) noexcept override { return places <= places_; }

   private:
    HugeArray<ConnEntry> memory_;
  };

  std::unique_ptr<ConnRooms> rooms_;
  std::unique_ptr<PlainRoom> plain_;
  Descriptor buckets_;
  ConnMemory descriptors_;
};

}  // namespace sluice::testing
