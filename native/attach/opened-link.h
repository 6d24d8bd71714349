#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "native/attach/stack-guard.h"
#include "native/attach/xdp-program.h"
#include "native/io/frame-buffers.h"
#include "native/io/link.h"
#include "native/packet/steering.h"

namespace sluice {

// The workers that an interface's links are for.
struct LinkWorkers {
  const Steering& steering;
  std::span<const std::shared_ptr<FrameBuffers>> buffers;  // one a worker
  bool shared = false;  // the interface is another process's too: see LinkHold::share()

  [[nodiscard]] size_t count() const noexcept { return buffers.size(); }
};

// What keeps everybody else off an interface for as long as its link is there.
struct LinkHold {
  std::unique_ptr<StackGuard> guard;
  std::unique_ptr<XdpProgram> program;  // AF_XDP only

  // While the interface is another process's too, what guards it stays where it is when this goes.
  void share(bool shared) noexcept {
    if (guard != nullptr) shared ? guard->leave() : guard->own();
  }
};

// An interface that has been taken: the ways to it, one for each worker, and what holds it.
struct OpenedLink {
  std::vector<std::unique_ptr<Link>> links;
  std::shared_ptr<LinkHold> hold;  // nullptr for a TAP, which nobody else has
};

}  // namespace sluice
