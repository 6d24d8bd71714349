#include "native/attach/open-link.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "native/attach/adopt-link.h"
#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

constexpr Steering TWO = {.workers = 2, .multiplier = 0x9e3779b1};

struct Buffers {
  Buffers() {
    for (auto& each : two) CHECK(FrameBuffers::create(&each).ok());
  }
  [[nodiscard]] LinkWorkers workers() const { return {TWO, two}; }
  std::vector<std::shared_ptr<FrameBuffers>> two{2};
};

// A namespace with a veth pair, which goes with it; false where this process may make none.
bool makePair(Descriptor* space) {
  int fd = -1;
  const Status made = createNamespace(&fd);
  space->reset(fd);
  if (!made.ok()) {
    CHECK(made.error == EPERM);
    std::printf("# skipped: no CAP_SYS_ADMIN for a namespace\n");
    return false;
  }
  CHECK(createVethPair(fd, "left", fd, "right").ok());
  return true;
}

uint32_t indexIn(const Descriptor& space, const char* name) {
  uint32_t index = 0;
  CHECK(inNamespace(space.get(), [&] { return interfaceIndex(name, &index); }).ok());
  return index;
}

TEST("open link: by AF_PACKET, a socket for each worker, and the stack is kept off until it goes") {
  Descriptor space;
  if (!makePair(&space)) return;
  const Buffers buffers;
  OpenedLink opened;
  REQUIRE(openPacketLink({space.get(), "left", false}, 16, buffers.workers(), &opened).ok());
  CHECK(opened.links.size() == 2);
  REQUIRE(opened.hold != nullptr && opened.hold->guard != nullptr);
  CHECK(opened.hold->program == nullptr);
  for (const auto& link : opened.links) {
    CHECK(link->interfaceIndex() == indexIn(space, "left"));
    CHECK(link->descriptor() >= 0);
  }
  CHECK(opened.links[0]->descriptor() != opened.links[1]->descriptor());
}

TEST("open link: a lasting guard stays when the link goes") {
  Descriptor space;
  if (!makePair(&space)) return;
  const Buffers buffers;
  const uint32_t index = indexIn(space, "left");
  bool held = false;
  for (const bool lasting : {false, true}) {
    OpenedLink opened;
    REQUIRE(openPacketLink({space.get(), "left", lasting}, 16, buffers.workers(), &opened).ok());
    opened = {};
    CHECK(isStackHeld(space.get(), index, &held).ok());
    CHECK(held == lasting);
  }
}

TEST("open link: an interface that is not there") {
  Descriptor space;
  if (!makePair(&space)) return;
  const Buffers buffers;
  OpenedLink opened;
  const Status status =
      openPacketLink({space.get(), "nobody", false}, 16, buffers.workers(), &opened);
  CHECK(status.code == StatusCode::System && status.error == ENODEV);
  const Status byXdp = openXdpLink({space.get(), "nobody", false}, XdpProgram::Mode::Native,
                                   buffers.workers(), &opened);
  CHECK(byXdp.code == StatusCode::System && byXdp.error == ENODEV);
  CHECK(opened.links.empty() && opened.hold == nullptr);
}

TEST("open link: a TAP has a queue for each worker, and nobody to hold off") {
  Descriptor space;
  if (!makePair(&space)) return;
  const Buffers buffers;
  TapOptions options;
  options.name = "tap";
  options.mac = {2, 0, 0, 0, 0, 1};
  OpenedLink opened;
  const Status status = openTapLink(space.get(), options, buffers.workers(), &opened);
  if (status.fault == Fault::TunDevice) {
    std::printf("# skipped: no /dev/net/tun\n");
    return;
  }
  REQUIRE(status.ok());
  CHECK(opened.links.size() == 2 && opened.hold == nullptr);
}

TEST("adopt link: what cannot be a link is refused before anything is touched") {
  const Buffers buffers;
  const auto refused = [&](LinkKind kind, size_t queues, size_t descriptors) {
    InheritedLink inherited;
    inherited.kind = kind;
    inherited.interface = "lo";
    for (size_t queue = 0; queue < queues; ++queue) {
      inherited.queues.emplace_back().descriptors.resize(descriptors);
    }
    OpenedLink opened;
    const Status status = adoptLink(std::move(inherited), buffers.workers(), &opened);
    return status.code == StatusCode::Argument && opened.links.empty();
  };
  CHECK(refused(LinkKind::Tap, 0, 0));
  CHECK(refused(LinkKind::Tap, 1, 0));
  CHECK(refused(LinkKind::Packet, 2, 2));
  CHECK(refused(LinkKind::Xdp, 1, 1));
  CHECK(refused(static_cast<LinkKind>(LINK_KIND_COUNT), 1, 1));
}

}  // namespace
}  // namespace sluice
