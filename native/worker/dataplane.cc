#include "native/worker/dataplane.h"

#include <sys/random.h>

#include <cerrno>
#include <new>
#include <utility>

namespace sluice {

Status Dataplane::create(FilterOptions options, uint32_t eventsMax,
                         std::unique_ptr<Dataplane>* dataplane) noexcept {
  std::unique_ptr<Dataplane> made(new (std::nothrow) Dataplane);
  if (made == nullptr) return {StatusCode::Limit};
  // Whoever can guess the hash can fill one bucket of the connection table.
  if (getrandom(options.hashSecret.data(), sizeof options.hashSecret, 0) !=
      static_cast<ssize_t>(sizeof options.hashSecret)) {
    return Status::system("getrandom", errno);
  }
  if (const Status status = EventRing::create(eventsMax, &made->events_); !status.ok()) {
    return status;
  }
  if (const Status status =
          Worker::create(options, &made->tables_, 0, made->events_.get(), &made->worker_);
      !status.ok()) {
    return status;
  }
  *dataplane = std::move(made);
  return {};
}

Dataplane::~Dataplane() { stop(); }

Status Dataplane::addLink(std::unique_ptr<Link> link, const std::optional<MacAddress>& mac,
                          std::shared_ptr<void> companion, uint32_t* linkId) noexcept {
  const bool wasRunning = running_;
  stop();
  const Status status = worker_->addLink(std::move(link), mac, linkId);
  if (status.ok()) {
    if (*linkId >= companions_.size()) companions_.resize(*linkId + 1);
    companions_[*linkId] = std::move(companion);
  }
  if (!wasRunning) return status;
  const Status resumed = run();
  return status.ok() ? resumed : status;
}

Status Dataplane::removeLink(uint32_t linkId) noexcept {
  const bool wasRunning = running_;
  stop();
  const Status status = worker_->removeLink(linkId);
  if (status.ok()) companions_[linkId].reset();
  if (!wasRunning) return status;
  const Status resumed = run();
  return status.ok() ? resumed : status;
}

Status Dataplane::swapTable(std::span<const std::byte> blob,
                            std::span<const uint32_t> linkByEndpoint,
                            uint32_t* generation) noexcept {
  const Status status = tables_.publish(blob, linkByEndpoint, generation);
  if (status.ok()) generation_ = *generation;
  return status;
}

Status Dataplane::startWire(uint32_t inside, uint32_t outside) noexcept {
  if (running_) return {StatusCode::State};
  if (const Status status = worker_->makeWire(inside, outside); !status.ok()) return status;
  return run();
}

Status Dataplane::startSwitch(const MacAddress& gateway, uint32_t uplink) noexcept {
  if (running_) return {StatusCode::State};
  if (const Status status = worker_->makeSwitch(gateway, uplink); !status.ok()) return status;
  return run();
}

Status Dataplane::run() noexcept {
  stop_.store(false, std::memory_order_release);
  threadStarted_.store(false, std::memory_order_relaxed);
  const auto body = [](void* self) -> void* {
    auto* dataplane = static_cast<Dataplane*>(self);
    const Status status = dataplane->threadStart_();
    dataplane->threadStatus_ = status;
    dataplane->threadStarted_.store(true, std::memory_order_release);
    dataplane->threadStarted_.notify_one();
    if (status.ok()) dataplane->worker_->run(dataplane->stop_);
    return nullptr;
  };
  const int error = pthread_create(&thread_, nullptr, body, this);
  if (error != 0) return Status::system("pthread_create", error);
  pthread_setname_np(thread_, "sluice-worker");
  threadStarted_.wait(false, std::memory_order_acquire);
  if (!threadStatus_.ok()) {
    pthread_join(thread_, nullptr);
    return threadStatus_;
  }
  running_ = true;
  return {};
}

void Dataplane::stop() noexcept {
  if (!running_) return;
  stop_.store(true, std::memory_order_release);
  worker_->wake();
  pthread_join(thread_, nullptr);
  running_ = false;
}

}  // namespace sluice
