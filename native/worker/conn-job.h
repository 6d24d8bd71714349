#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/conntrack/conn-entry.h"
#include "native/layout/layout.gen.h"
#include "native/worker/filter.h"

namespace sluice {

// Work on all connections of a running worker. The worker makes a short step of it between two
// rounds. So no packet waits long, and no other thread touches the connections.
//
// Owner:   the maker, who keeps it until `done`; its memory is allocated before it starts.
// Threads: the worker's from start to `done`, then the maker's again.
struct ConnJob {
  enum class Kind : uint8_t { List, Keep, Forget, Hits };

  Kind kind = Kind::List;
  std::vector<ConnectionRecord> records;  // List: room for the result; the job ends when it is full
  std::vector<SavedConnection> saved;     // Keep: the same
  std::vector<ConnKey> keys;              // Forget: the connections to remove
  std::vector<HitRecord> hits;            // Hits: as records
  bool live = false;                      // Hits: what living connections have carried, too
  size_t count = 0;                       // listed, kept, forgotten or read
  uint32_t worker = 0;                    // with `place`, where the job is: the worker
  uint32_t place = 0;                     // and its next table entry, or the next key
  std::atomic<bool> done = false;

  // Whether there is no room for more: the caller needs another job for the rest.
  [[nodiscard]] bool full() const noexcept {
    return kind != Kind::Forget && count == (kind == Kind::List   ? records.size()
                                             : kind == Kind::Hits ? hits.size()
                                                                  : saved.size());
  }

  // Makes one step; returns whether it was the last.
  bool step(Filter& filter, uint64_t nowUs) noexcept {
    constexpr size_t LIST_STEPS = 1'024;
    constexpr size_t FORGET_STEPS = 64;
    constexpr size_t HIT_STEPS = 64;
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
    if (kind == Kind::Hits) {
      if (live && place < filter.placesUsed()) {
        filter.tally(LIST_STEPS, &place);
        return false;
      }
      const std::span<HitRecord> free = std::span(hits).subspan(count);
      const size_t more = filter.readHits(nowUs, HIT_STEPS, free);
      for (HitRecord& each : free.first(more)) each.worker = static_cast<uint8_t>(worker);
      count += more;
      return full() || more < HIT_STEPS;
    }
    for (size_t each = 0; each < FORGET_STEPS && place < keys.size(); ++each) {
      if (filter.forget(keys[place++], nowUs)) ++count;
    }
    return place == keys.size();
  }
};

}  // namespace sluice
