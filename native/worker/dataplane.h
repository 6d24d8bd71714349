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

struct DataplaneOptions {
  FilterOptions filter;                 // for all workers together; the hash secret is drawn here
  uint32_t eventsMax = EVENTS_DEFAULT;  // of each worker
  uint32_t workers = 1;                 // at most WORKERS_MAX
  PollMode poll = PollMode::Adaptive;
  bool rejects = false;         // the sender of what policy denies is told
  std::optional<uint32_t> cpu;  // the first worker's; the others take the ones behind it
};

// Reads what JavaScript has written. Errors: Argument for a mode that is none.
Status optionsOf(const DataplaneSettings& settings, DataplaneOptions* options) noexcept;

// Workers with their threads, their table and their events, as the control side sees them.
//
// Several workers share nothing but the table: each connection belongs to one of them, which alone
// tracks it (see Steering).
//
// Threads: one control thread; readers of events and counters may be others, one each.
class Dataplane {
 public:
  // Errors: Argument for a number of workers that cannot be; what Worker::create and
  // EventRing::create return.
  static Status create(DataplaneOptions options, std::unique_ptr<Dataplane>* dataplane) noexcept;
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // What each worker's thread does before its first round, such as giving up what it does not need.
  // Where it fails, all of them end, and the call that wanted them to run returns why.
  using ThreadStart = Status (*)() noexcept;
  void onThreadStart(ThreadStart start) noexcept { threadStart_ = start; }

  // Running workers pause for the time of these, and go on afterwards: about a millisecond, for
  // which frames wait in their links. Their threads stay: going on asks the system for nothing that
  // it could refuse. `attached` is a resource that is kept as long as the link, and outlives it.
  //
  // Shape: `links` are the queues of one interface, one for each worker; emptied.
  Status addLink(std::vector<std::unique_ptr<Link>> links, const std::optional<MacAddress>& mac,
                 std::shared_ptr<void> attached, uint32_t* linkId) noexcept;
  Status removeLink(uint32_t linkId) noexcept;
  // Puts other queues in the place of a link's, such as those to an interface that was made anew,
  // and another attached resource; its wire, its connections and its counters stay.
  Status replaceLink(uint32_t linkId, std::vector<std::unique_ptr<Link>> links,
                     const std::optional<MacAddress>& mac, std::shared_ptr<void> attached) noexcept;
  // Lets go of a link's queues and its attached resource; nothing comes or goes there until
  // replaceLink().
  Status closeLink(uint32_t linkId) noexcept;
  // The index of a link's interface; 0 when it has gone. See Link.
  [[nodiscard]] uint32_t interfaceOf(uint32_t linkId) const noexcept {
    return crew_.front().worker->interfaceOf(linkId);
  }

  // Errors: what TableSlot::publish returns; the table in force stays.
  Status swapTable(std::span<const std::byte> blob, std::span<const uint32_t> linkByEndpoint,
                   uint32_t* generation) noexcept;

  // Joins two links to a wire, also while others run, and takes up connections of it that are
  // `known` already, as loadConnections() does, before a frame passes.
  //
  // Errors: what Worker::joinWire returns.
  Status joinWire(uint32_t inside, uint32_t outside, uint8_t zone, bool routerAdvertisements,
                  std::span<const SavedConnection> known = {}, size_t* taken = nullptr) noexcept;
  // Errors: State when it runs; what Worker::makeSwitch returns.
  Status makeSwitch(const MacAddress& gateway, uint32_t uplink) noexcept;
  // Errors: State when it runs; System.
  Status start() noexcept;
  void stop() noexcept;

  // Starts a job, which goes from worker to worker, beginning where it says; jobDone() says
  // when it is finished, and job() what came of it and where it has stopped.
  //
  // Errors: State when another is under way; Argument when there is no such worker.
  Status startJob(std::unique_ptr<ConnJob> job) noexcept;
  [[nodiscard]] bool jobDone() noexcept;
  [[nodiscard]] const ConnJob* job() const noexcept { return job_.get(); }

