#include "native/attach/interface-traits.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"

namespace sluice {
namespace {

// Asks the kernel about an interface by an ethtool command; false when there is no answer.
template <typename Answer>
bool askDriver(int fd, const std::string& interface, uint32_t command, Answer* answer) noexcept {
  *answer = {};
  answer->cmd = command;
  ifreq request = {};
  std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
  request.ifr_data = reinterpret_cast<char*>(answer);
  return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

}  // namespace

Status readInterfaceTraits(int namespaceFd, const std::string& interface,
                           InterfaceTraits* traits) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    if (const Status status = interfaceIndex(interface.c_str(), &traits->index); !status.ok()) {
      return status;
    }
    const Descriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!any.valid()) return Status::system("socket", errno);
    ifreq request = {};
    std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
    if (ioctl(any.get(), SIOCGIFMTU, &request) != 0) return Status::system("SIOCGIFMTU", errno);
    traits->mtu = static_cast<uint32_t>(request.ifr_mtu);
    ethtool_drvinfo driver;
    if (askDriver(any.get(), interface, ETHTOOL_GDRVINFO, &driver)) {
      traits->driver.assign(driver.driver, strnlen(driver.driver, sizeof driver.driver));
      // Virtual interfaces have no bus, or name one that does not exist.
      traits->hardware = std::strchr(driver.bus_info, ':') != nullptr ||
                         std::strncmp(driver.bus_info, "virtio", 6) == 0;
    }
    ethtool_channels channels;
    if (askDriver(any.get(), interface, ETHTOOL_GCHANNELS, &channels)) {
      traits->queues = std::max(1u, channels.rx_count + channels.combined_count);
    }
    ethtool_value segmentation;
    traits->segmentation =
        askDriver(any.get(), interface, ETHTOOL_GTSO, &segmentation) && segmentation.data != 0;
    return {};
  });
}

}  // namespace sluice
