#include "native/worker/worker.h"

#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "native/host/clock.h"
#include "native/io/closed-link.h"
#include "native/packet/finish-offload.h"
#include "native/worker/neighbour-proxy.h"

namespace sluice {
namespace {

constexpr int SLEEP_MS_MAX = 10;
// Up to this many links, looking at each costs less than asking the kernel which is ready. For so
// few links no epoll set is registered: the kernel would update it on every frame, on the sender's
// CPU, although the worker is awake and looks anyway.
constexpr size_t LINKS_LOOKED_AT = 2;
constexpr uint64_t WAKE_TAG = UINT64_MAX;
constexpr uint64_t EPOCH_REFRESH_US = 1'000'000;
// Of messages that no policy judges, each link's first of each kind is reported, and one in this
// time.
constexpr uint64_t EXEMPT_SAMPLE_US = 1'000'000;
// Each connection is checked for its timeout this often. A check touches memory that packets do
// not, so its rate follows the clock and not the rounds, of which there may be a million a second.
constexpr uint64_t SWEEP_US = 8'000'000;
// A round makes up for at most this many overdue steps and skips the rest: frames wait meanwhile.
constexpr uint64_t SWEEP_STEPS_MAX = 16 * BATCH_FRAMES_MAX;
constexpr uint32_t ARP_FRAME_BYTES = 42;
constexpr uint32_t IPV6_PAYLOAD = 54;
// A superframe's worth of segments with headers, for any segment size that a path has.
constexpr size_t SCRATCH_BYTES = 2 * FRAME_BYTES_MAX;
// A batch needs at most one answer a frame, or the resets of the frame's connection; a sweep needs
// resets only.
constexpr size_t REJECT_SPACE_BYTES = BATCH_FRAMES_MAX * REJECT_BYTES_MAX;
static_assert(4 * RESET_BYTES_MAX <= REJECT_BYTES_MAX);

// Moves the thread to another CPU that it may run on; false when there is none. The thread's
// affinity is narrowed for a moment, since the kernel then moves it at once; by itself the kernel
// moves a thread only after a long wait. The affinity is restored afterwards.
bool goToAnotherCpu() noexcept {
  cpu_set_t allowed;
  const int cpu = sched_getcpu();
  if (cpu < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<size_t>(cpu), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return false;
  return sched_setaffinity(0, sizeof allowed, &allowed) == 0;
}

}  // namespace

// A link and its state in this worker.
struct Worker::Station {
  std::unique_ptr<Link> link;
  LinkContext context;
  std::optional<MacAddress> mac;
  uint32_t partner = NONE;  // the other end of the wire
  bool isInside = false;
  uint8_t zone = 0;
  bool routerAdvertisements = false;
  uint16_t owner = ConnTable::NOBODY;  // of the connections of the endpoint behind this link
  uint8_t exemptReported = 0;          // bit n: a first message of ExemptKind n has been reported
  bool unpolled = false;               // it has no descriptor to poll
  bool watched = false;                // by poll_
  bool gone = false;                   // for good: not to be polled
  bool ready = false;                  // listed in ready_
  bool dirty = false;                  // listed in dirty_
  Turns::Party share;
  RejectLimit rejectLimit;  // of answers sent on it
  ResetLimit resetLimit;    // of resets for frames that arrived on it
  // The source MAC of the last frame that passed, or the destination of one that opened a
  // connection to here: the destination of a reset that answers no frame. Kept only while
  // rejecting_ is set.
  std::optional<MacAddress> neighbour;
  Counter receivedFrames;
  Counter receivedBytes;
  Counter sentFrames;
  Counter sentBytes;
  Counter droppedFrames;
  Counter refusedFrames;
  Counter answeredFrames;
  uint64_t lostBefore = 0;    // by the links that this one replaced
  KernelCounts kernelBefore;  // the same
};

Worker::Worker(std::unique_ptr<Filter> filter, TableSlot* tables, size_t number,
               EventRing* events) noexcept
    : filter_(std::move(filter)), tables_(tables), number_(number), events_(events) {}

Status Worker::create(const FilterOptions& options, TableSlot* tables, size_t number,
                      EventRing* events, std::unique_ptr<Worker>* worker) noexcept {
  std::unique_ptr<Filter> filter;
  if (const Status status = Filter::create(options, &filter); !status.ok()) return status;
  std::unique_ptr<Worker> made(new (std::nothrow)
                                   Worker(std::move(filter), tables, number, events));
  if (made == nullptr) return {StatusCode::Limit};
  made->stations_.reserve(LINKS_MAX);
  made->ready_.reserve(LINKS_MAX);
  made->dirty_.reserve(LINKS_MAX);
  made->scratch_.reset(new (std::nothrow) std::byte[SCRATCH_BYTES]);
  made->answers_.reset(new (std::nothrow) std::byte[BATCH_FRAMES_MAX * NEIGHBOUR_REPLY_BYTES_MAX]);
  made->rejectSpace_.reset(new (std::nothrow) std::byte[REJECT_SPACE_BYTES]);
  if (made->scratch_ == nullptr || made->answers_ == nullptr || made->rejectSpace_ == nullptr)
    return {StatusCode::Limit};
  made->poll_ = epoll_create1(EPOLL_CLOEXEC);
  if (made->poll_ < 0) return Status::system("epoll_create1", errno);
  made->wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (made->wake_ < 0) return Status::system("eventfd", errno);
  if (const Status status = made->watch(made->wake_, WAKE_TAG); !status.ok()) return status;
  *worker = std::move(made);
  return {};
}

Worker::~Worker() {
  if (poll_ >= 0) close(poll_);
  if (wake_ >= 0) close(wake_);
}

Status Worker::join(const Steering& steering, std::span<Worker* const> workers) noexcept {
  steering_ = steering;
  workers_.assign(workers.begin(), workers.end());
  inbox_.resize(workers.size());
  handingOver_.resize(workers.size());
  for (size_t from = 0; from < workers.size(); ++from) {
    if (from == number_) continue;
    if (const Status status = Handover::create(&inbox_[from]); !status.ok()) return status;
  }
  return {};
}

Status Worker::watch(int descriptor, uint64_t tag) noexcept {
  if (descriptor < 0) return {};
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  if (epoll_ctl(poll_, EPOLL_CTL_ADD, descriptor, &event) != 0) {
    return Status::system("epoll_ctl", errno);
  }
  return {};
}

Status Worker::watch(Station& station, uint64_t tag) noexcept {
  if (station.watched || station.gone) return {};
  const Status status = watch(station.link->descriptor(), tag);
  station.watched = status.ok();
  return status;
}

Worker::Station* Worker::stationOf(uint32_t linkId) const noexcept {
  return linkId < stations_.size() ? stations_[linkId].get() : nullptr;
}

Status Worker::addLink(std::unique_ptr<Link> link, const std::optional<MacAddress>& mac,
                       uint32_t* linkId) noexcept {
  // A table may still bind the id of a removed link. A new link with that id would be taken for the
  // old link's endpoint.
  const TableInForce* table = tables_->inForce();
  uint32_t id = 0;
  while (stationOf(id) != nullptr || (table != nullptr && table->endpointOfLink(id) != NONE)) ++id;
  if (id >= LINKS_MAX) return {StatusCode::Limit};
  std::unique_ptr<Station> station(new (std::nothrow) Station);
  if (station == nullptr) return {StatusCode::Limit};
  station->link = std::move(link);
  if (std::max<size_t>(stations_.size(), id + 1) > LINKS_LOOKED_AT) {
    Status status = watch(*station, id);
    for (uint32_t other = 0; status.ok() && other < stations_.size(); ++other) {
      if (stationOf(other) != nullptr) status = watch(*stationOf(other), other);
    }
    if (!status.ok()) return status;
  }
  station->mac = mac;
  station->context.linkId = id;
  station->unpolled = station->link->descriptor() < 0;
  // Frames that arrived before the link was watched have raised no event.
  station->ready = true;
  ready_.push_back(id);
  if (id >= stations_.size()) stations_.resize(id + 1);
  stations_[id] = std::move(station);
  settleOwners();
  *linkId = id;
  return {};
}

Status Worker::removeLink(uint32_t linkId) noexcept {
  const Station* station = stationOf(linkId);
  if (station == nullptr) return {StatusCode::Argument};
  std::erase(ready_, linkId);
  if (station->watched) {
    epoll_ctl(poll_, EPOLL_CTL_DEL, station->link->descriptor(), nullptr);
  }
  if (Station* partner = stationOf(station->partner); partner != nullptr) {
    partner->partner = NONE;
    if (shares_) {
      filter_->offload(partner->zone, nullptr, nullptr);
      (void)settlePartner(*partner);
    }
  }
  // Also when all numbers were taken and its wire's datagrams are nobody's.
  filter_->detachOwner(linkId, clockNs(CLOCK_MONOTONIC) / 1'000);
  std::erase(dirty_, linkId);
  stations_[linkId].reset();
  for (const auto& handover : inbox_) {
    if (handover != nullptr) handover->clear();
  }
  if (linkId == uplink_) uplink_ = NONE;
  settleOwners();
  return {};
}

Status Worker::replaceLink(uint32_t linkId, std::unique_ptr<Link>* link,
                           const std::optional<MacAddress>& mac) noexcept {
  Station* station = stationOf(linkId);
  if (station == nullptr) return {StatusCode::Argument};
  if (station->watched) epoll_ctl(poll_, EPOLL_CTL_DEL, station->link->descriptor(), nullptr);
  station->watched = station->gone = false;
  station->lostBefore += station->link->lostFrames();
  const KernelCounts counts = station->link->kernelCounts();
  station->kernelBefore.passedFrames += counts.passedFrames;
  station->kernelBefore.passedBytes += counts.passedBytes;
  station->link.swap(*link);
  station->mac = mac;
  station->neighbour.reset();
  station->unpolled = station->link->descriptor() < 0;
  for (const auto& handover : inbox_) {
    if (handover != nullptr) handover->clear();
  }
  contextsStale_ = true;
  if (!station->ready) {
    station->ready = true;
    ready_.push_back(linkId);
  }
  const Status settled = settleOffload(*station);
  if (!settled.ok()) return settled;
  return stations_.size() > LINKS_LOOKED_AT ? watch(*station, linkId) : Status{};
}

Status Worker::closeLink(uint32_t linkId, std::unique_ptr<Link>* link) noexcept {
  link->reset(new (std::nothrow) ClosedLink);
  if (*link == nullptr) return {StatusCode::Limit};
  const Station* station = stationOf(linkId);
  const std::optional<MacAddress> mac = station != nullptr ? station->mac : std::nullopt;
  return replaceLink(linkId, link, mac);
}

uint32_t Worker::interfaceOf(uint32_t linkId) const noexcept {
  const Station* station = stationOf(linkId);
  return station != nullptr ? station->link->interfaceIndex() : 0;
}

Status Worker::joinWire(uint32_t inside, uint32_t outside, uint8_t zone,
                        bool routerAdvertisements) noexcept {
  Station* const ends[] = {stationOf(inside), stationOf(outside)};
  if (inside == outside) return {StatusCode::Argument};
  for (const Station* end : ends) {
    if (end == nullptr || end->partner != NONE) return {StatusCode::Argument};
  }
  const bool taken = std::any_of(stations_.begin(), stations_.end(), [zone](const auto& each) {
    return each != nullptr && each->partner != NONE && each->zone == zone;
  });
  if (taken) return {StatusCode::Argument};
  ends[0]->partner = outside;
  ends[0]->isInside = true;
  ends[1]->partner = inside;
  ends[1]->isInside = false;
  ends[0]->zone = ends[1]->zone = zone;
  ends[1]->routerAdvertisements = routerAdvertisements;
  settleOwners();
  return settleOffload(*ends[0]);
}

Status Worker::share(const ConnMemory& memory, GracePeriods* periods, uint64_t* aliveUs) noexcept {
  const Status status = filter_->share(memory, periods);
  shares_ = shares_ || status.ok();
  if (status.ok()) aliveUs_ = aliveUs;
  return status;
}

// Tells the programs of a wire, whose links may have been replaced, of each other.
Status Worker::settleOffload(const Station& station) noexcept {
  const Station* const partner = stationOf(station.partner);
  if (!shares_ || partner == nullptr) return {};
  const Station& inside = station.isInside ? station : *partner;
  const Station& outside = station.isInside ? *partner : station;
  const bool both = inside.link->passesInKernel() && outside.link->passesInKernel();
  // First what they passed by the links before.
  filter_->offload(station.zone, nullptr, nullptr);
  if (both) filter_->offload(station.zone, &inside.context, &outside.context);
  const Status status = settlePartner(inside);
  return status.ok() ? settlePartner(outside) : status;
}

Status Worker::settlePartner(const Station& station) noexcept {
  const Station* const partner = stationOf(station.partner);
  WirePartner told;
  told.isOutside = partner != nullptr && !station.isInside;
  told.zone = station.zone;
  if (partner != nullptr) {
    told.mac = station.isInside ? station.mac : partner->mac;
    if (partner->link->passesInKernel()) told.interfaceIndex = partner->link->interfaceIndex();
  }
  return station.link->passTo(told);
}

Status Worker::makeSwitch(const MacAddress& gateway, uint32_t uplink) noexcept {
  if (uplink != NONE && (stationOf(uplink) == nullptr || !stationOf(uplink)->mac.has_value())) {
    return {StatusCode::Argument};
  }
  switch_ = true;
  uplink_ = uplink;
  gateway_ = gateway;
  settleOwners();
  return {};
}

// The endpoint behind a link owns connections as long as the link belongs to a wire or to the
// switch.
void Worker::settleOwners() noexcept {
  for (uint32_t id = 0; id < stations_.size(); ++id) {
    Station* station = stationOf(id);
    if (station == nullptr) continue;
    const bool owns = station->partner != NONE ? station->isInside : switch_ && id != uplink_;
    if (owns == (station->owner != ConnTable::NOBODY)) continue;
    if (owns) {
      station->owner = filter_->attachOwner(id);
    } else {
      filter_->detachOwner(id, clockNs(CLOCK_MONOTONIC) / 1'000);
      station->owner = ConnTable::NOBODY;
    }
  }
  contextsStale_ = true;
}

void Worker::refreshContexts(const TableInForce& table) noexcept {
  if (!contextsStale_ && contextsGeneration_ == table.generation) return;
  for (uint32_t id = 0; id < stations_.size(); ++id) {
    Station* station = stationOf(id);
    if (station == nullptr) continue;
    const bool wire = station->partner != NONE;
    const bool uplink = wire ? !station->isInside : id == uplink_;
    const uint32_t inside = wire && uplink ? station->partner : id;
    const auto& mac = stationOf(inside)->mac;
    station->context = {};
    station->context.linkId = id;
    station->context.endpointId = wire || !uplink ? table.endpointOfLink(inside) : NONE;
    station->context.role = uplink ? LinkRole::Uplink : LinkRole::Endpoint;
    station->context.wire = wire;
    station->context.zone = station->zone;
    station->context.hasMac = mac.has_value();
    station->context.mac = mac.value_or(MacAddress{});
    station->context.routerAdvertisements = wire && uplink && station->routerAdvertisements;
    station->context.owner = stationOf(inside)->owner;
  }
  contextsStale_ = false;
  contextsGeneration_ = table.generation;
}

size_t Worker::round(uint64_t nowUs) noexcept {
  const TableInForce* table = tables_->read(number_);
  if (table != nullptr) refreshContexts(*table);
  if (shares_) {
    __atomic_store_n(aliveUs_, nowUs, __ATOMIC_RELAXED);
    reclaim();
  }
  if (epochOffsetUs_ == 0 || nowUs - epochReadUs_ > EPOCH_REFRESH_US) {
    epochOffsetUs_ = clockNs(CLOCK_REALTIME) / 1'000 - nowUs;
    epochReadUs_ = nowUs;
  }
  eventTimeUs_ = nowUs + epochOffsetUs_;

  if (stations_.size() > LINKS_LOOKED_AT) askWhichAreReady(0);
  size_t taken = takeTurns(table, nowUs);
  // Parties in debt waited although no other party had frames.
  if (turns_.endRound() && taken == 0) {
    taken = takeTurns(table, nowUs);
    turns_.endRound();
  }
  if (!dirty_.empty()) flush();
  expire(nowUs);
  if (table != nullptr) sweep(*table, nowUs);
  return taken;
}

size_t Worker::takeTurns(const TableInForce* table, uint64_t nowUs) noexcept {
  const bool lookAtAll = stations_.size() <= LINKS_LOOKED_AT;
  size_t taken = 0;
  size_t kept = 0;
  const size_t links = lookAtAll ? stations_.size() : ready_.size();
  const size_t first = lookAtAll ? lookedFirst_ : 0;
  for (size_t turn = 0; turn < links; ++turn) {
    const size_t index = first + turn < links ? first + turn : first + turn - links;
    const uint32_t id = lookAtAll ? static_cast<uint32_t>(index) : ready_[index];
    Station* station = stationOf(id);
    if (station == nullptr) continue;
    if (!turns_.mayTake(station->share)) {
      if (!lookAtAll) ready_[kept++] = id;
      continue;
    }
    const size_t count = station->link->receive(frames_);
    if (count > 0) {
      work_ = 0;
      const size_t own = workers_.empty() ? count : handOverOthers(*station, count);
      handleBatch(*station, own, table, nowUs);
      turns_.took(station->share, work_);
    }
    station->link->release();
    taken += count;
    if (lookAtAll) {
      // An answer arrives on another link than its question, so look there first.
      if (count > 0) lookedFirst_ = index + 1 == links ? 0 : index + 1;
      continue;
    }
    station->ready = count > 0 || station->unpolled;
    if (station->ready) ready_[kept++] = id;
  }
  if (!lookAtAll) ready_.resize(kept);
  if (!workers_.empty()) {
    wakeReceivers();
    taken += handleHandedOver(table, nowUs);
  }
  return taken;
}

// Reports the connections that have ended, once programs count for them no more.
void Worker::reclaim() noexcept {
  size_t reclaimed = ConnTable::RECLAIMED_MAX;
  while (reclaimed == ConnTable::RECLAIMED_MAX) {
    reclaimed = filter_->reclaim();
    reportClosed();
  }
}

// A timed-out connection is not found any more. This call frees its place and reports its end.
void Worker::expire(uint64_t nowUs) noexcept {
  const uint64_t sinceUs = std::min(nowUs - sweptUs_, SWEEP_US);
  const uint64_t due = sinceUs * filter_->placesUsed() / SWEEP_US;
  if (due < BATCH_FRAMES_MAX && sinceUs < SWEEP_US) return;
  sweptUs_ = nowUs;
  for (uint64_t done = 0; done < std::min(due, SWEEP_STEPS_MAX); done += BATCH_FRAMES_MAX) {
    filter_->expire(nowUs, BATCH_FRAMES_MAX);
    reportClosed();
  }
}

void Worker::run(const std::atomic<bool>& stop) noexcept {
  uint64_t idleSinceNs = 0;
  uint64_t yieldedNs = 0;
  uint32_t looks = 0;
  bool slept = false;
  lookAtAll();
  while (!stop.load(std::memory_order_acquire)) {
    rounds_.add(1);
    const bool onJob = serveJob();
    const uint64_t nowNs = clockNs(CLOCK_MONOTONIC);
    if (yieldedNs != 0 && waiting_.yielded(nowNs - yieldedNs, nowNs)) {
      if (goToAnotherCpu()) {
        waiting_.moved(clockNs(CLOCK_MONOTONIC));
      } else {
        waiting_.stays();
      }
    }
    yieldedNs = 0;
    const size_t taken = round(nowNs / 1'000);
    if (taken > 0 || onJob || sweeping_) {
      if (looks > 0) waiting_.found(slept, nowNs - idleSinceNs);
      looks = 0;
      slept = false;
      // Many connections wait to be judged, and a swap for them.
      if (sweeping_ || !waiting_.givesWay(taken)) continue;
      yieldedNs = clockNs(CLOCK_MONOTONIC);
      sched_yield();
      continue;
    }
    if (looks++ == 0) idleSinceNs = nowNs;
    if (!waiting_.lookAgain(looks, nowNs - idleSinceNs)) {
      sleep();
      slept = true;
    } else if (waiting_.mode() != PollMode::Spin) {
      yieldedNs = clockNs(CLOCK_MONOTONIC);
      sched_yield();
    }
  }
  tables_->idle(number_);
}

// A link may have something to find out although no frame comes.
void Worker::lookAtAll() noexcept {
  for (uint32_t id = 0; id < stations_.size(); ++id) {
    Station* const station = stationOf(id);
    if (station == nullptr || station->ready) continue;
    station->ready = true;
    ready_.push_back(id);
  }
}

bool Worker::serveJob() noexcept {
  ConnJob* const job = job_.load(std::memory_order_acquire);
  if (job == nullptr) return false;
  const bool last = job->step(*filter_, clockNs(CLOCK_MONOTONIC) / 1'000);
  reportClosed();
  if (last) {
    job_.store(nullptr, std::memory_order_relaxed);
    job->done.store(true, std::memory_order_release);
  }
  return true;
}

Status Worker::appendHandoff(uint32_t linkId, std::vector<LinkHandoff>* queues) const {
  const Station* station = stationOf(linkId);
  const bool handed = station != nullptr && station->link->appendHandoff(queues);
  return handed ? Status{} : Status{StatusCode::Argument};
}

size_t Worker::saveConnections(Saved which, std::span<SavedConnection> into,
                               uint32_t* place) noexcept {
  return filter_->save(which, clockNs(CLOCK_MONOTONIC) / 1'000, SIZE_MAX, into, place);
}

bool Worker::loadConnection(const SavedConnection& saved, uint32_t generationMax) noexcept {
  return filter_->load(saved, generationMax, clockNs(CLOCK_MONOTONIC) / 1'000, chargeOf(saved));
}

// The endpoint behind a wire is charged for the wire's connections.
ConnCharge Worker::chargeOf(const SavedConnection& saved) const noexcept {
  const TableInForce* table = tables_->inForce();
  const auto inside = std::find_if(stations_.begin(), stations_.end(), [&](const auto& station) {
    return station != nullptr && station->partner != NONE && station->isInside &&
           station->zone == saved.zone;
  });
  if (table == nullptr || inside == stations_.end()) return {};
  const FlowKey key = savedKeyOf(saved);
  const uint32_t leaf = table->view.leafOf(key.source.data(), key.family);
  const bool opens =
      table->view.leaf(leaf).endpointId == table->endpointOfLink((*inside)->context.linkId);
  const uint8_t opener = connNameOf(key, IcmpRole::None, 0, 0).sender;
  return {(*inside)->owner, static_cast<uint8_t>(opens ? 1 - opener : opener)};
}

void Worker::sleep() noexcept {
  tables_->idle(number_);
  // Set before the last look: a worker that hands over a frame after that look sees it, and wakes
  // this one. The fences here and in wakeReceivers() keep each thread's store before its load; a
  // processor could swap them otherwise, and a frame would wait for the end of the sleep.
  asleep_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (inboxEmpty()) wait(SLEEP_MS_MAX);
  asleep_.store(false, std::memory_order_relaxed);
}

// Hands over the frames of a batch that belong to other workers. Moves the others to the front of
// frames_ and returns their number.
size_t Worker::handOverOthers(Station& from, size_t count) noexcept {
  size_t own = 0;
  for (size_t index = 0; index < count; ++index) {
    const Frame& frame = frames_[index];
    const uint32_t to = steering_.workerOf(frame, static_cast<uint32_t>(number_));
    if (to == number_) {
      frames_[own++] = frame;
    } else if (workers_[to]->inbox_[number_]->push(from.context.linkId, frame)) {
      receivers_ |= uint64_t{1} << to;
      work_ += WorkOf::HANDED_OVER + WorkOf::copied(frame.length);
    } else {
      work_ += WorkOf::HANDED_OVER;
      from.receivedFrames.add(1);
      from.receivedBytes.add(frame.length);
      from.droppedFrames.add(1);
      dropped_[static_cast<size_t>(DropReason::TransmitFull)].add(1);
    }
  }
  return own;
}

size_t Worker::handleHandedOver(const TableInForce* table, uint64_t nowUs) noexcept {
  size_t taken = 0;
  for (size_t from = 0; from < inbox_.size(); ++from) {
    Handover* const handover = inbox_[from].get();
    if (handover == nullptr) continue;
    // Takes the frames of one link after those of another, up to the size of one link's batch.
    size_t ofThis = 0;
    while (ofThis < BATCH_FRAMES_MAX && turns_.mayTake(handingOver_[from])) {
      uint32_t linkId = NONE;
      const size_t count =
          handover->take(std::span(frames_).first(BATCH_FRAMES_MAX - ofThis), &linkId);
      if (count == 0) break;
      work_ = 0;
      if (Station* station = stationOf(linkId); station != nullptr) {
        handleBatch(*station, count, table, nowUs);
        station->share.payMore(work_);
      }
      turns_.took(handingOver_[from], work_);
      handover->release();
      ofThis += count;
    }
    taken += ofThis;
  }
  return taken;
}

bool Worker::inboxEmpty() const noexcept {
  return std::all_of(inbox_.begin(), inbox_.end(),
                     [](const auto& handover) { return handover == nullptr || handover->empty(); });
}

// Called once a round, however many frames were handed over in it.
void Worker::wakeReceivers() noexcept {
  if (receivers_ == 0) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (size_t to = 0; to < workers_.size(); ++to) {
    if ((receivers_ >> to & 1) != 0 && workers_[to]->asleep_.exchange(false)) workers_[to]->wake();
  }
  receivers_ = 0;
}

void Worker::wake() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

// Sleeps until a link has frames or wake() is called.
void Worker::wait(int timeoutMs) noexcept {
  if (stations_.size() <= LINKS_LOOKED_AT) {
    waitForFew(timeoutMs);
  } else {
    askWhichAreReady(timeoutMs);
  }
}

void Worker::forgetWake() noexcept {
  uint64_t ignored = 0;
  [[maybe_unused]] const ssize_t size = read(wake_, &ignored, sizeof ignored);
}

void Worker::waitForFew(int timeoutMs) noexcept {
  std::array<pollfd, 1 + LINKS_LOOKED_AT> polled = {};
  std::array<Station*, 1 + LINKS_LOOKED_AT> of = {};
  size_t count = 0;
  polled[count++] = {wake_, POLLIN, 0};
  for (const auto& station : stations_) {
    if (station == nullptr || station->gone || station->link->descriptor() < 0) continue;
    of[count] = station.get();
    polled[count++] = {station->link->descriptor(), POLLIN, 0};
  }
  if (poll(polled.data(), count, timeoutMs) <= 0) return;
  if (polled[0].revents != 0) forgetWake();
  for (size_t index = 1; index < count; ++index) {
    if ((polled[index].revents & (POLLERR | POLLHUP | POLLNVAL)) == 0) continue;
    of[index]->gone = !of[index]->link->recover();
  }
}

// Asks the kernel which links have frames, and lists them.
void Worker::askWhichAreReady(int timeoutMs) noexcept {
  epoll_event events[64];
  const int count = epoll_wait(poll_, events, 64, timeoutMs);
  for (int index = 0; index < count; ++index) {
    if (events[index].data.u64 == WAKE_TAG) {
      forgetWake();
      continue;
    }
    const auto id = static_cast<uint32_t>(events[index].data.u64);
    Station* station = stationOf(id);
    if (station == nullptr) continue;
    if ((events[index].events & (EPOLLERR | EPOLLHUP)) != 0 && !station->link->recover()) {
      epoll_ctl(poll_, EPOLL_CTL_DEL, station->link->descriptor(), nullptr);
      station->watched = false;
      station->gone = true;
    }
    if (!station->ready) {
      station->ready = true;
      ready_.push_back(id);
    }
  }
}

void Worker::handleBatch(Station& from, size_t count, const TableInForce* table,
                         uint64_t nowUs) noexcept {
  answersUsed_ = 0;
  rejectUsed_ = 0;
  const uint64_t bytesBefore = from.receivedBytes.read();
  const uint64_t lookedUpBefore = filter_->lookedUp();
  const uint64_t passedBefore = filter_->counters().passed.read();
  const bool judged = table != nullptr && (from.partner != NONE || switch_);
  if (judged) {
    filter_->judgeBatch({frames_.data(), count}, from.context, *table, nowUs, judgements_.data());
    reportClosed();
  } else {
    Judgement refused;
    refused.reason = table == nullptr ? DropReason::NoTable : DropReason::NoDestination;
    std::fill_n(judgements_.begin(), count, refused);
  }
  for (size_t index = 0; index < count; ++index) {
    Frame& frame = frames_[index];
    from.receivedFrames.add(1);
    from.receivedBytes.add(frame.length);
    const Judgement& judgement = judgements_[index];
    bool counted = judged;  // the filter has counted it
    if (judgement.cut) {
      report(FlowEventKind::Cut, from, frame, judgement, judgement.reason);
    }
    DropReason reason = judgement.reason;
    if (rejecting_) {
      const bool judgedByPolicy = judgement.exempt == ExemptKind::None;
      if (judgement.kind == FrameKind::Unicast && judgedByPolicy &&
          (judgement.passes() || judgement.cut)) {
        std::memcpy(from.neighbour.emplace().data(), frame.bytes + 6, 6);
        // The answers may pass in the kernel.
        if (judgement.opened && from.partner != NONE) {
          std::memcpy(stationOf(from.partner)->neighbour.emplace().data(), frame.bytes, 6);
        }
      }
      const bool hasReset = judgement.cut && judgement.key.protocol == PROTOCOL_TCP;
      if (judgement.rejectable && !hasReset) reject(from, frame, nowUs);
    }
    if (judgement.passes()) {
      if (judgement.auditedBy != 0) {
        reportAudited(from, frame, judgement);
      } else if (judgement.opened) {
        report(FlowEventKind::Opened, from, frame, judgement, DropReason::None);
      } else if (judgement.exempt != ExemptKind::None) [[unlikely]] {
        passExempt(from, frame, judgement, nowUs);
      }
      reason = forward(from, frame, judgement, *table);
      counted = false;
    }
    if (reason == DropReason::None) continue;
    if (!counted) dropped_[static_cast<size_t>(reason)].add(1);
    from.droppedFrames.add(1);
    if (judgement.resetsSender) resetUnknown(from, frame, judgement, *table, nowUs);
    if (!judgement.cut) {
      report(FlowEventKind::Dropped, from, frame, judgement, reason);
    }
  }
  if (judged && !filter_->cut().empty()) reportCuts(*table, nowUs);
  flush();
  work_ += count * WorkOf::RECEIVED;
  work_ += WorkOf::copied(from.receivedBytes.read() - bytesBefore);
  work_ += (filter_->lookedUp() - lookedUpBefore) * WorkOf::LOOKED_UP;
  work_ += (filter_->counters().passed.read() - passedBefore) * WorkOf::SENT;
}

// Cuts connections that the table in force denies, without waiting for their next packets.
void Worker::sweep(const TableInForce& table, uint64_t nowUs) noexcept {
  sweeping_ = filter_->sweep(table, nowUs);
  if (shares_ && !sweeping_) judgedUpTo_.store(table.generation, std::memory_order_release);
  if (filter_->cut().empty()) return;
  rejectUsed_ = 0;
  reportCuts(table, nowUs);
  reportClosed();
  flush();
}

// Answers the sender of a denied frame, on the link that the frame arrived on.
void Worker::reject(Station& from, const Frame& frame, uint64_t nowUs) noexcept {
  if (rejectUsed_ + REJECT_BYTES_MAX > REJECT_SPACE_BYTES || !from.rejectLimit.take(nowUs)) {
    return;
  }
  Frame answer;
  const std::span<std::byte> into = {rejectSpace_.get() + rejectUsed_, REJECT_BYTES_MAX};
  if (!writeReject(frame, into, &answer) || !queue(from, answer)) return;
  rejectUsed_ += answer.length;
  rejects_.add(1);
  work_ += WorkOf::REJECTED + WorkOf::SENT;
}

// Sends resets to the ends of an unknown connection that policy allows. Otherwise they would wait
// for each other: the sender until its last retransmission, the receiver perhaps for ever.
void Worker::resetUnknown(Station& from, const Frame& frame, const Judgement& judgement,
                          const TableInForce& table, uint64_t nowUs) noexcept {
  if (rejectUsed_ + 2 * RESET_BYTES_MAX > REJECT_SPACE_BYTES || !from.resetLimit.take(nowUs)) {
    return;
  }
  std::byte* const space = rejectSpace_.get() + rejectUsed_;
  Frame toSender;
  Frame toReceiver;
  if (!writeResets(frame, {space, RESET_BYTES_MAX}, {space + RESET_BYTES_MAX, RESET_BYTES_MAX},
                   &toSender, &toReceiver)) {
    return;
  }
  rejectUsed_ += 2 * RESET_BYTES_MAX;
  resets_.add(1);
  work_ += 2 * (WorkOf::REJECTED + WorkOf::SENT);
  (void)queue(from, toSender);
  if (judgement.resetsReceiver) (void)forward(from, toReceiver, judgement, table);
}

// Reports connections that were cut without a packet, and sends resets to the ends of all that were
// cut.
void Worker::reportCuts(const TableInForce& table, uint64_t nowUs) noexcept {
  for (const CutConn& cut : filter_->cut()) {
    if (cut.swept) {
      FlowEvent event = eventOf(FlowEventKind::Cut, cut.key);
      event.reason = static_cast<uint8_t>(policyReason(cut.deniedBy));
      event.deniedBy = cut.deniedBy;
      const uint32_t opener = table.linkOfEndpoint(cut.endpoint[cut.opener]);
      const uint32_t other = table.linkOfEndpoint(cut.endpoint[1 - cut.opener]);
      event.linkId = static_cast<uint16_t>(opener != NONE ? opener : other);
      events_->push(event);
    }
    if (rejecting_) resetEnds(cut, table, nowUs);
  }
  filter_->forgetCut();
}

void Worker::resetEnds(const CutConn& cut, const TableInForce& table, uint64_t nowUs) noexcept {
  const bool open = cut.state >= ConnState::SynSent && cut.state <= ConnState::LastAck;
  if (cut.key.protocol != PROTOCOL_TCP || !open) return;
  for (size_t end = 0; end < 2; ++end) {
    Reset reset;
    Station* to = nullptr;
    if (!placeReset(cut, end, table, &reset, &to)) continue;
    if (rejectUsed_ + RESET_BYTES_MAX > REJECT_SPACE_BYTES || !to->rejectLimit.take(nowUs))
      continue;
    // The sequence number that the other end would send next: an end accepts only a reset that
    // continues what it has received.
    reset.sequence = cut.tcp[1 - end].sentEnd;
    reset.acknowledgement = cut.tcp[end].sentEnd;
    reset.acknowledges = true;
    Frame segment;
    writeReset(reset, {rejectSpace_.get() + rejectUsed_, RESET_BYTES_MAX}, &segment);
    if (!queue(*to, segment)) continue;
    rejectUsed_ += RESET_BYTES_MAX;
    rejects_.add(1);
    work_ += WorkOf::REJECTED + WorkOf::SENT;
  }
}

// Finds the link and the MACs that lead to one end of a connection; false when they are not known.
bool Worker::placeReset(const CutConn& cut, size_t end, const TableInForce& table, Reset* reset,
                        Station** to) const noexcept {
  reset->key = cut.key;
  if (end == cut.opener) {
    std::swap(reset->key.source, reset->key.destination);
    std::swap(reset->key.sourcePort, reset->key.destinationPort);
  }
  const Station* own = stationOf(table.linkOfEndpoint(cut.endpoint[end]));
  const Station* opposite = stationOf(table.linkOfEndpoint(cut.endpoint[1 - end]));
  if (own == nullptr) {
    const bool wired = opposite != nullptr && opposite->partner != NONE;
    own = stationOf(wired ? opposite->partner : uplink_);
  }
  if (own == nullptr) return false;
  *to = stationOf(own->context.linkId);
  if (own->partner == NONE) {
    if (!switch_ || !own->mac.has_value()) return false;
    reset->destinationMac = *own->mac;
    reset->sourceMac = gateway_;
    return true;
  }
  const auto& sender = stationOf(own->partner)->neighbour;
  if (!own->neighbour.has_value() || !sender.has_value()) return false;
  reset->destinationMac = *own->neighbour;
  reset->sourceMac = *sender;
  return true;
}

DropReason Worker::forward(Station& from, Frame& frame, const Judgement& judgement,
                           const TableInForce& table) noexcept {
  if (from.partner != NONE) return send(*stationOf(from.partner), frame);
  return forwardSwitched(from, frame, judgement, table);
}

DropReason Worker::forwardSwitched(Station& from, Frame& frame, const Judgement& judgement,
                                   const TableInForce& table) noexcept {
  if (judgement.exempt != ExemptKind::None) {
    // Other messages (announcements, listener reports) need no answer and are not forwarded.
    if (answer(from, frame, table)) from.answeredFrames.add(1);
    return DropReason::None;
  }
  if (judgement.kind != FrameKind::Unicast) return DropReason::NoDestination;
  uint32_t linkId = table.linkOfEndpoint(judgement.destinationEndpoint);
  if (linkId == NONE) linkId = uplink_;
  Station* to = stationOf(linkId);
  if (to == nullptr || to == &from || !to->mac.has_value()) return DropReason::NoDestination;
  auto* bytes = reinterpret_cast<uint8_t*>(frame.bytes);
  std::memcpy(bytes, to->mac->data(), 6);
  std::memcpy(bytes + 6, gateway_.data(), 6);
  return send(*to, frame);
}

// Answers a neighbour question for the gateway: from an endpoint, for any address but its own; from
// the uplink, for the endpoints' addresses.
bool Worker::answer(Station& from, const Frame& frame, const TableInForce& table) noexcept {
  NeighbourQuestion question;
  if (!readNeighbourQuestion(frame, &question)) return false;
  const uint32_t leaf = table.view.leafOf(question.target.data(), question.family);
  const uint32_t owner = table.view.leaf(leaf).endpointId;
  const bool asksForItself = owner != NONE && owner == from.context.endpointId;
  const bool fromUplink = from.context.role == LinkRole::Uplink;
  if (asksForItself || (fromUplink && table.linkOfEndpoint(owner) == NONE)) return false;
  Frame reply;
  std::byte* const place = answers_.get() + answersUsed_ * NEIGHBOUR_REPLY_BYTES_MAX;
  ++answersUsed_;
  writeNeighbourAnswer(frame, question, gateway_, {place, NEIGHBOUR_REPLY_BYTES_MAX}, &reply);
  return queue(from, reply);
}

// A partial checksum is completed even if the link would carry it: programs that look at the frames
// after us see correct checksums, for less than a nanosecond a byte. Superframes stay as they are
// if the link carries them: the kernel takes none with a complete checksum.
DropReason Worker::send(Station& to, Frame& frame) noexcept {
  if (frame.offload.gsoType == 0) {
    if (!completeChecksum(&frame)) return DropReason::OffloadInvalid;
  } else if (!to.link->carriesOffload()) {
    return sendSegments(to, frame) ? DropReason::None : DropReason::OffloadInvalid;
  } else {
    work_ += segmentsOf(frame) * WorkOf::TO_CUT;
  }
  if (queue(to, frame)) return DropReason::None;
  to.refusedFrames.add(1);
  return DropReason::TransmitFull;
}

// Segments that the link cannot take are counted as refused there; the superframe itself does not
// count as dropped. False when it cannot be cut.
bool Worker::sendSegments(Station& to, const Frame& frame) noexcept {
  Segmenter segmenter({scratch_.get(), SCRATCH_BYTES});
  if (!segmenter.start(frame)) return false;
  Frame segment;
  for (;;) {
    const Segmenter::Step step = segmenter.next(&segment);
    if (step == Segmenter::Step::Made) {
      work_ += WorkOf::CUT + WorkOf::SENT;
      if (!queue(to, segment)) to.refusedFrames.add(1);
      continue;
    }
    flushStation(to);
    if (step == Segmenter::Step::Done) return true;
    segmenter.reuse();
  }
}

bool Worker::queue(Station& to, const Frame& frame) noexcept {
  if (!to.link->transmit(frame)) return false;
  to.sentFrames.add(1);
  to.sentBytes.add(frame.length);
  if (!to.dirty) {
    to.dirty = true;
    dirty_.push_back(to.context.linkId);
  }
  return true;
}

void Worker::flushStation(Station& station) noexcept {
  const size_t refused = station.link->flush();
  if (refused == 0) return;
  station.refusedFrames.add(refused);
  dropped_[static_cast<size_t>(DropReason::TransmitFull)].add(refused);
}

void Worker::flush() noexcept {
  size_t kept = 0;
  for (const uint32_t linkId : dirty_) {
    Station& station = *stationOf(linkId);
    flushStation(station);
    station.dirty = station.link->hasUnsent();
    if (station.dirty) dirty_[kept++] = linkId;
  }
  dirty_.resize(kept);
}

FlowEvent Worker::eventOf(FlowEventKind kind, const FlowKey& key) const noexcept {
  FlowEvent event = {};
  event.timeUs = eventTimeUs_;
  std::memcpy(event.source, key.source.data(), key.source.size());
  std::memcpy(event.destination, key.destination.data(), key.destination.size());
  event.sourcePort = key.sourcePort;
  event.destinationPort = key.destinationPort;
  event.protocol = key.protocol;
  event.kind = static_cast<uint8_t>(kind);
  event.family = key.family;
  event.generation = contextsGeneration_;
  return event;
}

void Worker::report(FlowEventKind kind, const Station& from, const Frame& frame,
                    const Judgement& judgement, DropReason reason) noexcept {
  FlowEvent event = eventOf(kind, judgement.key);
  if (judgement.icmpTypeCode != 0) event.destinationPort = judgement.icmpTypeCode;
  event.reason = static_cast<uint8_t>(reason);
  event.linkId = static_cast<uint16_t>(from.context.linkId);
  event.deniedBy = judgement.deniedBy;
  event.tcpFlags = judgement.tcpFlags;
  event.frameBytes = frame.length;
  events_->push(event);
  if (kind == FlowEventKind::Dropped && droppedFrames_ != nullptr && droppedFrames_->wanted())
      [[unlikely]] {
    droppedFrames_->push(event, {frame.bytes, frame.length});
  }
}

// Reports a sample, and zeroes the padding after the message, so that it carries no hidden data. An
// honest sender's padding need not be zero, so such a frame is not dropped.
void Worker::passExempt(Station& from, Frame& frame, const Judgement& judgement,
                        uint64_t nowUs) noexcept {
  const auto bit = static_cast<uint8_t>(1u << static_cast<uint8_t>(judgement.exempt));
  if ((from.exemptReported & bit) == 0 || nowUs - exemptReportedUs_ >= EXEMPT_SAMPLE_US) {
    from.exemptReported |= bit;
    exemptReportedUs_ = nowUs;
    FlowEvent event = eventOf(FlowEventKind::Exempt, judgement.key);
    event.destinationPort = judgement.icmpTypeCode;
    event.reason = static_cast<uint8_t>(judgement.exempt);
    event.linkId = static_cast<uint16_t>(from.context.linkId);
    event.frameBytes = frame.length;
    events_->push(event);
  }
  auto* bytes = reinterpret_cast<uint8_t*>(frame.bytes);
  const uint32_t end =
      judgement.exempt == ExemptKind::Arp ? ARP_FRAME_BYTES : IPV6_PAYLOAD + load16(bytes + 18);
  std::memset(bytes + end, 0, frame.length - end);
}

void Worker::reportAudited(const Station& from, const Frame& frame,
                           const Judgement& judgement) noexcept {
  Judgement denied = judgement;
  denied.deniedBy = judgement.auditedBy;
  report(FlowEventKind::Audited, from, frame, denied, policyReason(judgement.auditedBy));
}

void Worker::reportClosed() noexcept {
  const auto closed = filter_->closed();
  if (closed.empty()) return;
  for (const ClosedConn& each : closed) {
    FlowEvent event = eventOf(FlowEventKind::Closed, each.firstPacket());
    event.totalPackets = each.packets;
    event.totalBytes = each.bytes;
    event.deniedBy = each.auditedBy;
    events_->push(event);
  }
  filter_->forgetClosed();
}

// What the kernel passed that arrived at a link, also at those that it replaced.
KernelCounts Worker::kernelCounts(const Station& station) noexcept {
  KernelCounts counts = station.link->kernelCounts();
  counts.passedFrames += station.kernelBefore.passedFrames;
  counts.passedBytes += station.kernelBefore.passedBytes;
  return counts;
}

uint64_t Worker::drops(DropReason reason) const noexcept {
  const auto index = static_cast<size_t>(reason);
  return filter_->counters().dropped[index].read() + dropped_[index].read();
}

Status Worker::readLink(uint32_t linkId, LinkCounters* counters) const noexcept {
  const Station* station = stationOf(linkId);
  if (station == nullptr) return {StatusCode::Argument};
  const KernelCounts in = kernelCounts(*station);
  const Station* const partner = stationOf(station->partner);
  const KernelCounts out = partner != nullptr ? kernelCounts(*partner) : KernelCounts{};
  counters->receivedFrames = station->receivedFrames.read() + in.passedFrames;
  counters->receivedBytes = station->receivedBytes.read() + in.passedBytes;
  counters->sentFrames = station->sentFrames.read() + out.passedFrames;
  counters->sentBytes = station->sentBytes.read() + out.passedBytes;
  counters->kernelFrames = in.passedFrames;
  counters->kernelBytes = in.passedBytes;
  counters->droppedFrames = station->droppedFrames.read();
  counters->refusedFrames = station->refusedFrames.read();
  counters->answeredFrames = station->answeredFrames.read();
  counters->lostFrames = station->lostBefore + station->link->lostFrames();
  if (station->owner == ConnTable::NOBODY) return {};
  const OwnerUse use = filter_->useOf(station->owner);
  counters->connections = use.connections;
  counters->connectionQuota = filter_->quota();
  counters->evictedConnections = use.evicted;
  counters->refusedConnections = use.refused;
  const FragmentUse fragments = filter_->fragmentUseOf(station->owner);
  counters->fragments = fragments.datagrams;
  counters->fragmentShare = fragments.share;
  counters->evictedFragments = fragments.evicted;
  return {};
}

}  // namespace sluice
