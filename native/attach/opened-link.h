#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "native/attach/kernel-side.h"
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
  bool shared = false;  // another process uses the interface, too: see LinkHold::share()

  [[nodiscard]] size_t count() const noexcept { return buffers.size(); }
};

// Keeps the kernel stack and other programs off an interface as long as its link exists.
struct LinkHold {
  std::unique_ptr<StackGuard> guard;
  std::unique_ptr<XdpProgram> program;  // AF_XDP only
  std::shared_ptr<KernelSide> side;     // of a link by programs only

  // While another process uses the interface, too, what is attached stays when this is destroyed.
  void share(bool shared) noexcept {
    if (guard != nullptr) shared ? guard->leave() : guard->own();
    if (side != nullptr) shared ? side->leave() : side->own();
  }
};

// An open interface: its queues, one link for each worker, and its hold.
struct OpenedLink {
  std::vector<std::unique_ptr<Link>> links;
  std::shared_ptr<LinkHold> hold;  // nullptr for a TAP: no other program uses it
};

}  // namespace sluice
