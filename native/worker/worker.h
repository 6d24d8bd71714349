#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "native/event/event-ring.h"
#include "native/event/frame-ring.h"
#include "native/io/link.h"
#include "native/layout/layout.gen.h"
#include "native/packet/bytes.h"
#include "native/packet/reject.h"
#include "native/packet/status.h"
#include "native/packet/steering.h"
#include "native/table/table-slot.h"
#include "native/worker/conn-job.h"
#include "native/worker/filter.h"
#include "native/worker/handover.h"
#include "native/worker/turns.h"
#include "native/worker/wait-policy.h"

namespace sluice {

// The packet loop: takes batches from links, has the filter judge them, and forwards what passes.
//
// Two topologies. Wire: an inside and an outside link; a frame that passes leaves by the other
// link, unchanged. There may be any number of wires. Switch: one link for each endpoint; a frame
// goes to the link of the endpoint that owns its destination address, with the gateway's MAC as its
// source. The worker answers ARP and neighbour requests for all addresses.
//
// Links share the worker's time by the cost of their frames, not by the number of frames: see
// Turns.
//
// Threads: links and their queues are set while no round runs; one thread makes all rounds; any
//          thread may read counters.
// Cost:    nothing is allocated and no lock taken in a round.
class Worker {
 public:
  // Shape:  `number` is this worker's place in `tables`; tables and events outlive the worker.
  // Errors: what Filter::create returns; System.
  static Status create(const FilterOptions& options, TableSlot* tables, size_t number,
                       EventRing* events, std::unique_ptr<Worker>* worker) noexcept;
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Makes this worker one of several. `workers` includes this worker and is ordered by number. A
  // frame that belongs to another worker is handed over to it. All workers have the same links
  // under the same ids.
  //
  // Errors: Limit when there is no memory.
  Status join(const Steering& steering, std::span<Worker* const> workers) noexcept;

  // Whether to answer the sender of a packet that policy denies, and to reset both ends of a
  // connection that is cut.
  void setRejecting(bool rejecting) noexcept { rejecting_ = rejecting; }
  // Where the first bytes of dropped frames go while its reader wants them; it outlives the worker.
  void setDroppedFrames(FrameRing* frames) noexcept { droppedFrames_ = frames; }
  [[nodiscard]] uint64_t rejects() const noexcept { return rejects_.read(); }
  // Segments of unknown connections that were answered with resets.
  [[nodiscard]] uint64_t resets() const noexcept { return resets_.read(); }

  void setWaiting(const WaitPolicy& waiting) noexcept { waiting_ = waiting; }

  // Adds a link. `mac` is the MAC of the endpoint behind it, if known.
  //
  // Errors: Limit when there are LINKS_MAX; System.
  Status addLink(std::unique_ptr<Link> link, const std::optional<MacAddress>& mac,
                 uint32_t* linkId) noexcept;
  // Removes a link and drops all frames that other workers have handed over: a later link may get
  // the same id.
  // Errors: Argument when there is no such link.
  Status removeLink(uint32_t linkId) noexcept;

  // Swaps `*link` with the link of that id. The caller destroys the old link, now in `*link`: the
  // kernel may take a while for that. The wire, the endpoint and the counters stay.
  //
  // Errors: Argument when there is no such link; System.
  Status replaceLink(uint32_t linkId, std::unique_ptr<Link>* link,
                     const std::optional<MacAddress>& mac) noexcept;
  // Replaces a link with a ClosedLink and returns the old link in `*link`. Errors: Argument; Limit.
  Status closeLink(uint32_t linkId, std::unique_ptr<Link>* link) noexcept;
  // See Link. Shape: 0 when there is no such link.
  [[nodiscard]] uint32_t interfaceOf(uint32_t linkId) const noexcept;

  // Joins two links to a wire, until one of them is removed. `zone` keeps the wire's connections
  // apart from those of other wires. `routerAdvertisements`: whether router advertisements from the
  // network may pass.
  //
  // Errors: Argument when a link does not exist or belongs to another wire, when both are the same
  //         link, or when another wire has the zone.
  Status joinWire(uint32_t inside, uint32_t outside, uint8_t zone,
                  bool routerAdvertisements) noexcept;
  // Lets programs pass the connections of wires whose two links can: see Filter::share(). They pass
  // nothing while `aliveUs` is too old: run() keeps it new. It outlives the worker.
  // Errors: Limit; System.
  Status share(const ConnMemory& memory, GracePeriods* periods, uint64_t* aliveUs) noexcept;
  // The generation up to which admitted connections have been judged. Threads: any.
  [[nodiscard]] uint32_t judgedUpTo() const noexcept {
    return judgedUpTo_.load(std::memory_order_acquire);
  }

