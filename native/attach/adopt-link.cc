#include "native/attach/adopt-link.h"

#include <fcntl.h>
#include <linux/filter.h>

#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "native/attach/interface-traits.h"
#include "native/attach/kernel-side.h"
#include "native/attach/packet-socket.h"
#include "native/attach/steering-program.h"
#include "native/attach/tap.h"
#include "native/host/namespaces.h"
#include "native/io/joined-link.h"
#include "native/io/kernel-link.h"
#include "native/io/packet-link.h"
#include "native/io/tap-link.h"
#include "native/io/xdp-link.h"

namespace sluice {
namespace {

using Queue = InheritedLink::Queue;

// Descriptors of one queue.
size_t descriptorsOf(LinkKind kind) {
  switch (kind) {
    case LinkKind::Tap:
    case LinkKind::Packet:
    case LinkKind::Kernel:
      return 1;
    case LinkKind::Xdp:
      return 2;  // the socket and its memory
  }
  __builtin_unreachable();
}

// One interface while it is taken over.
class Adoption {
 public:
  Adoption(InheritedLink inherited, InterfaceTraits traits, std::shared_ptr<KernelSide> side,
           const LinkWorkers& workers)
      : inherited_(std::move(inherited)),
        traits_(std::move(traits)),
        side_(std::move(side)),
        workers_(workers),
        // The kernel's distribution is right only when there are as many queues as workers.
        steered_(workers.count() > 1 && workers.count() == inherited_.queues.size()),
        first_(inherited_.queues.front().descriptors.front().get()) {}

  Status linkOf(size_t worker, std::unique_ptr<Link>* link) {
    if (inherited_.kind == LinkKind::Xdp) return xdpLinkOf(worker, link);
    std::vector<std::unique_ptr<Link>> parts;
    Status status;
    for (size_t queue = worker; status.ok() && queue < queues().size(); queue += workers_.count()) {
      parts.emplace_back();
      const int fd = queues()[queue].descriptors.front().release();
      status = adopt(fd, queues()[queue].words, worker, true, parts.size() == 1, &parts.back());
    }
    if (status.ok() && parts.empty() && side_ != nullptr) {
      Descriptor queue;
      status = addTapQueue(KernelSide::tapOf(traits_.index), &queue);
      parts.emplace_back();
      if (status.ok())
        status = adopt(queue.release(), {}, worker, true, parts.size() == 1, &parts.back());
    } else if (status.ok() && parts.empty()) {
      parts.emplace_back();
      const int copy = fcntl(first_, F_DUPFD_CLOEXEC, 0);
      if (copy < 0) return Status::system("dup", errno);
      status = adopt(copy, {}, worker, false, true, &parts.back());
    }
    if (!status.ok()) return status;
    if (parts.size() == 1) {
      *link = std::move(parts.front());
      return {};
    }
    std::unique_ptr<JoinedLink> joined;
    status = JoinedLink::create(std::move(parts), &joined);
    if (status.ok()) *link = std::move(joined);
    return status;
  }

  // Until now a TAP's queues get frames by the steering of the process that made it.
  void steerTap() const noexcept {
    if ((inherited_.kind == LinkKind::Tap && steered_) || inherited_.kind == LinkKind::Kernel)
      (void)steerTapQueues(first_, workers_.steering);
  }

 private:
  std::vector<Queue>& queues() noexcept { return inherited_.queues; }

  Status adopt(int fd, std::span<const uint32_t> words, size_t worker, bool receives, bool isFirst,
               std::unique_ptr<Link>* link) {
    if (inherited_.kind == LinkKind::Tap || inherited_.kind == LinkKind::Kernel) {
      std::unique_ptr<TapLink> tap;
      const std::string name =
          side_ != nullptr ? KernelSide::tapOf(traits_.index) : inherited_.interface;
      const Status status = TapLink::adopt(fd, name, receives, workers_.buffers[worker], &tap);
      if (status.ok() && side_ != nullptr) {
        SluiceWireWay* const way = isFirst ? side_->way(static_cast<uint32_t>(worker)) : nullptr;
        *link = std::make_unique<KernelLink>(std::move(tap), way, side_, isFirst && worker == 0);
      } else {
        *link = std::move(tap);
      }
      return status;
    }
    std::vector<sock_filter> program;
    if (steered_ && worker == 0) program = steeringFilter(workers_.steering);
    std::unique_ptr<PacketLink> packet;
    const Status status = PacketLink::adopt(fd, words, traits_.index, receives,
                                            workers_.buffers[worker], program, &packet);
    *link = std::move(packet);
    return status;
  }

