#include "native/netlink/links.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/netlink/request.h"

namespace sluice {
namespace {

bool goodName(const char* name) noexcept {
  const size_t length = std::strlen(name);
  return length > 0 && length < IFNAMSIZ;
}

NetlinkRequest changeLink(uint32_t index) noexcept {
  NetlinkRequest request(RTM_NEWLINK, 0);
  ifinfomsg link = {};
  link.ifi_index = static_cast<int>(index);
  request.body(link);
  return request;
}

uint8_t addressFamily(const HostAddress& address) noexcept {
  return address.family == 4 ? AF_INET : AF_INET6;
}

// Makes `name` in this namespace and `peerName` in `peerNamespace`.
Status addVethPair(const char* name, const char* peerName, int peerNamespace) noexcept {
  if (!goodName(name) || !goodName(peerName)) return {StatusCode::Argument};
  NetlinkRequest request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  request.body(ifinfomsg{});
  request.text(IFLA_IFNAME, name);
  const size_t info = request.begin(IFLA_LINKINFO);
  request.text(IFLA_INFO_KIND, "veth");
  const size_t data = request.begin(IFLA_INFO_DATA);
  const size_t peer = request.begin(VETH_INFO_PEER);
  request.body(ifinfomsg{});
  request.text(IFLA_IFNAME, peerName);
  request.number(IFLA_NET_NS_FD, static_cast<uint32_t>(peerNamespace));
  request.end(peer);
  request.end(data);
  request.end(info);
  return request.send("RTM_NEWLINK veth");
}

}  // namespace

Status interfaceIndex(const char* name, uint32_t* index) noexcept {
  if (!goodName(name)) return {StatusCode::Argument};
  const unsigned found = if_nametoindex(name);
  if (found == 0) return Status::system("SIOCGIFINDEX", errno);
  *index = found;
  return {};
}

Status renameInterface(uint32_t index, const char* name) noexcept {
  if (!goodName(name)) return {StatusCode::Argument};
  NetlinkRequest request = changeLink(index);
  request.text(IFLA_IFNAME, name);
  return request.send("RTM_NEWLINK name");
}

Status setInterfaceMac(uint32_t index, const MacAddress& mac) noexcept {
  NetlinkRequest request = changeLink(index);
  request.attribute(IFLA_ADDRESS, mac.data(), mac.size());
  return request.send("RTM_NEWLINK address");
}

Status setInterfaceMtu(uint32_t index, uint32_t mtu) noexcept {
  NetlinkRequest request = changeLink(index);
  request.number(IFLA_MTU, mtu);
  return request.send("RTM_NEWLINK mtu");
}

Status setInterfaceUp(uint32_t index, bool up) noexcept {
  NetlinkRequest request(RTM_NEWLINK, 0);
  ifinfomsg link = {};
  link.ifi_index = static_cast<int>(index);
  link.ifi_flags = up ? IFF_UP : 0;
  link.ifi_change = IFF_UP;
  request.body(link);
  return request.send("RTM_NEWLINK up");
}

Status setInterfaceLinkLocal(uint32_t index, bool automatic) noexcept {
  NetlinkRequest request = changeLink(index);
  const size_t families = request.begin(IFLA_AF_SPEC);
  const size_t v6 = request.begin(AF_INET6);
  request.number<uint8_t>(IFLA_INET6_ADDR_GEN_MODE,
                          automatic ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE);
  request.end(v6);
  request.end(families);
  return request.send("RTM_NEWLINK addrgenmode");
}

Status moveInterface(uint32_t index, int namespaceFd) noexcept {
  NetlinkRequest request = changeLink(index);
  request.number(IFLA_NET_NS_FD, static_cast<uint32_t>(namespaceFd));
  return request.send("RTM_NEWLINK netns");
}

Status deleteInterface(uint32_t index) noexcept {
  NetlinkRequest request(RTM_DELLINK, 0);
  ifinfomsg link = {};
  link.ifi_index = static_cast<int>(index);
  request.body(link);
  return request.send("RTM_DELLINK");
}

Status addAddress(uint32_t index, const HostAddress& address) noexcept {
  NetlinkRequest request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  ifaddrmsg message = {};
  message.ifa_family = addressFamily(address);
  message.ifa_prefixlen = address.length;
  message.ifa_flags = address.family == 6 ? IFA_F_NODAD : 0;
  message.ifa_index = index;
  request.body(message);
  request.attribute(IFA_LOCAL, address.bytes.data(), address.size());
  request.attribute(IFA_ADDRESS, address.bytes.data(), address.size());
  return request.send("RTM_NEWADDR");
}

Status addRoute(uint32_t index, const HostAddress& destination,
                const HostAddress* gateway) noexcept {
  if (gateway != nullptr && gateway->family != destination.family) return {StatusCode::Argument};
  NetlinkRequest request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  rtmsg message = {};
  message.rtm_family = addressFamily(destination);
  message.rtm_dst_len = destination.length;
  message.rtm_table = RT_TABLE_MAIN;
  message.rtm_protocol = RTPROT_STATIC;
  message.rtm_scope = gateway == nullptr ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  message.rtm_type = RTN_UNICAST;
  message.rtm_flags = gateway == nullptr ? 0 : RTNH_F_ONLINK;
  request.body(message);
  if (destination.length > 0) {
    request.attribute(RTA_DST, destination.bytes.data(), destination.size());
  }
  request.number(RTA_OIF, index);
  if (gateway != nullptr) request.attribute(RTA_GATEWAY, gateway->bytes.data(), gateway->size());
  return request.send("RTM_NEWROUTE");
}

Status addNeighbour(uint32_t index, const HostAddress& address, const MacAddress& mac) noexcept {
  NetlinkRequest request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  ndmsg message = {};
  message.ndm_family = addressFamily(address);
  message.ndm_ifindex = static_cast<int>(index);
  message.ndm_state = NUD_PERMANENT;
  request.body(message);
  request.attribute(NDA_DST, address.bytes.data(), address.size());
  request.attribute(NDA_LLADDR, mac.data(), mac.size());
  return request.send("RTM_NEWNEIGH");
}

Status createVethPair(int namespaceA, const std::string& nameA, int namespaceB,
                      const std::string& nameB) noexcept {
  // The kernel needs a descriptor for the peer's namespace, even if it is the process's own.
  Descriptor own;
  if (namespaceB == OWN_NAMESPACE) {
    int fd = -1;
    if (const Status status = openNamespace("/proc/thread-self/ns/net", &fd); !status.ok()) {
      return status;
    }
    own.reset(fd);
  }
  const int peer = own.valid() ? own.get() : namespaceB;
  return inNamespace(namespaceA, [&] { return addVethPair(nameA.c_str(), nameB.c_str(), peer); });
}

Status setInterfacePromiscuous(uint32_t index, bool on, bool* changed) noexcept {
  const Descriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any.valid()) return Status::system("socket", errno);
  ifreq request = {};
  if (if_indextoname(index, request.ifr_name) == nullptr ||
      ioctl(any.get(), SIOCGIFFLAGS, &request) != 0) {
    return Status::system("SIOCGIFFLAGS", errno);
  }
  if (((request.ifr_flags & IFF_PROMISC) != 0) == on) return {};
  request.ifr_flags = static_cast<short>(request.ifr_flags ^ IFF_PROMISC);
  if (ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return Status::system("SIOCSIFFLAGS", errno);
  *changed = true;
  return {};
}

}  // namespace sluice
