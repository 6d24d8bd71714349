#include "native/attach/kernel-side.h"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "native/attach/packet-socket.h"
#include "native/attach/pin-folder.h"
#include "native/bpf/link.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"

namespace sluice {
namespace {

// Counts a frame that nobody has sent as the last fragment of every pair: until the workers are
// done with it, all frames go up.
void holdUp(SluiceWireWay& way) noexcept {
  const uint32_t number = __atomic_add_fetch(&way.sent, 1, __ATOMIC_RELAXED);
  for (uint32_t& last : way.ofPair) __atomic_store_n(&last, number, __ATOMIC_RELAXED);
  __atomic_store_n(&way.fragment, number, __ATOMIC_RELAXED);
}

}  // namespace

std::string KernelSide::tapOf(uint32_t interfaceIndex) {
  return "sluice" + std::to_string(interfaceIndex);
}

Status KernelSide::prepare(int namespaceFd, const std::string& interface) noexcept {
  Status status = inNamespace(namespaceFd, [this]() -> Status {
    uint64_t number = 0;
    const Status entered = networkNamespaceNumber(&number);
    if (!entered.ok()) return entered;
    if (!path_->isIn(number)) return {StatusCode::Argument};
    return sluice::interfaceIndex(tapOf(interfaceIndex_).c_str(), &tapIndex_);
  });
  PacketSocket socket;
  if (status.ok()) status = openPacketSocket(namespaceFd, interface, &socket);
  if (!status.ok()) return status;
  packet_mreq membership = {};
  membership.mr_ifindex = static_cast<int>(interfaceIndex_);
  membership.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(socket.fd.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership,
                 sizeof membership) != 0) {
    return Status::system("PACKET_ADD_MEMBERSHIP", errno);
  }
  promiscuous_ = std::move(socket.fd);
  status = path_->takeNumber(&number_);
  if (status.ok()) status = path_->setDown(tapIndex_, interfaceIndex_);
  return status;
}

Status KernelSide::open(std::shared_ptr<KernelPath> path, int namespaceFd,
                        const std::string& interface, uint32_t interfaceIndex,
                        std::shared_ptr<KernelSide>* side) noexcept {
  std::shared_ptr<KernelSide> made(new (std::nothrow) KernelSide(std::move(path), interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  Status status = made->prepare(namespaceFd, interface);
  // So that it has no routes that a workload in its namespace would see. In some containers nobody
  // may: the guard keeps the stack off all the same.
  const std::string key = "ipv6/conf/" + tapOf(interfaceIndex) + "/disable_ipv6";
  if (status.ok()) (void)setSysctl(namespaceFd, key.c_str(), "1");
  if (status.ok()) {
    status = StackGuard::hold(namespaceFd, made->tapIndex_, false, &made->tapGuard_);
  }
  if (status.ok()) {
    status = inNamespace(namespaceFd, [&]() -> Status {
      const KernelPath& programs = *made->path_;
      Status attached = attachProgram(programs.downProgram(), made->tapIndex_, BpfHook::TcxIngress,
                                      BPF_LINK_FIRST, &made->down_);
      if (attached.ok()) attached = setInterfaceLinkLocal(made->tapIndex_, false);
      if (attached.ok()) attached = setInterfaceUp(made->tapIndex_, true);
      if (!attached.ok()) return attached;
      return attachProgram(programs.program(), interfaceIndex, BpfHook::TcxIngress, BPF_LINK_FIRST,
                           &made->wire_);
    });
  }
  made->inPlace_ = true;
  if (status.ok()) *side = std::move(made);
  return status;
}

Status KernelSide::adopt(std::shared_ptr<KernelPath> path, const std::string& interface,
                         uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                         std::shared_ptr<KernelSide>* side) noexcept {
  std::shared_ptr<KernelSide> made(new (std::nothrow) KernelSide(std::move(path), interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  Status status = made->prepare(OWN_NAMESPACE, interface);
  if (!status.ok()) return status;
  if (descriptors.size() != DESCRIPTORS ||
      !isAttached(descriptors[0].get(), interfaceIndex, BpfHook::TcxIngress) ||
      !isAttached(descriptors[1].get(), made->tapIndex_, BpfHook::TcxIngress)) {
    return {StatusCode::Argument};
  }
  made->wire_ = std::move(descriptors[0]);
  made->down_ = std::move(descriptors[1]);
  std::vector<Descriptor> guard;
  guard.push_back(std::move(descriptors[2]));
  guard.push_back(std::move(descriptors[3]));
  status =
      StackGuard::adopt(OWN_NAMESPACE, made->tapIndex_, false, std::move(guard), &made->tapGuard_);
  if (status.ok()) *side = std::move(made);
  return status;
}

KernelSide::~KernelSide() {
  if (number_ == NONE) return;
  path_->removeSide(interfaceIndex_, tapIndex_);
  path_->returnNumber(number_);
}

Status KernelSide::join(const WirePartner& partner) noexcept {
  SluiceWireSide told = {};
  told.partner = partner.interfaceIndex;
  told.up = tapIndex_;
  told.number = number_;
  told.hasMac = partner.mac.has_value() ? 1 : 0;
  if (partner.mac.has_value()) std::ranges::copy(*partner.mac, told.mac);
  told.isOutside = partner.isOutside ? 1 : 0;
  told.zone = partner.zone;
  const Status status = path_->setSide(interfaceIndex_, told);
  return status.ok() ? resume() : status;
}

Status KernelSide::resume() noexcept {
  // An interface that is gone has taken its programs along.
  if (inPlace_ || interfaceIndex() == 0) return {};
  for (uint32_t worker = 0; worker < path_->workers(); ++worker) holdUp(*way(worker));
  beginAnew();
  Status status = exchangeProgram(wire_.get(), path_->program());
  if (status.ok()) status = exchangeProgram(down_.get(), path_->downProgram());
  inPlace_ = status.ok();
  return status;
}

KernelCounts KernelSide::counts() const noexcept {
  SluiceWireCounters sum = {};
  (void)path_->counts(number_, &sum);
  return {sum.frames[SLUICE_WIRE_PASSED], sum.passedBytes,
          sum.frames[SLUICE_WIRE_HELD] + sum.frames[SLUICE_WIRE_FULL] +
              sum.frames[SLUICE_WIRE_OVERSIZE]};
}

uint32_t KernelSide::interfaceIndex() const noexcept {
  return isAttached(wire_.get(), interfaceIndex_, BpfHook::TcxIngress) ? interfaceIndex_ : 0;
}

std::vector<int> KernelSide::handOn() {
  inPlace_ = false;
  std::vector<int> all = {wire_.get(), down_.get()};
  const std::vector<int> guard = tapGuard_->descriptors();
  all.insert(all.end(), guard.begin(), guard.end());
  return all;
}

}  // namespace sluice