  // Makes every link that belongs to no wire a link of the switch. `uplink` is a link or NONE.
  // Frames sent by the uplink go to the MAC that addLink() got with it.
  Status makeSwitch(const MacAddress& gateway, uint32_t uplink) noexcept;

  // Handles at most one batch from each link that has frames and whose turn it is; returns the
  // number of frames taken. It takes some whenever any link has frames.
  //
  // Units: `nowUs` in microseconds, from any origin; never goes back.
  size_t round(uint64_t nowUs) noexcept;

  // Makes rounds until `stop` is set. Waits between them as the WaitPolicy says; a sleep lasts at
  // most 10 ms.
  void run(const std::atomic<bool>& stop) noexcept;
  // Ends a sleep. Threads: any.
  void wake() noexcept;

  // Gives the worker a job. The job's `done` is set when the job has finished. One job at a time.
  // Threads: any.
  void send(ConnJob* job) noexcept {
    job_.store(job, std::memory_order_release);
    wake();
  }
  void lookAtAll() noexcept;
  // Makes one step of the job; false when there is no job.
  bool serveJob() noexcept;
  // See Link. Errors: Argument when there is no such link, or its kind cannot be handed over.
  Status appendHandoff(uint32_t linkId, std::vector<LinkHandoff>* queues) const;

  // See Filter. Threads: the control thread, while no round runs.
  size_t saveConnections(Saved which, std::span<SavedConnection> into, uint32_t* place) noexcept;
  bool loadConnection(const SavedConnection& saved, uint32_t generationMax) noexcept;

  // Rounds so far. Rises many times a second unless the worker hangs. Threads: any.
  [[nodiscard]] uint64_t rounds() const noexcept { return rounds_.read(); }

  [[nodiscard]] uint64_t drops(DropReason reason) const noexcept;
  [[nodiscard]] uint32_t connectionCount() const noexcept { return filter_->connectionCount(); }
  [[nodiscard]] const FilterCounters& filterCounters() const noexcept {
    return filter_->counters();
  }
  [[nodiscard]] uint32_t hitsWaiting() const noexcept { return filter_->hitsWaiting(); }
  [[nodiscard]] uint64_t evicted(ConnClass each) const noexcept { return filter_->evicted(each); }
  [[nodiscard]] uint64_t fragmentsEvicted() const noexcept { return filter_->fragmentsEvicted(); }
  // Errors: Argument when there is no such link.
  Status readLink(uint32_t linkId, LinkCounters* counters) const noexcept;

 private:
  struct Station;

  Worker(std::unique_ptr<Filter> filter, TableSlot* tables, size_t number,
         EventRing* events) noexcept;

