#include "native/attach/kernel-side.h"

#include <fcntl.h>
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
#include "native/io/packet-link.h"
#include "native/netlink/links.h"
#include "native/netlink/tc-filters.h"

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
  if (namespaceFd != OWN_NAMESPACE) {
    namespace_.reset(fcntl(namespaceFd, F_DUPFD_CLOEXEC, 0));
    if (!namespace_.valid()) return Status::system("dup", errno);
  }
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
  // Bound, to no protocol: the kernel unbinds it when the interface goes.
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(interfaceIndex_);
  if (bind(socket.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Status::system("bind AF_PACKET", errno);
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
    status = inNamespace(namespaceFd, [&made] { return made->attach(); });
  }
  made->inPlace_ = true;
  if (status.ok()) *side = std::move(made);
  return status;
}

Status KernelSide::attach() noexcept {
  Status status = setInterfaceLinkLocal(tapIndex_, false);
  if (status.ok()) {
    status =
        attachProgram(path_->downProgram(), tapIndex_, BpfHook::TcxIngress, BPF_LINK_FIRST, &down_);
  }
  byFilters_ = status.error == EINVAL;  // the kernel does not know the hook
  if (status.ok()) {
    status = attachProgram(path_->program(), interfaceIndex_, BpfHook::TcxIngress, BPF_LINK_FIRST,
                           &wire_);
  }
  if (byFilters_) status = putFilters();
  return status.ok() ? setInterfaceUp(tapIndex_, true) : status;
}

// Adds the filters, or puts the programs of this process in the place of theirs.
Status KernelSide::putFilters() const noexcept {
  const auto put = [](uint32_t index, int program) {
    return putProgramFilter(ProgramFilter::Wire, index, program);
  };
  const Status status = put(tapIndex_, path_->downProgram());
  return status.ok() ? put(interfaceIndex_, path_->program()) : status;
}

bool KernelSide::hasFilters() const noexcept {
  return inNamespace(namespace_.get(),
                     [this]() -> Status {
                       const bool has = hasProgramFilter(ProgramFilter::Wire, interfaceIndex_) &&
                                        hasProgramFilter(ProgramFilter::Wire, tapIndex_);
                       return has ? Status{} : Status{StatusCode::Argument};
                     })
      .ok();
}

Status KernelSide::adopt(std::shared_ptr<KernelPath> path, const std::string& interface,
                         uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                         std::shared_ptr<KernelSide>* side) noexcept {
  std::shared_ptr<KernelSide> made(new (std::nothrow) KernelSide(std::move(path), interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  Status status = made->prepare(OWN_NAMESPACE, interface);
  if (!status.ok()) return status;
  // Until the successor has taken over, the predecessor uses them too.
  made->leave();
  made->byFilters_ = descriptors.empty();
  std::vector<Descriptor> guard;
  if (made->byFilters_) {
    if (!made->hasFilters()) return {StatusCode::Argument};
  } else {
    if (descriptors.size() != DESCRIPTORS ||
        !isAttached(descriptors[0].get(), interfaceIndex, BpfHook::TcxIngress) ||
        !isAttached(descriptors[1].get(), made->tapIndex_, BpfHook::TcxIngress)) {
      return {StatusCode::Argument};
    }
    made->wire_ = std::move(descriptors[0]);
    made->down_ = std::move(descriptors[1]);
    guard.push_back(std::move(descriptors[2]));
    guard.push_back(std::move(descriptors[3]));
  }
  status =
      StackGuard::adopt(OWN_NAMESPACE, made->tapIndex_, false, std::move(guard), &made->tapGuard_);
  if (!status.ok()) return status;
  made->leave();  // the TAP's guard
  *side = std::move(made);
  return {};
}

KernelSide::~KernelSide() {
  if (byFilters_ && owned_) {
    (void)inNamespace(namespace_.get(), [this]() -> Status {
      // The TAP goes with the process, and its filter with it.
      return removeProgramFilter(ProgramFilter::Wire, interfaceIndex_);
    });
  }
  if (number_ == NONE) return;
  path_->removeSide(interfaceIndex_, tapIndex_);
  path_->returnNumber(number_);
}

void KernelSide::leave() noexcept {
  owned_ = false;
  if (tapGuard_ != nullptr) tapGuard_->leave();
}

void KernelSide::own() noexcept {
  owned_ = true;
  tapGuard_->own();
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
  const Status status = exchangePrograms();
  inPlace_ = status.ok();
  return status;
}

Status KernelSide::exchangePrograms() const noexcept {
  if (byFilters_) return inNamespace(namespace_.get(), [this] { return putFilters(); });
  const Status status = exchangeProgram(wire_.get(), path_->program());
  return status.ok() ? exchangeProgram(down_.get(), path_->downProgram()) : status;
}

KernelCounts KernelSide::counts() const noexcept {
  SluiceWireCounters sum = {};
  (void)path_->counts(number_, &sum);
  return {sum.frames[SLUICE_WIRE_PASSED], sum.passedBytes,
          sum.frames[SLUICE_WIRE_HELD] + sum.frames[SLUICE_WIRE_FULL] +
              sum.frames[SLUICE_WIRE_OVERSIZE]};
}

uint32_t KernelSide::interfaceIndex() const noexcept {
  if (byFilters_) {
    // Not by its filters, which anybody may remove: an interface that counts as gone is given back.
    const bool isThere = boundInterface(promiscuous_.get()) == interfaceIndex_;
    if (isThere && inPlace_ && !hasFilters()) (void)exchangePrograms();
    return isThere ? interfaceIndex_ : 0;
  }
  return isAttached(wire_.get(), interfaceIndex_, BpfHook::TcxIngress) ? interfaceIndex_ : 0;
}

std::vector<int> KernelSide::handOn() {
  inPlace_ = false;
  if (byFilters_) return {};
  std::vector<int> all = {wire_.get(), down_.get()};
  const std::vector<int> guard = tapGuard_->descriptors();
  all.insert(all.end(), guard.begin(), guard.end());
  return all;
}

}  // namespace sluice