  // Says what a successor needs to go on with a link, for each queue that frames come in by.
  //
  // Errors: State while it runs; Argument when there is no such link, or it cannot be handed on.
  Status appendHandoff(uint32_t linkId, std::vector<LinkHandoff>* queues) const;
  // What was given with a link; nullptr when that was nothing.
  [[nodiscard]] void* attachedTo(uint32_t linkId) const noexcept {
    return linkId < attached_.size() ? attached_[linkId].get() : nullptr;
  }

  // Where saveConnections() has got to.
  struct SavePlace {
    uint32_t worker = 0;
    uint32_t entry = 0;
  };
  // Writes down as many connections as `into` has room for, from `*place` on, and moves it on; none
  // when there are no more.
  //
  // Errors: State while it runs: the connections are the workers' then.
  Status saveConnections(Saved which, std::span<SavedConnection> into, SavePlace* place,
                         size_t* count) noexcept;

  // Takes up connections that a process before has saved, or whoever else knows them; each goes to
  // the worker whose it is. Their next packets are judged by the table in force, as after a swap.
  // Running workers are stopped for the time of it.
  //
  // Shape:  any bytes: what cannot be a connection is left out. `taken` counts the others.
  Status loadConnections(std::span<const SavedConnection> saved, size_t* taken) noexcept;

  // Goes on with the generations of a process before: the next table has a later one, and
  // connections that are loaded keep theirs. Those of later generations are as if none had judged
  // them.
  //
  // Errors: State when there is a table already, whose generation could be mistaken for another's;
  //         Argument for generations that are about to end.
  Status continueFrom(uint32_t generation) noexcept;

  [[nodiscard]] uint32_t workers() const noexcept { return static_cast<uint32_t>(crew_.size()); }
  // By which the kernel is asked to give each worker its own frames.
  [[nodiscard]] const Steering& steering() const noexcept { return steering_; }
  [[nodiscard]] uint32_t generation() const noexcept { return generation_; }

  // Sums over the workers.
  [[nodiscard]] uint64_t drops(DropReason reason) const noexcept;
  [[nodiscard]] uint64_t connectionCount() const noexcept;
  void readCounters(DataplaneCounters* counters) const noexcept;
  // Errors: Argument when there is no such link.
  Status readLink(uint32_t linkId, LinkCounters* counters) const noexcept;

  // Goes up by one when every worker has made a round since it last did; so it stops as soon as one
  // hangs, however many rounds that one was ahead of the others. Threads: the control thread.
  [[nodiscard]] uint64_t progress() noexcept;

  // The events of all workers, each one's oldest first.
  size_t drainEvents(std::span<FlowEvent> into) noexcept;
  [[nodiscard]] uint64_t eventsPushed() const noexcept;
  [[nodiscard]] uint64_t eventsLost() const noexcept;

 private:
  // One worker and what is its own.
  struct Member {
    std::unique_ptr<EventRing> events;
    std::unique_ptr<Worker> worker;
    pthread_t thread = {};
    bool running = false;
    const Dataplane* dataplane = nullptr;
    Status status;  // of threadStart_, once it has started
    std::atomic<bool> started = false;
    std::atomic<bool> paused = false;
    uint64_t roundsSeen = 0;  // when progress_ last went up
  };

  explicit Dataplane(const DataplaneOptions& options) noexcept
      : tables_(options.workers), crew_(options.workers), cpu_(options.cpu) {}
  // Makes a change that only the control thread may make, while no worker runs.
  template <typename Change>
  Status whilePaused(Change change) noexcept;
  [[nodiscard]] size_t load(std::span<const SavedConnection> saved) noexcept;
  Status run() noexcept;
  Status runMember(size_t number) noexcept;
  void pause() noexcept;
  void resume() noexcept;

  TableSlot tables_;
  std::vector<std::shared_ptr<void>> attached_;  // by link id; go after the workers' links
  std::unique_ptr<ConnJob> job_;                 // outlives the workers
  std::vector<Member> crew_;
  Steering steering_;
  std::optional<uint32_t> cpu_;
  uint32_t generation_ = 0;
  uint32_t continuedFrom_ = 0;
  size_t drains_ = 0;
  uint64_t progress_ = 0;
  std::atomic<bool> pause_ = false;
  std::atomic<bool> end_ = false;  // of threads that pause
  bool running_ = false;
  ThreadStart threadStart_ = []() noexcept -> Status { return {}; };
};

}  // namespace sluice
