#include "native/worker/dataplane.h"

#include <sched.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace sluice {
namespace {

// CPUs that this process may run on.
uint32_t cpuCount() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  // The call fails when the machine has more CPUs than the set holds.
  if (sched_getaffinity(0, sizeof set, &set) != 0) return CPU_SETSIZE;
  return static_cast<uint32_t>(CPU_COUNT(&set));
}

}  // namespace

Status optionsOf(const DataplaneSettings& settings, DataplaneOptions* options) noexcept {
  // The structured binding names every field, so a new setting that is missing here does not
  // compile.
  const auto& [connectionsMax, connectionsPerEndpoint, fragmentsMax, eventsMax, workers, cpu,
               established, poll, loose, deny] = settings;
  if (established >= ESTABLISHED_COUNT || poll >= POLL_MODE_COUNT || deny >= DENY_COUNT) {
    return {StatusCode::Argument};
  }
  options->filter.connectionsMax = connectionsMax;
  options->filter.connectionsPerEndpoint = connectionsPerEndpoint;
  options->filter.fragmentsMax = fragmentsMax;
  options->filter.established = static_cast<Established>(established);
  options->filter.loose = loose != 0;
  options->eventsMax = eventsMax;
  options->workers = workers;
  options->poll = static_cast<PollMode>(poll);
  options->rejects = static_cast<Deny>(deny) == Deny::Reject;
  if (cpu != NONE) options->cpu = cpu;
  return {};
}

Status Dataplane::create(DataplaneOptions options, std::unique_ptr<Dataplane>* dataplane) noexcept {
  if (options.workers == 0 || options.workers > WORKERS_MAX) return {StatusCode::Argument};
  FilterOptions& filter = options.filter;
  filter.connectionsMax = (filter.connectionsMax + options.workers - 1) / options.workers;
  filter.fragmentsMax = (filter.fragmentsMax + options.workers - 1) / options.workers;
  std::unique_ptr<Dataplane> made(new (std::nothrow) Dataplane(options));
  if (made == nullptr) return {StatusCode::Limit};
  filter.own = &made->own_;
  // An attacker who could guess the hash could fill one bucket of the connection table.
  Steering& steering = made->steering_;
  if (getrandom(filter.hashSecret.data(), sizeof filter.hashSecret, 0) !=
          static_cast<ssize_t>(sizeof filter.hashSecret) ||
      getrandom(&steering.multiplier, sizeof steering.multiplier, 0) !=
          static_cast<ssize_t>(sizeof steering.multiplier)) {
    return Status::system("getrandom", errno);
  }
  steering.multiplier |= 1;
  steering.workers = options.workers;
  made->hashSecret_ = filter.hashSecret;
  made->connectionsEach_ = filter.connectionsMax;

  const uint32_t perEndpoint = filter.connectionsPerEndpoint;
  const WaitPolicy waiting(options.poll, cpuCount() > options.workers);
  std::vector<Worker*> workers;
  for (size_t number = 0; number < options.workers; ++number) {
    Member& member = made->crew_[number];
    member.dataplane = made.get();
    if (perEndpoint > 0) {
      // The parts sum up to the whole if each worker can have at least one.
      const uint64_t part = (uint64_t{perEndpoint} + number) / options.workers;
      filter.connectionsPerEndpoint = static_cast<uint32_t>(std::max<uint64_t>(part, 1));
    }
    Status status = EventRing::create(options.eventsMax, &member.events);
    if (status.ok()) status = FrameRing::create(DROPPED_FRAMES, &member.droppedFrames);
    if (status.ok()) {
      status = Worker::create(filter, &made->tables_, number, member.events.get(), &member.worker);
    }
    if (!status.ok()) return status;
    member.worker->setWaiting(waiting);
    member.worker->setRejecting(options.rejects);
    member.worker->setDroppedFrames(member.droppedFrames.get());
    workers.push_back(member.worker.get());
  }
  for (const Member& member : made->crew_) {
    if (options.workers == 1) break;
    if (const Status status = member.worker->join(steering, workers); !status.ok()) return status;
  }
  *dataplane = std::move(made);
  return {};
}

Dataplane::~Dataplane() { stop(); }

