#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/conntrack/conn-entry.h"
#include "native/layout/layout.gen.h"
#include "native/worker/filter.h"

namespace sluice {

// Something to be done with all connections of a running worker: it takes a short step between two
// rounds, so that no packet waits long, and the connections stay the worker's alone.
//
// Owner:   whoever made it, until `done`; memory is taken before it starts.
// Threads: the worker's from start to `done`, then the maker's again.
struct ConnJob {
  enum class Kind : uint8_t { List, Keep, Forget };

  Kind kind = Kind::List;
  std::vector<ConnectionRecord> records;  // List: room for what is found; ends when it is full
  std::vector<SavedConnection> saved;     // Keep: the same
  std::vector<ConnKey> keys;              // Forget: which ones
  size_t count = 0;                       // listed, kept or forgotten
  uint32_t worker = 0;                    // whose connections; with `place`, where to go on
  uint32_t place = 0;                     // next entry of the table, or next key
  std::atomic<bool> done = false;

  // Whether there is no room for more: the rest is another job's.
  [[nodiscard]] bool full() const noexcept {
    return kind != Kind::Forget && count == (kind == Kind::List ? records.size() : saved.size());
  }

  // Does a step; returns whether it was the last.
  bool step(Filter& filter, uint64_t nowUs) noexcept {
    constexpr size_t LIST_STEPS = 1'024;
    constexpr size_t FORGET_STEPS = 64;
    if (kind == Kind::List) {
      count +=
          filter.list(nowUs, LIST_STEPS, {records.data() + count, records.size() - count}, &place);
      return place >= filter.placesUsed() || full();
    }
    if (kind == Kind::Keep) {
      count += filter.save(Saved::Lasting, nowUs, LIST_STEPS,
                           {saved.data() + count, saved.size() - count}, &place);
      return place >= filter.placesUsed() || full();
    }
    for (size_t each = 0; each < FORGET_STEPS && place < keys.size(); ++each) {
      if (filter.forget(keys[place++], nowUs)) ++count;
    }
    return place == keys.size();
  }
};

}  // namespace sluice
