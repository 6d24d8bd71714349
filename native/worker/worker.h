#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "native/event/event-ring.h"
#include "native/io/link.h"
#include "native/layout/layout.gen.h"
#include "native/packet/bytes.h"
#include "native/packet/status.h"
#include "native/packet/steering.h"
#include "native/table/table-slot.h"
#include "native/worker/conn-job.h"
#include "native/worker/filter.h"
#include "native/worker/handover.h"
#include "native/worker/reject.h"
#include "native/worker/turns.h"
#include "native/worker/wait-policy.h"

namespace sluice {

// The packet loop: takes batches from links, has them judged, and hands on what passes.
//
// Two ways to go. A wire has an inside and an outside, and what passes leaves by the other one as
// it came; there may be any number of them. A switch has a link for each endpoint: a frame goes to
// the link of the endpoint that owns its destination, from the gateway's MAC; ARP and neighbour
// requests are answered for everybody.
//
// Links share its time by what their frames cost, not by their number: see Turns.
//
// Threads: links and their queues are set while no round runs; rounds are one thread's; counters
// are read
//          from anywhere.
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

  // Makes this one of several workers, itself among them, in the order of their numbers: a frame
  // that belongs to another one is handed over to it. All have the same links under the same ids.
  //
  // Errors: Limit when there is no memory.
  Status join(const Steering& steering, std::span<Worker* const> workers) noexcept;

  // Whether the sender of what policy denies is told, and both ends of what is cut.
  void setRejecting(bool rejecting) noexcept { rejecting_ = rejecting; }
  [[nodiscard]] uint64_t rejects() const noexcept { return rejects_.read(); }
  // Segments of connections that are not known here whose ends were told.
  [[nodiscard]] uint64_t resets() const noexcept { return resets_.read(); }

  void setWaiting(const WaitPolicy& waiting) noexcept { waiting_ = waiting; }

  // Takes a link. `mac` is that of the endpoint behind it, where it is known.
  //
  // Errors: Limit when there are LINKS_MAX; System.
  Status addLink(std::unique_ptr<Link> link, const std::optional<MacAddress>& mac,
                 uint32_t* linkId) noexcept;
  // Frames that other workers have handed over are forgotten: the id may come to mean another link.
  // Errors: Argument when there is no such link.
  Status removeLink(uint32_t linkId) noexcept;

  // Puts `*link` in the place of another, which is then in `*link`, for the caller to end: that may
  // take the kernel a while. Wire, endpoint and counters stay.
  //
  // Errors: Argument when there is no such link; System.
  Status replaceLink(uint32_t linkId, std::unique_ptr<Link>* link,
                     const std::optional<MacAddress>& mac) noexcept;
  // Puts a ClosedLink in the place of a link, which is then in `*link`. Errors: Argument; Limit.
  Status closeLink(uint32_t linkId, std::unique_ptr<Link>* link) noexcept;
  // See Link. Shape: 0 when there is no such link.
  [[nodiscard]] uint32_t interfaceOf(uint32_t linkId) const noexcept;

  // Joins two links to a wire, until one of them is removed. `zone` tells its connections from
  // those of other wires; `routerAdvertisements` says whether those of the network may pass.
  //
  // Errors: Argument when a link is not there or of another wire, both are one, or another wire has
  //         the zone.
  Status joinWire(uint32_t inside, uint32_t outside, uint8_t zone,
                  bool routerAdvertisements) noexcept;
  // Every link that is of no wire is of the switch. `uplink` is a link or NONE; frames to it go to
  // the MAC that was given with it.
  Status makeSwitch(const MacAddress& gateway, uint32_t uplink) noexcept;

  // Handles at most one batch of each link that has frames, and whose turn it is; returns how many
  // frames it took. When any link has frames, some are taken.
  //
  // Units: `nowUs` never goes back; any origin.
  size_t round(uint64_t nowUs) noexcept;

  // Rounds until `stop` is set; waits as its WaitPolicy says, asleep for 10 ms at most.
  void run(const std::atomic<bool>& stop) noexcept;
  // Ends a sleep. Threads: any.
  void wake() noexcept;

  // Gives it a job; its `done` tells when it is finished. One at a time. Threads: any.
  void send(ConnJob* job) noexcept {
    job_.store(job, std::memory_order_release);
    wake();
  }
  // Takes a step of the job; false when there is none.
  bool serveJob() noexcept;
  // See Link. Errors: Argument when there is no such link, or it cannot be handed on.
  Status appendHandoff(uint32_t linkId, std::vector<LinkHandoff>* queues) const;

  // See Filter. Threads: the control thread, while no round runs.
  size_t saveConnections(Saved which, std::span<SavedConnection> into, uint32_t* place) noexcept;
  bool loadConnection(const SavedConnection& saved, uint32_t generationMax) noexcept;

  // Rounds so far. It goes up many times a second while the worker is well. Threads: any.
  [[nodiscard]] uint64_t rounds() const noexcept { return rounds_.read(); }

  [[nodiscard]] uint64_t drops(DropReason reason) const noexcept;
  [[nodiscard]] uint32_t connectionCount() const noexcept { return filter_->connectionCount(); }
  [[nodiscard]] const FilterCounters& filterCounters() const noexcept {
    return filter_->counters();
  }
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
  void expire(uint64_t nowUs) noexcept;
  void sleep() noexcept;
  [[nodiscard]] size_t takeTurns(const TableInForce* table, uint64_t nowUs) noexcept;
  [[nodiscard]] size_t handOverOthers(Station& from, size_t count) noexcept;
  [[nodiscard]] size_t handleHandedOver(const TableInForce* table, uint64_t nowUs) noexcept;
  void wakeReceivers() noexcept;
  [[nodiscard]] bool inboxEmpty() const noexcept;
  void refreshContexts(const TableInForce& table) noexcept;
  void settleOwners() noexcept;
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
  [[nodiscard]] Station* stationOf(uint32_t linkId) const noexcept;

  std::unique_ptr<Filter> filter_;
  TableSlot* tables_;
  size_t number_;
  EventRing* events_;
  int poll_ = -1;  // of many links
  int wake_ = -1;
  WaitPolicy waiting_;

  Steering steering_;
  std::vector<Worker*> workers_;                  // empty when this is the only one
  std::vector<std::unique_ptr<Handover>> inbox_;  // by who hands over; none of its own
  uint64_t receivers_ = 0;                        // bit: worker that was handed a frame this round
  alignas(64) std::atomic<bool> asleep_ = false;

  bool switch_ = false;
  uint32_t uplink_ = NONE;  // of the switch
  MacAddress gateway_ = {};
  bool contextsStale_ = true;
  uint32_t contextsGeneration_ = 0;  // 0: no table yet

  std::vector<std::unique_ptr<Station>> stations_;  // by link id
  size_t lookedFirst_ = 0;                          // where all are looked at
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
  bool sweeping_ = false;     // connections are being judged again
  uint64_t eventTimeUs_ = 0;  // of this round, since the epoch
  uint64_t epochOffsetUs_ = 0;
  uint64_t epochReadUs_ = 0;
  uint64_t exemptToldUs_ = 0;  // when a message that no policy judges was last reported
  uint64_t sweptUs_ = 0;       // up to when the sweep of the connections has kept pace

  std::atomic<ConnJob*> job_ = nullptr;
  Counter rounds_;
  Counter rejects_;
  Counter resets_;
  std::array<Counter, DROP_REASON_COUNT> dropped_;  // after the filter let pass, or before it
};

}  // namespace sluice
