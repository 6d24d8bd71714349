#pragma once

#include <pthread.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Says that events wait. It looks at their number from a thread of its own, so that a worker spends
// nothing on waking anybody; any number of events is one notice, at most one every few
// milliseconds.
//
// Owner:   the destructor ends the thread; nothing is called any more after it.
// Threads: both calls come from that thread.
class Notifier {
 public:
  // `pushed` counts the events so far. `notify` returns whether it could say so: where it could
  // not, it is asked again.
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
