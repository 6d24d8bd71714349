#include "native/attach/adopt-link.h"

#include <fcntl.h>
#include <linux/filter.h>

#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "native/attach/interface-traits.h"
#include "native/attach/packet-socket.h"
#include "native/attach/steering-program.h"
#include "native/attach/tap.h"
#include "native/host/namespaces.h"
#include "native/io/joined-link.h"
#include "native/io/packet-link.h"
#include "native/io/tap-link.h"
#include "native/io/xdp-link.h"

namespace sluice {
namespace {

using Way = InheritedLink::Way;

// Descriptors of one way.
size_t descriptorsOf(LinkKind kind) {
  switch (kind) {
    case LinkKind::Tap:
    case LinkKind::Packet:
      return 1;
    case LinkKind::Xdp:
      return 2;  // the socket and its memory
  }
  __builtin_unreachable();
}

// One interface in the course of being taken over.
class Adoption {
 public:
  Adoption(InheritedLink inherited, InterfaceTraits traits, const LinkWorkers& workers)
      : inherited_(std::move(inherited)),
        traits_(std::move(traits)),
        workers_(workers),
        // The kernel's own spreading is right only for as many as it spreads over.
        steered_(workers.count() > 1 && workers.count() == inherited_.ways.size()),
        first_(inherited_.ways.front().descriptors.front().get()) {}

  Status linkOf(size_t worker, std::unique_ptr<Link>* link) {
    if (inherited_.kind == LinkKind::Xdp) return xdpLinkOf(worker, link);
    std::vector<std::unique_ptr<Link>> queues;
    Status status;
    for (size_t way = worker; status.ok() && way < ways().size(); way += workers_.count()) {
      queues.emplace_back();
      const int fd = ways()[way].descriptors.front().release();
      status = adopt(fd, ways()[way].words, worker, true, &queues.back());
    }
    if (status.ok() && queues.empty()) {
      queues.emplace_back();
      const int copy = fcntl(first_, F_DUPFD_CLOEXEC, 0);
      if (copy < 0) return Status::system("dup", errno);
      status = adopt(copy, {}, worker, false, &queues.back());
    }
    if (!status.ok()) return status;
    if (queues.size() == 1) {
      *link = std::move(queues.front());
      return {};
    }
    std::unique_ptr<JoinedLink> joined;
    status = JoinedLink::create(std::move(queues), &joined);
    if (status.ok()) *link = std::move(joined);
    return status;
  }

  // Whose frames a TAP's queue gets goes by the process that made it, until now.
  void steerTap() const noexcept {
    if (inherited_.kind == LinkKind::Tap && steered_)
      (void)steerTapQueues(first_, workers_.steering);
  }

 private:
  std::vector<Way>& ways() noexcept { return inherited_.ways; }

  Status adopt(int fd, std::span<const uint32_t> words, size_t worker, bool receives,
               std::unique_ptr<Link>* link) {
    if (inherited_.kind == LinkKind::Tap) {
      std::unique_ptr<TapLink> tap;
      const Status status =
          TapLink::adopt(fd, inherited_.interface, receives, workers_.buffers[worker], &tap);
      *link = std::move(tap);
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
    std::vector<XdpQueueEstate> queues;
    for (size_t way = worker; way < ways().size(); way += workers_.count()) {
      auto& [descriptors, words] = ways()[way];
      queues.push_back({descriptors[0].release(), descriptors[1].release(), words});
    }
    if (queues.empty()) {
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
    const Status status = XdpLink::adopt(queues, options, &xdp);
    *link = std::move(xdp);
    return status;
  }

  InheritedLink inherited_;
  InterfaceTraits traits_;
  const LinkWorkers& workers_;
  bool steered_;
  int first_;  // descriptor of the first way; a link's once that is made
};

}  // namespace

Status adoptLink(InheritedLink inherited, const LinkWorkers& workers, OpenedLink* opened) {
  const LinkKind kind = inherited.kind;
  if (static_cast<size_t>(kind) >= LINK_KIND_COUNT || inherited.ways.empty()) {
    return {StatusCode::Argument};
  }
  for (const Way& way : inherited.ways) {
    if (way.descriptors.size() != descriptorsOf(kind)) return {StatusCode::Argument};
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
  std::vector<std::unique_ptr<Link>> made(workers.count());
  Adoption adoption(std::move(inherited), std::move(traits), workers);
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
