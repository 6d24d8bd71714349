#pragma once

#include <pthread.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Notifies the reader that events wait. A thread of its own polls the number of events, so a worker
// spends no time on wake-ups. Any number of events gives one notification, at most one every few
// milliseconds.
//
// Owner:   the destructor ends the thread; there are no calls after it.
// Threads: both calls come from that thread.
class Notifier {
 public:
  // `pushed` returns the number of events so far. `notify` returns whether it could notify; if not,
  // it is called again.
  using Pushed = std::function<uint64_t()>;
  using Notify = std::function<bool()>;

  // Errors: System.
  static Status start(Pushed pushed, Notify notify, std::unique_ptr<Notifier>* notifier);
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  ~Notifier();

 private:
  Notifier(Pushed pushed, Notify notify);
  void watch();

  Pushed pushed_;
  Notify notify_;
  Descriptor stop_;
  bool running_ = false;
  pthread_t thread_ = {};
};

}  // namespace sluice
