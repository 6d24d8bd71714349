#include "native/attach/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "native/attach/steering-program.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"
#include "native/packet/frame.h"

namespace sluice {
namespace {

// Defined here since the headers of an older kernel lack them; the running kernel may know them.
constexpr unsigned TUN_OFFLOAD_USO4 = 0x20;
constexpr unsigned TUN_OFFLOAD_USO6 = 0x40;
// A user that nobody is: the kernel shows it for those that a user namespace does not know.
constexpr unsigned NOBODYS_USER = 0xfffffffe;

// Opens one queue of a TAP. The first one makes the interface, with the index `index` unless that
// is 0.
Status openTapQueue(const std::string& name, bool oneOfMany, uint32_t index,
                    Descriptor* queue) noexcept {
  Descriptor tap;
  const Status status = openTunDevice(&tap);
  if (!status.ok()) return status;
  if (index != 0 && ioctl(tap.get(), TUNSETIFINDEX, &index) != 0) {
    return Status::system("TUNSETIFINDEX", errno);
  }
  ifreq request = {};
  std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (oneOfMany ? IFF_MULTI_QUEUE : 0));
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0) return Status::system("TUNSETIFF", errno);
  int headerBytes = sizeof(Offload);
  if (ioctl(tap.get(), TUNSETVNETHDRSZ, &headerBytes) != 0) {
    return Status::system("TUNSETVNETHDRSZ", errno);
  }
  const unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(tap.get(), TUNSETOFFLOAD, base | TUN_OFFLOAD_USO4 | TUN_OFFLOAD_USO6) != 0 &&
      ioctl(tap.get(), TUNSETOFFLOAD, base) != 0) {
    return Status::system("TUNSETOFFLOAD", errno);
  }
  *queue = std::move(tap);
  return {};
}

// Keeps others from adding queues, by which they would send frames past the filter. Whoever can
// open /dev/net/tun may, to a TAP that has no owner, and an owner may without any capability. Where
// a user namespace has no user to spare, it is the user of this process.
Status ownTap(int tap) noexcept {
  if (ioctl(tap, TUNSETOWNER, NOBODYS_USER) == 0) return {};
  if (errno == EINVAL && ioctl(tap, TUNSETOWNER, geteuid()) == 0) return {};
  return Status::system("TUNSETOWNER", errno);
}

// A namespace that nobody else is in; -1 where this process can make none: it has no right to, or
// there may be no more of them (user.max_net_namespaces).
int hiddenNamespace() noexcept {
  static Descriptor hidden;  // the control thread makes TAPs
  int fd = -1;
  if (!hidden.valid() && createNamespace(&fd).ok()) hidden.reset(fd);
  return hidden.get();
}

// Makes a TAP of several queues where nobody sees it before it has an owner, moves it to the
// calling thread's namespace, and opens its first queue there. EPERM for who may not do that.
Status openUnseenTap(int hidden, const std::string& name, uint32_t index,
                     Descriptor* queue) noexcept {
  const Descriptor here(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!here.valid()) return Status::system("open /proc/thread-self/ns/net", errno);
  Descriptor maker;  // a queue that belongs to the namespace: it is closed again
  const Status status = inNamespace(hidden, [&]() -> Status {
    Status made = openTapQueue(name, true, index, &maker);
    if (made.ok()) made = ownTap(maker.get());
    uint32_t now = 0;
    if (made.ok()) made = interfaceIndex(name.c_str(), &now);
    return made.ok() ? moveInterface(now, here.get()) : made;
  });
  return status.ok() ? openTapQueue(name, true, 0, queue) : status;
}

Status setQueueFrames(const TapOptions& options) noexcept {
  const Descriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any.valid()) return Status::system("socket", errno);
  ifreq request = {};
  std::memcpy(request.ifr_name, options.name.c_str(), options.name.size() + 1);
  request.ifr_qlen = static_cast<int>(options.queueFrames);
  if (ioctl(any.get(), SIOCSIFTXQLEN, &request) != 0) return Status::system("SIOCSIFTXQLEN", errno);
  return {};
}

}  // namespace

Status openTunDevice(Descriptor* tun) noexcept {
  tun->reset(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  return tun->valid() ? Status{} : Status::system("open /dev/net/tun", errno, Fault::TunDevice);
}

Status openTap(int namespaceFd, const TapOptions& options, const Steering& steering,
               std::vector<Descriptor>* queues) noexcept {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ) return {StatusCode::Argument};
  return inNamespace(namespaceFd, [&]() -> Status {
    std::vector<Descriptor> opened(steering.workers);
    uint32_t index = 0;
    const bool many = options.growable || opened.size() > 1;
    const bool found = options.lasting && interfaceIndex(options.name.c_str(), &index).ok();
    Status status;
    for (size_t queue = 0; status.ok() && queue < opened.size(); ++queue) {
      const uint32_t wanted = found || queue > 0 ? 0 : options.index;
      const int hidden = many && queue == 0 && !found ? hiddenNamespace() : -1;
      if (hidden >= 0) {
        status = openUnseenTap(hidden, options.name, wanted, &opened[queue]);
        if (status.ok() || status.error != EPERM) continue;
      }
      status = openTapQueue(options.name, many, wanted, &opened[queue]);
      if (!status.ok() && status.error == EBUSY && wanted != 0) {
        status = openTapQueue(options.name, many, 0, &opened[queue]);
      }
      if (status.ok() && queue == 0 && !found) status = ownTap(opened[queue].get());
    }
    if (!status.ok()) return status;
    if (opened.size() > 1) status = steerTapQueues(opened[0].get(), steering);
    if (!status.ok()) return status;
    if (!found) {
      status = interfaceIndex(options.name.c_str(), &index);
      if (status.ok()) status = setInterfaceMac(index, options.mac);
      if (status.ok()) status = setInterfaceMtu(index, options.mtu);
    }
    if (status.ok() && options.queueFrames > 0) status = setQueueFrames(options);
    if (status.ok() && options.lasting && ioctl(opened[0].get(), TUNSETPERSIST, 1) != 0) {
      return Status::system("TUNSETPERSIST", errno);
    }
    if (status.ok()) *queues = std::move(opened);
    return status;
  });
}

Status addTapQueue(const std::string& name, Descriptor* queue) noexcept {
  return openTapQueue(name, true, 0, queue);
}

Status steerTapQueues(int tap, const Steering& steering) noexcept {
  Descriptor program;
  if (!loadSteeringProgram(steering, &program).ok()) return {};
  int programFd = program.get();
  if (ioctl(tap, TUNSETSTEERINGEBPF, &programFd) != 0) {
    return Status::system("TUNSETSTEERINGEBPF", errno);
  }
  return {};
}

}  // namespace sluice
