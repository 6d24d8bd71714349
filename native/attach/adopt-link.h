#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/attach/kernel-path.h"
#include "native/attach/opened-link.h"
#include "native/host/descriptor.h"
#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// An interface in this process's own namespace, as its predecessor left it.
struct InheritedLink {
  struct Queue {
    std::vector<Descriptor> descriptors;
    std::vector<uint32_t> words;
  };
  LinkKind kind = LinkKind::Tap;
  bool lasting = false;  // see StackGuard::hold()
  std::string interface;
  std::vector<Queue> queues;
  std::vector<Descriptor> guard;     // see StackGuard::descriptors()
  std::vector<Descriptor> program;   // see XdpProgram::descriptors(), KernelSide::handOn()
  std::shared_ptr<KernelPath> path;  // of this process; of a link by programs only
};

// Makes links that continue where the predecessor's have stopped: frames that wait in them are
// received here. Worker w gets the queues w, w + workers, …; a worker without a queue only sends,
// and the others hand its frames over to it.
//
// Errors: Argument when the descriptors are not of the expected kinds; System. On an error the
//         interface's guard stays in place.
Status adoptLink(InheritedLink inherited, const LinkWorkers& workers, OpenedLink* opened);

}  // namespace sluice