  Status watch(int descriptor, uint64_t tag) noexcept;
  Status watch(Station& station, uint64_t tag) noexcept;
  void wait(int timeoutMs) noexcept;
  void waitForFew(int timeoutMs) noexcept;
  void forgetWake() noexcept;
  void askWhichAreReady(int timeoutMs) noexcept;
  void reclaim() noexcept;
  void expire(uint64_t nowUs) noexcept;
  void sleep() noexcept;
  [[nodiscard]] size_t takeTurns(const TableInForce* table, uint64_t nowUs) noexcept;
  [[nodiscard]] size_t handOverOthers(Station& from, size_t count) noexcept;
  [[nodiscard]] size_t handleHandedOver(const TableInForce* table, uint64_t nowUs) noexcept;
  void wakeReceivers() noexcept;
  [[nodiscard]] bool inboxEmpty() const noexcept;
  void refreshContexts(const TableInForce& table) noexcept;
  void settleOwners() noexcept;
  Status settleOffload(const Station& station) noexcept;
  Status settlePartner(const Station& station) noexcept;
  [[nodiscard]] ConnCharge chargeOf(const SavedConnection& saved) const noexcept;
  void handleBatch(Station& from, size_t count, const TableInForce* table, uint64_t nowUs) noexcept;
  [[nodiscard]] DropReason forward(Station& from, Frame& frame, const Judgement& judgement,
                                   const TableInForce& table) noexcept;
  [[nodiscard]] DropReason forwardSwitched(Station& from, Frame& frame, const Judgement& judgement,
                                           const TableInForce& table) noexcept;
  [[nodiscard]] bool answer(Station& from, const Frame& frame, const TableInForce& table) noexcept;
  [[nodiscard]] DropReason send(Station& to, Frame& frame) noexcept;
  [[nodiscard]] bool sendSegments(Station& to, const Frame& frame) noexcept;
  [[nodiscard]] bool queue(Station& to, const Frame& frame) noexcept;
  void sweep(const TableInForce& table, uint64_t nowUs) noexcept;
  void reject(Station& from, const Frame& frame, uint64_t nowUs) noexcept;
  void resetUnknown(Station& from, const Frame& frame, const Judgement& judgement,
                    const TableInForce& table, uint64_t nowUs) noexcept;
  void reportCuts(const TableInForce& table, uint64_t nowUs) noexcept;
  void resetEnds(const CutConn& cut, const TableInForce& table, uint64_t nowUs) noexcept;
  [[nodiscard]] bool placeReset(const CutConn& cut, size_t end, const TableInForce& table,
                                Reset* reset, Station** to) const noexcept;
  void flush() noexcept;
  void flushStation(Station& station) noexcept;
  [[nodiscard]] FlowEvent eventOf(FlowEventKind kind, const FlowKey& key) const noexcept;
  void report(FlowEventKind kind, const Station& from, const Frame& frame,
              const Judgement& judgement, DropReason reason) noexcept;
  void passExempt(Station& from, Frame& frame, const Judgement& judgement, uint64_t nowUs) noexcept;
  void reportAudited(const Station& from, const Frame& frame, const Judgement& judgement) noexcept;
  void reportClosed() noexcept;
  [[nodiscard]] static KernelCounts kernelCounts(const Station& station) noexcept;
  [[nodiscard]] Station* stationOf(uint32_t linkId) const noexcept;

  std::unique_ptr<Filter> filter_;
  TableSlot* tables_;
  size_t number_;
  EventRing* events_;
  FrameRing* droppedFrames_ = nullptr;
  int poll_ = -1;  // epoll set, when there are many links
  int wake_ = -1;
  WaitPolicy waiting_;

  Steering steering_;
  std::vector<Worker*> workers_;                  // empty when this is the only one
  std::vector<std::unique_ptr<Handover>> inbox_;  // by sending worker; none from itself
  uint64_t receivers_ = 0;                        // bit n: worker n was handed a frame this round
  alignas(64) std::atomic<bool> asleep_ = false;

  bool switch_ = false;
  uint32_t uplink_ = NONE;  // of the switch
  MacAddress gateway_ = {};
  bool contextsStale_ = true;
  uint32_t contextsGeneration_ = 0;  // 0: no table yet

  std::vector<std::unique_ptr<Station>> stations_;  // by link id
  size_t lookedFirst_ = 0;                          // where a look at all links starts
  std::vector<uint32_t> ready_;                     // links that had frames when last looked at
  std::vector<uint32_t> dirty_;                     // links with frames to flush
  Turns turns_;
  std::vector<Turns::Party> handingOver_;  // as inbox_
  uint64_t work_ = 0;                      // of the batch at hand
  std::array<Frame, BATCH_FRAMES_MAX> frames_ = {};
  std::array<Judgement, BATCH_FRAMES_MAX> judgements_ = {};
  std::unique_ptr<std::byte[]> scratch_;  // segments of a superframe
  std::unique_ptr<std::byte[]> answers_;  // neighbour answers of a batch
  size_t answersUsed_ = 0;
  std::unique_ptr<std::byte[]> rejectSpace_;  // answers to what is denied, and resets, of a batch
  size_t rejectUsed_ = 0;
  bool rejecting_ = false;
  bool shares_ = false;  // programs read the connections
  uint64_t* aliveUs_ = nullptr;
  std::atomic<uint32_t> judgedUpTo_ = 0;
  bool sweeping_ = false;     // a sweep judges connections again
  uint64_t eventTimeUs_ = 0;  // of this round, since the epoch
  uint64_t epochOffsetUs_ = 0;
  uint64_t epochReadUs_ = 0;
  uint64_t exemptReportedUs_ = 0;  // when a message that no policy judges was last reported
  uint64_t sweptUs_ = 0;           // the time that the expiry of connections has reached

  std::atomic<ConnJob*> job_ = nullptr;
  Counter rounds_;
  Counter rejects_;
  Counter resets_;
  std::array<Counter, DROP_REASON_COUNT> dropped_;  // before the filter, or after it
};

}  // namespace sluice