Status Dataplane::setOwnWay(const OwnWay& way) noexcept {
  return whilePaused([&]() noexcept -> Status {
    own_.set(way);
    return {};
  });
}

Status Dataplane::addOwnPort(uint16_t port) noexcept {
  return own_.add(port) ? Status{} : Status{StatusCode::Limit};
}

Status Dataplane::addLink(std::vector<std::unique_ptr<Link>> links,
                          const std::optional<MacAddress>& mac, std::shared_ptr<void> attached,
                          uint32_t* linkId) noexcept {
  if (links.size() != crew_.size()) return {StatusCode::Argument};
  return whilePaused([&]() noexcept -> Status {
    Status status;
    size_t added = 0;
    for (; status.ok() && added < crew_.size(); ++added) {
      // All workers give the same id: their links were added and removed together.
      status = crew_[added].worker->addLink(std::move(links[added]), mac, linkId);
    }
    if (status.ok()) {
      if (*linkId >= attached_.size()) attached_.resize(*linkId + 1);
      attached_[*linkId] = std::move(attached);
    } else {
      for (size_t number = 0; number + 1 < added; ++number) {
        (void)crew_[number].worker->removeLink(*linkId);
      }
    }
    return status;
  });
}

Status Dataplane::removeLink(uint32_t linkId) noexcept {
  return whilePaused([&]() noexcept -> Status {
    Status status;
    for (const Member& member : crew_) status = member.worker->removeLink(linkId);
    if (status.ok()) attached_[linkId].reset();
    return status;
  });
}

// The old queues are closed after the workers have resumed: closing takes the kernel a while.
Status Dataplane::replaceLink(uint32_t linkId, std::vector<std::unique_ptr<Link>> links,
                              const std::optional<MacAddress>& mac,
                              std::shared_ptr<void> attached) noexcept {
  if (links.size() != crew_.size() || linkId >= attached_.size()) return {StatusCode::Argument};
  std::vector<std::unique_ptr<Link>> failed(crew_.size());
  const Status status = whilePaused([&]() noexcept -> Status {
    Status replaced;
    for (size_t number = 0; replaced.ok() && number < crew_.size(); ++number) {
      replaced = crew_[number].worker->replaceLink(linkId, &links[number], mac);
    }
    if (replaced.ok()) {
      attached_[linkId].swap(attached);
    } else {
      for (size_t number = 0; number < crew_.size(); ++number) {
        (void)crew_[number].worker->closeLink(linkId, &failed[number]);
      }
    }
    return replaced;
  });
  failed.clear();
  links.clear();
  return status;
}

Status Dataplane::closeLink(uint32_t linkId) noexcept {
  if (linkId >= attached_.size()) return {StatusCode::Argument};
  std::shared_ptr<void> attached;
  std::vector<std::unique_ptr<Link>> links(crew_.size());
  const Status status = whilePaused([&]() noexcept -> Status {
    Status closed;
    for (size_t number = 0; closed.ok() && number < crew_.size(); ++number) {
      closed = crew_[number].worker->closeLink(linkId, &links[number]);
    }
    if (closed.ok()) attached_[linkId].swap(attached);
    return closed;
  });
  links.clear();
  return status;
}

Status Dataplane::swapTable(std::span<const std::byte> blob,
                            std::span<const uint32_t> linkByEndpoint,
                            uint32_t* generation) noexcept {
  const Status status = tables_.publish(blob, linkByEndpoint, generation);
  if (status.ok()) enforce(*generation);
  return status;
}

