#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/attach/opened-link.h"
#include "native/host/descriptor.h"
#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// An interface of this process's own namespace, as another process has left it.
struct InheritedLink {
  struct Queue {
    std::vector<Descriptor> descriptors;
    std::vector<uint32_t> words;
  };
  LinkKind kind = LinkKind::Tap;
  bool lasting = false;  // see StackGuard::hold()
  std::string interface;
  std::vector<Queue> queues;
  std::vector<Descriptor> guard;    // see StackGuard::descriptors()
  std::vector<Descriptor> program;  // see XdpProgram::descriptors()
};

// Makes links that go on where those of another process have stopped: frames that wait there are
// received here. Worker w gets the queues w, w + workers, …; one that gets none only sends, and is
// handed its frames by the others.
//
// Errors: Argument when the descriptors are not what they should be; System. What guards the
//         interface is left where it is then.
Status adoptLink(InheritedLink inherited, const LinkWorkers& workers, OpenedLink* opened);

}  // namespace sluice
