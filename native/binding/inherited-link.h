#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/attach/devices.h"
#include "native/attach/xdp-program.h"
#include "native/host/descriptor.h"
#include "native/io/frame-buffers.h"
#include "native/io/link.h"
#include "native/packet/steering.h"

namespace sluice {

// What keeps everybody else off an interface for as long as its link is there.
struct LinkHold {
  std::unique_ptr<StackGuard> guard;
  std::unique_ptr<XdpProgram> program;  // AF_XDP only
};

// An interface of this process's own namespace, as another process has left it.
struct InheritedLink {
  struct Way {
    std::vector<Descriptor> descriptors;
    std::vector<uint32_t> words;
  };
  LinkKind kind = LinkKind::Tap;
  bool lasting = false;  // see StackGuard::hold()
  std::string interface;
  std::vector<Way> ways;
  std::vector<Descriptor> guard;    // see StackGuard::descriptors()
  std::vector<Descriptor> program;  // see XdpProgram::descriptors()
};

// Makes links that go on where those of another process have stopped: frames that wait there are
// received here. Worker w gets the ways w, w + workers, …; one that gets none only sends, and is
// handed its frames by the others. What guards the interface is left where it is when `*hold` goes,
// until that owns it.
//
// Shape:  one FrameBuffers a worker, and one of `*links`.
// Errors: Argument when the descriptors are not what they should be; System.
Status adoptLinks(InheritedLink inherited, const Steering& steering,
                  std::span<const std::shared_ptr<FrameBuffers>> buffers,
                  std::vector<std::unique_ptr<Link>>* links, std::shared_ptr<LinkHold>* hold);

}  // namespace sluice