// Until now programs pass what the table before allowed.
void Dataplane::bringIntoForce() noexcept {
  constexpr timespec LOOK = {0, 100'000};
  constexpr int LOOKS_MAX = 500;
  const auto isJudged = [this](const Member& member) {
    return member.worker->judgedUpTo() == generation_;
  };
  for (const Member& member : crew_) member.worker->wake();
  for (int look = 0; look < LOOKS_MAX && !std::ranges::all_of(crew_, isJudged); ++look) {
    nanosleep(&LOOK, nullptr);
  }
  __atomic_store_n(inForce_, generation_, __ATOMIC_RELEASE);
}

Status Dataplane::shareConnections(std::span<const ConnMemory> memory, uint32_t* inForce,
                                   uint64_t* aliveUs) noexcept {
  if (memory.size() != crew_.size()) return {StatusCode::Argument};
  if (periods_ == nullptr) {
    if (const Status status = GracePeriods::start(&periods_); !status.ok()) return status;
  }
  return whilePaused([&]() noexcept -> Status {
    for (size_t number = 0; number < crew_.size(); ++number) {
      const Status status =
          crew_[number].worker->share(memory[number], periods_.get(), aliveUs + number);
      if (!status.ok()) return status;
    }
    __atomic_store_n(inForce, NONE, __ATOMIC_RELEASE);
    inForce_ = inForce;
    return {};
  });
}

Status Dataplane::swapLines(const TableLines& lines, std::span<const uint32_t> linkByEndpoint,
                            uint32_t* generation) noexcept {
  const Status status = tables_.publishLines(lines, linkByEndpoint, generation);
  if (status.ok()) enforce(*generation);
  return status;
}

// Puts what was published in force in the kernel, too.
void Dataplane::enforce(uint32_t generation) noexcept {
  generation_ = generation;
  if (inForce_ != nullptr && running_) bringIntoForce();
}

Status Dataplane::joinWire(uint32_t inside, uint32_t outside, uint8_t zone,
                           bool routerAdvertisements, std::span<const SavedConnection> known,
                           size_t* taken) noexcept {
  return whilePaused([&]() noexcept -> Status {
    for (const Member& member : crew_) {
      // All workers have the same links and wires: either the first one refuses, or none.
      const Status status = member.worker->joinWire(inside, outside, zone, routerAdvertisements);
      if (!status.ok()) return status;
    }
    const size_t count = load(known);
    if (taken != nullptr) *taken = count;
    return {};
  });
}

Status Dataplane::makeSwitch(const MacAddress& gateway, uint32_t uplink) noexcept {
  if (running_) return {StatusCode::State};
  for (const Member& member : crew_) {
    const Status status = member.worker->makeSwitch(gateway, uplink);
    if (!status.ok()) return status;
  }
  return {};
}

Status Dataplane::start() noexcept { return running_ ? Status{StatusCode::State} : run(); }

template <typename Change>
Status Dataplane::whilePaused(Change change) noexcept {
  const bool wasRunning = running_;
  pause();
  const Status status = change();
  if (wasRunning) resume();
  return status;
}

Status Dataplane::startJob(std::unique_ptr<ConnJob> job) noexcept {
  if (job_ != nullptr && !jobDone()) return {StatusCode::State};
  if (job->worker >= crew_.size()) return {StatusCode::Argument};
  job_ = std::move(job);
  crew_[job_->worker].worker->send(job_.get());
  return {};
}

bool Dataplane::jobDone() noexcept {
  if (job_ == nullptr) return true;
  for (;;) {
    // While workers do not run, the control thread makes the job's steps.
    while (!running_ && crew_[job_->worker].worker->serveJob()) continue;
    if (!job_->done.load(std::memory_order_acquire)) return false;
    if (job_->full() || job_->worker + 1 == crew_.size()) return true;
    job_->place = 0;
    job_->done.store(false, std::memory_order_relaxed);
    crew_[++job_->worker].worker->send(job_.get());
  }
}

uint64_t Dataplane::hitsWaiting() const noexcept {
  uint64_t waiting = 0;
  for (const Member& member : crew_) waiting += member.worker->hitsWaiting();
  return waiting;
}

Status Dataplane::appendHandoff(uint32_t linkId, std::vector<LinkHandoff>* queues) const {
  if (running_) return {StatusCode::State};
  Status status;
  for (const Member& member : crew_) {
    if (status.ok()) status = member.worker->appendHandoff(linkId, queues);
  }
  return status;
}

Status Dataplane::saveConnections(Saved which, std::span<SavedConnection> into, SavePlace* place,
                                  size_t* count) noexcept {
  if (running_) return {StatusCode::State};
  *count = 0;
  for (; place->worker < crew_.size(); ++place->worker, place->entry = 0) {
    Worker& worker = *crew_[place->worker].worker;
    *count += worker.saveConnections(which, into.subspan(*count), &place->entry);
    if (*count == into.size()) break;
  }
  return {};
}

Status Dataplane::loadConnections(std::span<const SavedConnection> saved, size_t* taken) noexcept {
  return whilePaused([&]() noexcept -> Status {
    *taken = load(saved);
    return {};
  });
}

size_t Dataplane::load(std::span<const SavedConnection> saved) noexcept {
  size_t taken = 0;
  for (const SavedConnection& each : saved) {
    Worker& worker = *crew_[steering_.workerOfKey(savedKeyOf(each))].worker;
    if (worker.loadConnection(each, continuedFrom_)) ++taken;
  }
  return taken;
}

Status Dataplane::continueFrom(uint32_t generation) noexcept {
  if (tables_.inForce() != nullptr) return {StatusCode::State};
  if (generation > INT32_MAX) return {StatusCode::Argument};
  tables_.continueFrom(generation);
  continuedFrom_ = generation;
  return {};
}

Status Dataplane::run() noexcept {
  if (inForce_ != nullptr) __atomic_store_n(inForce_, generation_, __ATOMIC_RELEASE);
  pause_.store(false, std::memory_order_release);
  running_ = true;
  for (size_t number = 0; number < crew_.size(); ++number) {
    if (const Status status = runMember(number); !status.ok()) {
      stop();
      return status;
    }
  }
  return {};
}

Status Dataplane::runMember(size_t number) noexcept {
  const auto body = [](void* context) -> void* {
    auto* member = static_cast<Member*>(context);
    const Status status = member->dataplane->threadStart_();
    member->status = status;
    if (!status.ok()) member->paused.store(true, std::memory_order_relaxed);
    member->started.store(true, std::memory_order_release);
    member->started.notify_one();
    while (status.ok()) {
      member->worker->run(member->dataplane->pause_);
      member->paused.store(true, std::memory_order_release);
      member->paused.notify_one();
      member->paused.wait(true, std::memory_order_acquire);
      if (member->dataplane->end_.load(std::memory_order_acquire)) break;
    }
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  int error = 0;
  if (cpu_.has_value()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(*cpu_ + number, &set);
    error = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
  }
  Member& member = crew_[number];
  member.started.store(false, std::memory_order_relaxed);
  member.paused.store(false, std::memory_order_relaxed);
  if (error == 0) error = pthread_create(&member.thread, &attributes, body, &member);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    const Fault fault = cpu_.has_value() ? Fault::WorkerCpu : Fault::None;
    return Status::system("pthread_create", error, fault);
  }
  pthread_setname_np(member.thread, "sluice-worker");
  member.running = true;
  member.started.wait(false, std::memory_order_acquire);
  return member.status;
}

// Returns when no worker touches anything.
void Dataplane::pause() noexcept {
  if (!running_) return;
  pause_.store(true, std::memory_order_release);
  for (Member& member : crew_) {
    if (member.running) member.worker->wake();
  }
  for (Member& member : crew_) {
    if (member.running) member.paused.wait(false, std::memory_order_acquire);
  }
  running_ = false;
}

void Dataplane::resume() noexcept {
  if (inForce_ != nullptr) __atomic_store_n(inForce_, generation_, __ATOMIC_RELEASE);
  pause_.store(false, std::memory_order_release);
  running_ = true;
  for (Member& member : crew_) {
    member.paused.store(false, std::memory_order_release);
    member.paused.notify_one();
  }
}

// Afterwards no program counts for a connection: whoever saves the connections saves the last word.
void Dataplane::stop() noexcept {
  if (inForce_ != nullptr) __atomic_store_n(inForce_, NONE, __ATOMIC_RELEASE);
  pause();
  if (inForce_ != nullptr) periods_->wait();
  end_.store(true, std::memory_order_release);
  for (Member& member : crew_) {
    if (!member.running) continue;
    member.paused.store(false, std::memory_order_release);
    member.paused.notify_one();
    pthread_join(member.thread, nullptr);
    member.running = false;
  }
  end_.store(false, std::memory_order_release);
}

uint64_t Dataplane::drops(DropReason reason) const noexcept {
  uint64_t sum = 0;
  for (const Member& member : crew_) sum += member.worker->drops(reason);
  return sum;
}

uint64_t Dataplane::connectionCount() const noexcept {
  uint64_t sum = 0;
  for (const Member& member : crew_) sum += member.worker->connectionCount();
  return sum;
}

void Dataplane::readCounters(DataplaneCounters* counters) const noexcept {
  const auto sumOf = [this](auto read) {
    uint64_t sum = 0;
    for (const Member& member : crew_) sum += read(*member.worker);
    return sum;
  };
  const auto filterSum = [&sumOf](Counter FilterCounters::* counter) {
    return sumOf([=](const Worker& worker) { return (worker.filterCounters().*counter).read(); });
  };
  // Every field is named, so one that is missing here does not compile.
  *counters = {
      .connections = connectionCount(),
      .eventsLost = eventsLost(),
      .generation = generation_,
      .opened = filterSum(&FilterCounters::opened),
      .closed = filterSum(&FilterCounters::closed),
      .cut = filterSum(&FilterCounters::cut),
      .audited = filterSum(&FilterCounters::audited),
      .rejected = sumOf([](const Worker& worker) { return worker.rejects(); }),
      .reset = sumOf([](const Worker& worker) { return worker.resets(); }),
      .fragmentsEvicted = sumOf([](const Worker& worker) { return worker.fragmentsEvicted(); }),
      .drops = {},
      .exempt = {},
      .evictions = {},
  };
  for (size_t reason = 0; reason < DROP_REASON_COUNT; ++reason) {
    counters->drops[reason] = drops(static_cast<DropReason>(reason));
  }
  for (size_t kind = 0; kind < EXEMPT_KIND_COUNT; ++kind) {
    counters->exempt[kind] =
        sumOf([kind](const Worker& worker) { return worker.filterCounters().exempt[kind].read(); });
  }
  for (size_t each = 0; each < CONN_CLASS_COUNT; ++each) {
    counters->evictions[each] = sumOf(
        [each](const Worker& worker) { return worker.evicted(static_cast<ConnClass>(each)); });
  }
}

Status Dataplane::readLink(uint32_t linkId, LinkCounters* counters) const noexcept {
  constexpr size_t WORDS = sizeof(LinkCounters) / sizeof(uint64_t);
  std::array<uint64_t, WORDS> sums = {};
  for (const Member& member : crew_) {
    LinkCounters one = {};
    if (const Status status = member.worker->readLink(linkId, &one); !status.ok()) return status;
    std::array<uint64_t, WORDS> words;
    std::memcpy(words.data(), &one, sizeof one);
    for (size_t word = 0; word < WORDS; ++word) sums[word] += words[word];
  }
  std::memcpy(counters, sums.data(), sizeof *counters);
  return {};
}

uint64_t Dataplane::progress() noexcept {
  for (const Member& member : crew_) {
    if (member.worker->rounds() == member.roundsSeen) return progress_;
  }
  for (Member& member : crew_) member.roundsSeen = member.worker->rounds();
  return ++progress_;
}

size_t Dataplane::drainEvents(std::span<FlowEvent> into) noexcept {
  // Starts with another worker each time, so that a busy worker's events do not keep out the
  // others'.
  size_t count = 0;
  ++drains_;
  for (size_t turn = 0; turn < crew_.size(); ++turn) {
    count += crew_[(drains_ + turn) % crew_.size()].events->drain(into.subspan(count));
  }
  return count;
}

void Dataplane::askForDroppedFrames(bool wanted) noexcept {
  for (const Member& member : crew_) member.droppedFrames->ask(wanted);
}

size_t Dataplane::drainDroppedFrames(std::span<DroppedFrame> into) noexcept {
  size_t count = 0;
  for (const Member& member : crew_) count += member.droppedFrames->drain(into.subspan(count));
  return count;
}

uint64_t Dataplane::eventsPushed() const noexcept {
  uint64_t sum = 0;
  for (const Member& member : crew_) sum += member.events->pushed();
  return sum;
}

uint64_t Dataplane::eventsLost() const noexcept {
  uint64_t sum = 0;
  for (const Member& member : crew_) sum += member.events->lost();
  return sum;
}

}  // namespace sluice
