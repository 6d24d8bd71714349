#include "native/attach/open-link.h"

#include <linux/filter.h>

#include <memory>
#include <utility>
#include <vector>

#include "native/attach/interface-traits.h"
#include "native/attach/kernel-side.h"
#include "native/attach/packet-socket.h"
#include "native/attach/steering-program.h"
#include "native/io/kernel-link.h"
#include "native/io/packet-link.h"
#include "native/io/tap-link.h"
#include "native/io/xdp-link.h"

namespace sluice {
namespace {

// The largest that a TAP has: frames of any interface come up by it.
constexpr uint32_t TAP_MTU = 65'521;

Status holdInterface(const InterfacePlace& place, uint32_t index, bool shared, LinkHold* hold) {
  const Status status = StackGuard::hold(place.namespaceFd, index, place.lasting, &hold->guard);
  if (status.ok() && shared) hold->share(true);
  return status;
}

// Adds the next worker's link. With 0 `slots` it only sends.
Status addPacketLink(PacketSocket& socket, uint32_t slots, FanoutGroup* group,
                     const LinkWorkers& workers, std::vector<std::unique_ptr<Link>>* links) {
  PacketLinkOptions options;
  options.interfaceIndex = socket.interfaceIndex;
  options.mtu = socket.mtu;
  options.slots = slots;
  if (socket.queuesSuperframes) options.largeBuffers = workers.buffers[links->size()];
  std::unique_ptr<PacketLink> link;
  const Status status = PacketLink::create(socket.fd.release(), options, group, &link);
  if (status.ok()) links->push_back(std::move(link));
  return status;
}

// Opens the sockets of one worker's queues, not bound yet.
Status openXdpSockets(int namespaceFd, size_t first, size_t step, uint32_t queues,
                      std::vector<Descriptor>* opened, std::vector<XdpSocket>* sockets) {
  for (size_t queue = first; queue < queues; queue += step) {
    const Status status = openXdpSocket(namespaceFd, &opened->emplace_back());
    if (!status.ok()) return status;
    sockets->push_back({opened->back().get(), static_cast<uint32_t>(queue)});
  }
  return {};
}

Status addXdpLink(const InterfacePlace& place, const InterfaceTraits& traits, XdpProgram* program,
                  const LinkWorkers& workers, std::vector<std::unique_ptr<Link>>* links) {
  std::vector<Descriptor> opened;
  std::vector<XdpSocket> sockets;
  Status status = openXdpSockets(place.namespaceFd, links->size(), workers.count(), traits.queues,
                                 &opened, &sockets);
  if (!status.ok()) return status;
  if (sockets.empty()) {
    PacketSocket sender;
    status = openPacketSocket(place.namespaceFd, place.interface, &sender);
    return status.ok() ? addPacketLink(sender, 0, nullptr, workers, links) : status;
  }
  XdpLinkOptions options;
  options.interfaceIndex = traits.index;
  options.mtu = traits.mtu;
  options.findPartialChecksums = !traits.hardware;
  for (Descriptor& socket : opened) (void)socket.release();
  std::unique_ptr<XdpLink> link;
  status = XdpLink::create(sockets, options, &link);
  for (const XdpSocket& socket : sockets) {
    if (status.ok()) status = program->give(socket.queue, socket.fd);
  }
  if (status.ok()) links->push_back(std::move(link));
  return status;
}

}  // namespace

Status openTapLink(int namespaceFd, const TapOptions& options, const LinkWorkers& workers,
                   OpenedLink* opened) {
  std::vector<Descriptor> queues;
  const Status status = openTap(namespaceFd, options, workers.steering, &queues);
  if (!status.ok()) return status;
  std::vector<std::unique_ptr<Link>> links;
  for (Descriptor& queue : queues) {
    links.push_back(std::make_unique<TapLink>(queue.release(), workers.buffers[links.size()]));
  }
  *opened = {std::move(links), nullptr};
  return {};
}

Status openPacketLink(const InterfacePlace& place, uint32_t slots, const LinkWorkers& workers,
                      OpenedLink* opened) {
  auto hold = std::make_shared<LinkHold>();
  std::vector<std::unique_ptr<Link>> links;
  const std::vector<sock_filter> program = steeringFilter(workers.steering);
  FanoutGroup group = {0, program};
  FanoutGroup* const joined = workers.count() > 1 ? &group : nullptr;
  while (links.size() < workers.count()) {
    PacketSocket socket;
    Status status = openPacketSocket(place.namespaceFd, place.interface, &socket);
    if (status.ok() && hold->guard == nullptr) {
      status = holdInterface(place, socket.interfaceIndex, workers.shared, hold.get());
    }
    if (status.ok()) status = addPacketLink(socket, slots, joined, workers, &links);
    if (!status.ok()) return status;
  }
  *opened = {std::move(links), std::move(hold)};
  return {};
}

Status openXdpLink(const InterfacePlace& place, XdpProgram::Mode mode, const LinkWorkers& workers,
                   OpenedLink* opened) {
  InterfaceTraits traits;
  Status status = readInterfaceTraits(place.namespaceFd, place.interface, &traits);
  auto hold = std::make_shared<LinkHold>();
  if (status.ok()) status = XdpProgram::load(traits.queues, &hold->program);
  if (status.ok()) status = holdInterface(place, traits.index, workers.shared, hold.get());
  std::vector<std::unique_ptr<Link>> links;
  while (status.ok() && links.size() < workers.count()) {
    status = addXdpLink(place, traits, hold->program.get(), workers, &links);
  }
  if (status.ok()) status = hold->program->attach(place.namespaceFd, traits.index, mode);
  if (status.ok()) *opened = {std::move(links), std::move(hold)};
  return status;
}

Status openKernelLink(const InterfacePlace& place, const std::shared_ptr<KernelPath>& path,
                      const LinkWorkers& workers, OpenedLink* opened) {
  InterfaceTraits traits;
  Status status = readInterfaceTraits(place.namespaceFd, place.interface, &traits);
  if (!status.ok()) return status;
  auto hold = std::make_shared<LinkHold>();
  status = holdInterface(place, traits.index, workers.shared, hold.get());
  TapOptions tap;
  tap.name = KernelSide::tapOf(traits.index);
  tap.mac = {0x02, 0x51, 0xce};  // nobody is asked for it
  tap.mtu = TAP_MTU;
  tap.growable = true;
  tap.queueFrames = SLUICE_WIRE_TAP_QUEUE;
  std::vector<Descriptor> queues;
  if (status.ok()) status = openTap(place.namespaceFd, tap, workers.steering, &queues);
  if (status.ok()) {
    status = KernelSide::open(path, place.namespaceFd, place.interface, traits.index, &hold->side);
  }
  if (!status.ok()) return status;
  std::vector<std::unique_ptr<Link>> links;
  for (Descriptor& queue : queues) {
    const size_t worker = links.size();
    auto up = std::make_unique<TapLink>(queue.release(), workers.buffers[worker]);
    links.push_back(std::make_unique<KernelLink>(
        std::move(up), hold->side->way(static_cast<uint32_t>(worker)), hold->side, worker == 0));
  }
  *opened = {std::move(links), std::move(hold)};
  return {};
}

}  // namespace sluice
