#include "native/event/notifier.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

namespace sluice {
namespace {

constexpr int NOTICE_MS = 5;

}  // namespace

Status Notifier::start(Pushed pushed, Notify notify, std::unique_ptr<Notifier>* notifier) {
  std::unique_ptr<Notifier> made(new Notifier(std::move(pushed), std::move(notify)));
  made->stop_.reset(eventfd(0, EFD_CLOEXEC));
  if (!made->stop_.valid()) return Status::system("eventfd", errno);
  const auto body = [](void* self) -> void* {
    static_cast<Notifier*>(self)->watch();
    return nullptr;
  };
  const int error = pthread_create(&made->thread_, nullptr, body, made.get());
  if (error != 0) return Status::system("pthread_create", error);
  made->running_ = true;
  *notifier = std::move(made);
  return {};
}

Notifier::Notifier(Pushed pushed, Notify notify)
    : pushed_(std::move(pushed)), notify_(std::move(notify)) {}

Notifier::~Notifier() {
  if (!running_) return;
  eventfd_write(stop_.get(), 1);
  pthread_join(thread_, nullptr);
}

void Notifier::watch() {
  uint64_t seen = 0;
  pollfd stop = {stop_.get(), POLLIN, 0};
  for (;;) {
    const int ready = poll(&stop, 1, NOTICE_MS);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return;
    const uint64_t pushed = pushed_();
    if (pushed != seen && notify_()) seen = pushed;
  }
}

}  // namespace sluice