  Status xdpLinkOf(size_t worker, std::unique_ptr<Link>* link) {
    std::vector<XdpQueueHandoff> left;
    for (size_t queue = worker; queue < queues().size(); queue += workers_.count()) {
      auto& [descriptors, words] = queues()[queue];
      left.push_back({descriptors[0].release(), descriptors[1].release(), words});
    }
    if (left.empty()) {
      PacketSocket sender;
      const Status status = openPacketSocket(OWN_NAMESPACE, inherited_.interface, &sender);
      if (!status.ok()) return status;
      std::unique_ptr<PacketLink> packet;
      PacketLinkOptions options;
      options.interfaceIndex = traits_.index;
      options.mtu = traits_.mtu;
      const Status made = PacketLink::create(sender.fd.release(), options, nullptr, &packet);
      *link = std::move(packet);
      return made;
    }
    XdpLinkOptions options;
    options.interfaceIndex = traits_.index;
    options.mtu = traits_.mtu;
    options.findPartialChecksums = !traits_.hardware;
    std::unique_ptr<XdpLink> xdp;
    const Status status = XdpLink::adopt(left, options, &xdp);
    *link = std::move(xdp);
    return status;
  }

  InheritedLink inherited_;
  InterfaceTraits traits_;
  std::shared_ptr<KernelSide> side_;  // Kernel only
  const LinkWorkers& workers_;
  bool steered_;
  int first_;  // descriptor of the first queue; a link's once that is made
};

}  // namespace

Status adoptLink(InheritedLink inherited, const LinkWorkers& workers, OpenedLink* opened) {
  const LinkKind kind = inherited.kind;
  if (static_cast<size_t>(kind) >= LINK_KIND_COUNT || inherited.queues.empty()) {
    return {StatusCode::Argument};
  }
  for (const Queue& queue : inherited.queues) {
    if (queue.descriptors.size() != descriptorsOf(kind)) return {StatusCode::Argument};
  }
  InterfaceTraits traits;
  Status status = readInterfaceTraits(OWN_NAMESPACE, inherited.interface, &traits);
  if (!status.ok()) return status;
  std::shared_ptr<LinkHold> held;
  if (kind != LinkKind::Tap) {
    held = std::make_shared<LinkHold>();
    status = StackGuard::adopt(OWN_NAMESPACE, traits.index, inherited.lasting,
                               std::move(inherited.guard), &held->guard);
    if (status.ok()) held->share(true);
  }
  if (status.ok() && kind == LinkKind::Xdp) {
    status = XdpProgram::adopt(traits.index, std::move(inherited.program), &held->program);
  }
  if (status.ok() && kind == LinkKind::Kernel) {
    if (inherited.path == nullptr) return {StatusCode::Argument};
    status = KernelSide::adopt(inherited.path, inherited.interface, traits.index,
                               std::move(inherited.program), &held->side);
  }
  std::shared_ptr<KernelSide> side = held != nullptr ? held->side : nullptr;
  std::vector<std::unique_ptr<Link>> made(workers.count());
  Adoption adoption(std::move(inherited), std::move(traits), std::move(side), workers);
  for (size_t worker = 0; status.ok() && worker < made.size(); ++worker) {
    status = adoption.linkOf(worker, &made[worker]);
  }
  if (!status.ok()) return status;
  adoption.steerTap();
  if (held != nullptr) held->share(workers.shared);
  *opened = {std::move(made), std::move(held)};
  return {};
}

}  // namespace sluice
