#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "native/event/event-ring.h"
#include "native/packet/status.h"
#include "native/table/table-slot.h"
#include "native/worker/worker.h"

namespace sluice {

// A worker with its thread, its table and its events, as the control side sees them.
//
// Threads: one control thread; readers of events and counters may be others, one each.
class Dataplane {
 public:
  // Errors: what Worker::create and EventRing::create return.
  // The hash secret of `options` is drawn here.
  static Status create(FilterOptions options, uint32_t eventsMax,
                       std::unique_ptr<Dataplane>* dataplane) noexcept;
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // What the worker's thread does before its first round, such as giving up what it does not need.
  // Where it fails, the thread ends, and the call that wanted it to run returns why.
  using ThreadStart = Status (*)() noexcept;
  void onThreadStart(ThreadStart start) noexcept { threadStart_ = start; }

  // A running worker is stopped for the time of these, and goes on afterwards: about a millisecond,
  // for which frames wait in their links. `companion` is kept as long as the link, and outlives it.
  Status addLink(std::unique_ptr<Link> link, const std::optional<MacAddress>& mac,
                 std::shared_ptr<void> companion, uint32_t* linkId) noexcept;
  Status removeLink(uint32_t linkId) noexcept;

  // Errors: what TableSlot::publish returns; the table in force stays.
  Status swapTable(std::span<const std::byte> blob, std::span<const uint32_t> linkByEndpoint,
                   uint32_t* generation) noexcept;

  // Errors: State when it runs; what Worker::makeWire and makeSwitch return.
  Status startWire(uint32_t inside, uint32_t outside) noexcept;
  Status startSwitch(const MacAddress& gateway, uint32_t uplink) noexcept;
  void stop() noexcept;

  [[nodiscard]] const Worker& worker() const noexcept { return *worker_; }
  [[nodiscard]] EventRing& events() noexcept { return *events_; }
  [[nodiscard]] uint32_t generation() const noexcept { return generation_; }

 private:
  Dataplane() : tables_(1) {}
  Status run() noexcept;

  TableSlot tables_;
  std::unique_ptr<EventRing> events_;
  std::vector<std::shared_ptr<void>> companions_;  // by link id; go after the worker's links
  std::unique_ptr<Worker> worker_;
  uint32_t generation_ = 0;
  std::atomic<bool> stop_ = false;
  bool running_ = false;
  ThreadStart threadStart_ = []() noexcept -> Status { return {}; };
  Status threadStatus_;  // of threadStart_, once that is over
  std::atomic<bool> threadStarted_ = false;
  pthread_t thread_ = {};
};

}  // namespace sluice
