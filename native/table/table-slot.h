#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"
#include "native/table/table-view.h"

namespace sluice {

// Copies lines of one table into another of its size.
void copyLines(std::span<const std::byte> from, std::span<const uint32_t> numbers,
               std::span<std::byte> into) noexcept;

// A copy of a blob in memory that starts on a 64-byte boundary.
class TableBytes {
 public:
  // Reuses the memory of `bytes` if it is large enough: its pages are mapped already, and mapping
  // them is most of the cost.
  // Errors: Limit when there is no memory.
  static Status copy(std::span<const std::byte> blob, TableBytes* bytes) noexcept;

  [[nodiscard]] std::span<const std::byte> span() const noexcept { return {bytes_.get(), size_}; }
  [[nodiscard]] std::span<std::byte> writable() noexcept { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept;
  };
  std::unique_ptr<std::byte, Free> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// A table together with its bindings to this process's links, so that a swap replaces both at once.
struct TableInForce {
  TableBytes bytes;
  TableView view;
  uint32_t generation = 0;
  std::vector<uint32_t> linkByEndpoint;  // NONE: the endpoint has no link here

  // The link that leads to an endpoint, or NONE.
  [[nodiscard]] uint32_t linkOfEndpoint(uint32_t endpointId) const noexcept {
    return endpointId < linkByEndpoint.size() ? linkByEndpoint[endpointId] : NONE;
  }

  // The endpoint behind a link, or NONE. Kept for the source guard.
  [[nodiscard]] uint32_t endpointOfLink(uint32_t linkId) const noexcept {
    return linkId < endpointByLink.size() ? endpointByLink[linkId] : NONE;
  }
  std::vector<uint32_t> endpointByLink;
};

// The one place where a new table becomes the table in force.
//
// Threads: publish() from one control thread; read() from the workers, each with its own slot
//          number; a table is freed once every worker has passed a batch boundary since it was
//          replaced. Nothing blocks a worker.
// Source:  quiescent-state-based reclamation, as in McKenney and Slingwine, 1998.
class TableSlot {
 public:
  explicit TableSlot(size_t workers) : passed_(workers) {}
  ~TableSlot();
  TableSlot(const TableSlot&) = delete;
  TableSlot& operator=(const TableSlot&) = delete;

  // Checks `blob` and makes it the table in force. `linkByEndpoint[i]` is the link of endpoint i,
  // or NONE.
  //
  // Cost:   a copy and a check of the blob, on the calling thread; frees tables that no worker
  //         reads any more.
  // Errors: what TableView::open and TableBytes::copy return, or Argument when the bindings do not
  //         fit the table; the table in force stays.
  Status publish(std::span<const std::byte> blob, std::span<const uint32_t> linkByEndpoint,
                 uint32_t* generation) noexcept;

  // The same with the table in force, but for these lines.
  //
  // Cost:   the lines, as TableView::rewrite(), and those of the change before; a copy of the table
  //         where no memory of one is free that was in force shortly before.
  // Errors: as publish(), and Argument before the first one.
  Status publishLines(const TableLines& lines, std::span<const uint32_t> linkByEndpoint,
                      uint32_t* generation) noexcept;

  // Continues the predecessor's numbering, if its generation is the higher one.
  // Threads: the control thread.
  void continueFrom(uint32_t generation) noexcept {
    if (generation > generation_) generation_ = generation;
  }

  // The table in force, or nullptr before the first publish(). Valid until this worker's next
  // read(); call it once a batch, and idle() before waiting.
  [[nodiscard]] const TableInForce* read(size_t worker) noexcept {
    // Note the epoch before loading the table. A publisher that still sees the older epoch keeps
    // the table that this load may return; one that sees the newer epoch has stored its table
    // already.
    passed_[worker].epoch.store(epoch_.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
    return current_.load(std::memory_order_seq_cst);
  }

  // The table in force, or nullptr. Threads: the control thread.
  [[nodiscard]] const TableInForce* inForce() const noexcept { return owned_.get(); }

  // Says that a worker reads no table until its next read().
  void idle(size_t worker) noexcept {
    passed_[worker].epoch.store(UINT64_MAX, std::memory_order_seq_cst);
  }

 private:
  // Memory of a table that was in force, and the lines in which it differs from the one in force.
  struct Former {
    TableBytes bytes = {};
    std::vector<uint32_t> behind = {};
    bool isOther = false;  // it differs in any number of lines
  };
  struct Retired {
    std::unique_ptr<TableInForce> table;
    Former former;   // without the bytes
    uint64_t epoch;  // freed once every worker has noted this epoch or a later one
  };
  struct alignas(64) Passed {
    std::atomic<uint64_t> epoch = UINT64_MAX;
  };

  // Binds a checked table to the links and puts it in force. `lines`: where it differs from the one
  // before; nullptr: anywhere.
  Status enforce(std::unique_ptr<TableInForce> table, std::span<const uint32_t> linkByEndpoint,
                 const std::span<const uint32_t>* lines, uint32_t* generation) noexcept;
  void reclaim() noexcept;

  std::atomic<const TableInForce*> current_ = nullptr;
  std::atomic<uint64_t> epoch_ = 0;
  std::vector<Passed> passed_;
  std::unique_ptr<TableInForce> owned_;
  std::vector<Retired> retired_;
  Former spare_;  // of the table that was freed last
  uint32_t generation_ = 0;
};

}  // namespace sluice
