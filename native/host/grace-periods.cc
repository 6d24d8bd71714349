#include "native/host/grace-periods.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <new>
#include <utility>

namespace sluice {

Status GracePeriods::start(std::unique_ptr<GracePeriods>* periods) noexcept {
  std::unique_ptr<GracePeriods> made(new (std::nothrow) GracePeriods);
  if (made == nullptr) return {StatusCode::Limit};
  const auto body = [](void* context) -> void* {
    static_cast<GracePeriods*>(context)->run();
    return nullptr;
  };
  if (const int error = pthread_create(&made->thread_, nullptr, body, made.get()); error != 0) {
    return Status::system("pthread_create", error);
  }
  pthread_setname_np(made->thread_, "sluice-grace");
  made->running_ = true;
  *periods = std::move(made);
  return {};
}

GracePeriods::~GracePeriods() {
  if (!running_) return;
  end_.store(true);
  wanted_.fetch_add(1);
  wanted_.notify_all();
  pthread_join(thread_, nullptr);
}

void GracePeriods::run() noexcept {
  uint64_t number = 0;
  for (;;) {
    wanted_.wait(number);
    if (end_.load()) return;
    // The fence keeps next() from reading the number of a period that has begun before it.
    begun_.store(++number);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // Kernels that isolate processors refuse it; a program never takes this long.
    constexpr timespec PAUSE = {0, 50'000'000};
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) nanosleep(&PAUSE, nullptr);
    over_.store(number, std::memory_order_release);
    over_.notify_all();
  }
}

uint64_t GracePeriods::next() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t number = begun_.load() + 1;
  uint64_t wanted = wanted_.load();
  while (wanted < number) {
    if (!wanted_.compare_exchange_weak(wanted, number)) continue;
    wanted_.notify_all();
    break;
  }
  return number;
}

void GracePeriods::wait() noexcept {
  const uint64_t number = next();
  for (uint64_t over = over_.load(); over < number; over = over_.load()) over_.wait(over);
}

}  // namespace sluice
