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
#include "native/worker/own-connections.h"
#include "native/worker/worker.h"

namespace sluice {

struct DataplaneOptions {
  FilterOptions filter;                 // for all workers together; the hash secret is drawn here
  uint32_t eventsMax = EVENTS_DEFAULT;  // of each worker
  uint32_t workers = 1;                 // at most WORKERS_MAX
  PollMode poll = PollMode::Adaptive;
  bool rejects = false;         // answer the sender of a packet that policy denies
  std::optional<uint32_t> cpu;  // the first worker's; the others take the ones behind it
};

// Reads the settings that JavaScript wrote. Errors: Argument for an unknown mode.
Status optionsOf(const DataplaneSettings& settings, DataplaneOptions* options) noexcept;

// The workers with their threads, table and events, as the control side sees them.
//
// The workers share only the table. Each connection belongs to one worker, and only that worker
// tracks it (see Steering).
//
// Threads: one control thread; readers of events and counters may be others, one each.
class Dataplane {
 public:
  // Errors: Argument for a number of workers outside 1 to WORKERS_MAX; what Worker::create and
  //         EventRing::create return.
  static Status create(DataplaneOptions options, std::unique_ptr<Dataplane>* dataplane) noexcept;
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // Each worker's thread calls this before its first round, for example to drop privileges. If the
  // call fails on one thread, all worker threads end, and the call that started them returns the
  // error.
  using ThreadStart = Status (*)() noexcept;
  void onThreadStart(ThreadStart start) noexcept { threadStart_ = start; }

  // The next calls pause running workers for about a millisecond; frames wait in their links
  // meanwhile. The threads are kept, so resuming needs nothing that the system could refuse.
  // `attached` is a resource of the link: it is kept as long as the link and destroyed after it.
  //
  // Shape: `links` are the queues of one interface, one for each worker; emptied.
  Status addLink(std::vector<std::unique_ptr<Link>> links, const std::optional<MacAddress>& mac,
                 std::shared_ptr<void> attached, uint32_t* linkId) noexcept;
  Status removeLink(uint32_t linkId) noexcept;
  // Replaces a link's queues and its attached resource, for example after its interface was created
  // again. The link keeps its wire, connections and counters.
  Status replaceLink(uint32_t linkId, std::vector<std::unique_ptr<Link>> links,
                     const std::optional<MacAddress>& mac, std::shared_ptr<void> attached) noexcept;
  // Closes a link's queues and its attached resource. The link carries no frames until
  // replaceLink().
  Status closeLink(uint32_t linkId) noexcept;
  // The index of a link's interface; 0 when the interface is gone. See Link.
  [[nodiscard]] uint32_t interfaceOf(uint32_t linkId) const noexcept {
    return crew_.front().worker->interfaceOf(linkId);
  }

  // Lets programs pass packets of admitted connections, of wires whose links can: see Link.
  // `memory` is each worker's for its connections: see ConnTable::share(). `inForce` outlives the
  // data plane: the number by which programs know which connections are admitted; all others come
  // up. So does `aliveUs`: one for each worker, which its programs must find recent.
  //
  // Errors: Argument for another number of workers; what GracePeriods::start and ConnTable::share
  //         return.
  Status shareConnections(std::span<const ConnMemory> memory, uint32_t* inForce,
                          uint64_t* aliveUs) noexcept;
  // What a table of connections is made by, of each worker.
  [[nodiscard]] uint32_t connectionsEach() const noexcept { return connectionsEach_; }
  [[nodiscard]] const HashSecret& hashSecret() const noexcept { return hashSecret_; }

  // With programs, returns when nothing passes that the new table denies: once the workers have
  // judged what is admitted, or 50 ms later. Then what is left comes up to be judged.
  //
  // Errors: what TableSlot::publish returns; the table in force stays.
  Status swapTable(std::span<const std::byte> blob, std::span<const uint32_t> linkByEndpoint,
                   uint32_t* generation) noexcept;
  // The same by the lines that changed.
  //
  // Errors: what TableSlot::publishLines returns; the table in force stays.
  Status swapLines(const TableLines& lines, std::span<const uint32_t> linkByEndpoint,
                   uint32_t* generation) noexcept;

  // Joins two links to a wire, also while the workers run. Loads the `known` connections of the
  // wire, as loadConnections() does, before its first frame passes.
  //
  // Errors: what Worker::joinWire returns.
  Status joinWire(uint32_t inside, uint32_t outside, uint8_t zone, bool routerAdvertisements,
                  std::span<const SavedConnection> known = {}, size_t* taken = nullptr) noexcept;
  // Lets connections of this process itself pass, on this way; see OwnConnections.
  Status setOwnWay(const OwnWay& way) noexcept;
  // Errors: Limit when there are too many.
  Status addOwnPort(uint16_t port) noexcept;
  void removeOwnPort(uint16_t port) noexcept { own_.remove(port); }

