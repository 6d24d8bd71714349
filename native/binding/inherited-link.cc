#include "native/binding/inherited-link.h"

#include <fcntl.h>
#include <linux/filter.h>

#include <cerrno>
#include <utility>

#include "native/attach/steering-program.h"
#include "native/host/namespaces.h"
#include "native/io/joined-link.h"
#include "native/io/packet-link.h"
#include "native/io/tap-link.h"
#include "native/io/xdp-link.h"

namespace sluice {
namespace {

using Way = InheritedLink::Way;

// One interface in the course of being taken over.
class Adoption {
 public:
  Adoption(InheritedLink inherited, InterfaceTraits traits, const Steering& steering,
           std::span<const std::shared_ptr<FrameBuffers>> buffers)
      : inherited_(std::move(inherited)),
        traits_(std::move(traits)),
        steering_(steering),
        buffers_(buffers),
        // The kernel's own spreading is right only for as many as it spreads over.
        steered_(buffers.size() > 1 && buffers.size() == inherited_.ways.size()),
        first_(inherited_.ways.front().descriptors.front().get()) {}

  Status linkOf(size_t worker, std::unique_ptr<Link>* link) {
    if (inherited_.kind == LinkKind::Xdp) return xdpLinkOf(worker, link);
    std::vector<std::unique_ptr<Link>> queues;
    Status status;
    for (size_t way = worker; status.ok() && way < ways().size(); way += buffers_.size()) {
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
    if (inherited_.kind == LinkKind::Tap && steered_) (void)steerTapQueues(first_, steering_);
  }

 private:
  std::vector<Way>& ways() noexcept { return inherited_.ways; }

  Status adopt(int fd, std::span<const uint32_t> words, size_t worker, bool receives,
               std::unique_ptr<Link>* link) {
    if (inherited_.kind == LinkKind::Tap) {
      std::unique_ptr<TapLink> tap;
      const Status status =
          TapLink::adopt(fd, inherited_.interface, receives, buffers_[worker], &tap);
      *link = std::move(tap);
      return status;
    }
    std::vector<sock_filter> program;
    if (steered_ && worker == 0) program = steeringFilter(steering_);
    std::unique_ptr<PacketLink> packet;
    const Status status =
        PacketLink::adopt(fd, words, traits_.index, receives, buffers_[worker], program, &packet);
    *link = std::move(packet);
    return status;
  }

  Status xdpLinkOf(size_t worker, std::unique_ptr<Link>* link) {
    std::vector<XdpQueueEstate> queues;
    for (size_t way = worker; way < ways().size(); way += buffers_.size()) {
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
  const Steering& steering_;
  std::span<const std::shared_ptr<FrameBuffers>> buffers_;
  bool steered_;
  int first_;  // descriptor of the first way; a link's once that is made
};

}  // namespace

Status adoptLinks(InheritedLink inherited, const Steering& steering,
                  std::span<const std::shared_ptr<FrameBuffers>> buffers,
                  std::vector<std::unique_ptr<Link>>* links, std::shared_ptr<LinkHold>* hold) {
  const LinkKind kind = inherited.kind;
  const size_t descriptors = kind == LinkKind::Xdp ? 2 : 1;
  if (kind > LinkKind::Xdp || inherited.ways.empty()) return {StatusCode::Argument};
  for (const Way& way : inherited.ways) {
    if (way.descriptors.size() != descriptors) return {StatusCode::Argument};
  }
  InterfaceTraits traits;
  Status status = readInterfaceTraits(OWN_NAMESPACE, inherited.interface, &traits);
  if (!status.ok()) return status;
  std::shared_ptr<LinkHold> held;
  if (kind != LinkKind::Tap) {
    held = std::make_shared<LinkHold>();
    status = StackGuard::adopt(OWN_NAMESPACE, traits.index, inherited.lasting,
                               std::move(inherited.guard), &held->guard);
    if (status.ok()) held->guard->leave();
  }
  if (status.ok() && kind == LinkKind::Xdp) {
    status = XdpProgram::adopt(traits.index, std::move(inherited.program), &held->program);
  }
  std::vector<std::unique_ptr<Link>> made(buffers.size());
  Adoption adoption(std::move(inherited), std::move(traits), steering, buffers);
  for (size_t worker = 0; status.ok() && worker < made.size(); ++worker) {
    status = adoption.linkOf(worker, &made[worker]);
  }
  if (!status.ok()) return status;
  adoption.steerTap();
  *links = std::move(made);
  *hold = std::move(held);
  return {};
}

}  // namespace sluice