  // Errors: State when it runs; what Worker::makeSwitch returns.
  Status makeSwitch(const MacAddress& gateway, uint32_t uplink) noexcept;
  // Errors: State when it runs; System.
  Status start() noexcept;
  void stop() noexcept;

  // Starts a job. The job goes from worker to worker, from the worker and place that it names.
  // jobDone() says whether the job has finished; job() has its result and the place where it
  // stopped.
  //
  // Errors: State when another job is running; Argument when there is no such worker.
  Status startJob(std::unique_ptr<ConnJob> job) noexcept;
  [[nodiscard]] bool jobDone() noexcept;
  [[nodiscard]] const ConnJob* job() const noexcept { return job_.get(); }

  // Appends the handoff state of a link: what a successor needs for each receive queue.
  //
  // Errors: State while the data plane runs; Argument when there is no such link, or its kind
  //         cannot be handed over.
  Status appendHandoff(uint32_t linkId, std::vector<LinkHandoff>* queues) const;
  // The attached resource of a link, or nullptr.
  [[nodiscard]] void* attachedTo(uint32_t linkId) const noexcept {
    return linkId < attached_.size() ? attached_[linkId].get() : nullptr;
  }

  // The position of saveConnections().
  struct SavePlace {
    uint32_t worker = 0;
    uint32_t entry = 0;
  };
  // Saves connections from `*place` on, as many as fit in `into`, and advances `*place`. `*count`
  // is 0 when no connections are left.
  //
  // Errors: State while the data plane runs: the workers own the connections then.
  Status saveConnections(Saved which, std::span<SavedConnection> into, SavePlace* place,
                         size_t* count) noexcept;

  // Loads connections that a predecessor saved or another source knows. Each goes to the worker
  // that owns it. The table in force judges their next packets, as after a swap. Running workers
  // pause during the call.
  //
  // Shape: any bytes: records that cannot be a connection are skipped. `taken` counts the loaded
  //        ones.
  Status loadConnections(std::span<const SavedConnection> saved, size_t* taken) noexcept;

  // Continues the predecessor's numbering: the next table gets a higher generation than
  // `generation`, and loaded connections keep theirs. A loaded connection from a newer generation
  // is judged again on its next packet.
  //
  // Errors: State when a table is in force already: its generation could equal one of the
  //         predecessor's. Argument when the generations are about to run out.
  Status continueFrom(uint32_t generation) noexcept;

  [[nodiscard]] uint32_t workers() const noexcept { return static_cast<uint32_t>(crew_.size()); }
  // The rule by which the kernel gives each worker its own frames.
  [[nodiscard]] const Steering& steering() const noexcept { return steering_; }
  [[nodiscard]] uint32_t generation() const noexcept { return generation_; }

  // Counts of hits to read with a job.
  [[nodiscard]] uint64_t hitsWaiting() const noexcept;

  // Sums over the workers.
  [[nodiscard]] uint64_t drops(DropReason reason) const noexcept;
  [[nodiscard]] uint64_t connectionCount() const noexcept;
  void readCounters(DataplaneCounters* counters) const noexcept;
  // Errors: Argument when there is no such link.
  Status readLink(uint32_t linkId, LinkCounters* counters) const noexcept;

  // Rises by one once every worker has made a round since the last rise. So it stops as soon as one
  // worker hangs, even if that worker was rounds ahead. Threads: the control thread.
  [[nodiscard]] uint64_t progress() noexcept;

  // The events of all workers, each one's oldest first.
  size_t drainEvents(std::span<FlowEvent> into) noexcept;
  // From now on the workers keep the first bytes of frames that they drop, or do so no more.
  void askForDroppedFrames(bool wanted) noexcept;
  // Those that wait, of all workers, each one's oldest first.
  size_t drainDroppedFrames(std::span<DroppedFrame> into) noexcept;
  [[nodiscard]] uint64_t eventsPushed() const noexcept;
  [[nodiscard]] uint64_t eventsLost() const noexcept;

 private:
  // One worker, its thread and its events.
  struct Member {
    std::unique_ptr<EventRing> events;
    std::unique_ptr<FrameRing> droppedFrames;
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
  // Calls `change` on the control thread while no worker runs.
  template <typename Change>
  Status whilePaused(Change change) noexcept;
  [[nodiscard]] size_t load(std::span<const SavedConnection> saved) noexcept;
  Status run() noexcept;
  Status runMember(size_t number) noexcept;
  void pause() noexcept;
  void resume() noexcept;
  void enforce(uint32_t generation) noexcept;
  void bringIntoForce() noexcept;

  TableSlot tables_;
  OwnConnections own_;                           // outlives the workers
  std::vector<std::shared_ptr<void>> attached_;  // by link id; destroyed after the workers' links
  std::unique_ptr<ConnJob> job_;                 // outlives the workers
  std::unique_ptr<GracePeriods> periods_;        // outlive the workers
  std::vector<Member> crew_;
  Steering steering_;
  HashSecret hashSecret_ = {};
  uint32_t connectionsEach_ = 0;
  uint32_t* inForce_ = nullptr;  // for programs; nullptr: there are none
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
