#include "native/netlink/rtnetlink.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "native/host/descriptor.h"

namespace sluice {
namespace {

constexpr size_t MESSAGE_BYTES_MAX = 1024;

// A netlink request under construction. Nested attributes are closed by end().
class Request {
 public:
  Request(uint16_t type, uint16_t flags) noexcept {
    header()->nlmsg_len = NLMSG_LENGTH(0);
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header()->nlmsg_seq = 1;
  }

  template <typename Body>
  void body(const Body& value) noexcept {
    append(&value, sizeof value);
  }

  void attribute(uint16_t type, const void* data, size_t size) noexcept {
    rtattr head = {static_cast<uint16_t>(RTA_LENGTH(size)), type};
    append(&head, sizeof head);
    append(data, size);
  }

  void text(uint16_t type, const char* value) noexcept {
    attribute(type, value, std::strlen(value) + 1);
  }

  template <typename Number>
  void number(uint16_t type, Number value) noexcept {
    attribute(type, &value, sizeof value);
  }

  [[nodiscard]] size_t begin(uint16_t type) noexcept {
    const size_t start = NLMSG_ALIGN(header()->nlmsg_len);
    attribute(type, nullptr, 0);
    return start;
  }

  void end(size_t start) noexcept {
    reinterpret_cast<rtattr*>(bytes_ + start)->rta_len =
        static_cast<uint16_t>(header()->nlmsg_len - start);
  }

  // Sends the request and waits for the kernel's answer. `call` names it when it fails.
  Status send(const char* call) noexcept {
    const Descriptor link(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!link.valid()) return Status::system("socket AF_NETLINK", errno);
    sockaddr_nl kernel = {};
    kernel.nl_family = AF_NETLINK;
    if (sendto(link.get(), bytes_, header()->nlmsg_len, 0, reinterpret_cast<sockaddr*>(&kernel),
               sizeof kernel) < 0) {
      return Status::system(call, errno);
    }
    alignas(NLMSG_ALIGNTO) char reply[8192];
    const ssize_t size = recv(link.get(), reply, sizeof reply, 0);
    const auto* answer = reinterpret_cast<const nlmsghdr*>(reply);
    if (size < static_cast<ssize_t>(NLMSG_LENGTH(0))) {
      return Status::system(call, size < 0 ? errno : EPROTO);
    }
    if (answer->nlmsg_type != NLMSG_ERROR) return {};  // what a "get" asked for
    const int error = static_cast<const nlmsgerr*>(NLMSG_DATA(answer))->error;
    return error == 0 ? Status{} : Status::system(call, -error);
  }

 private:
  nlmsghdr* header() noexcept { return reinterpret_cast<nlmsghdr*>(bytes_); }

  void append(const void* data, size_t size) noexcept {
    const size_t at = NLMSG_ALIGN(header()->nlmsg_len);
    if (at + size > sizeof bytes_) std::abort();  // names are bounded, so no request is this long
    if (size > 0) std::memcpy(bytes_ + at, data, size);
    header()->nlmsg_len = static_cast<uint32_t>(at + size);
  }

  alignas(NLMSG_ALIGNTO) std::byte bytes_[MESSAGE_BYTES_MAX] = {};
};

bool goodName(const char* name) noexcept {
  const size_t length = std::strlen(name);
  return length > 0 && length < IFNAMSIZ;
}

Request changeLink(uint32_t index) noexcept {
  Request request(RTM_NEWLINK, 0);
  ifinfomsg link = {};
  link.ifi_index = static_cast<int>(index);
  request.body(link);
  return request;
}

uint8_t addressFamily(const HostAddress& address) noexcept {
  return address.family == 4 ? AF_INET : AF_INET6;
}

// tc's coordinates of an interface's two hooks.
tcmsg stackHook(uint32_t index) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_CLSACT;
  message.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  return message;
}

// And of our filters on it. The handle tells a later process whether the hook was ours as well.
constexpr uint32_t FILTER_PRIORITY = 1;
constexpr uint32_t FILTER_HANDLE = 0x51ce0000;
enum class Hook : uint32_t { In = TC_H_MIN_INGRESS, Out = TC_H_MIN_EGRESS };

tcmsg stackFilter(uint32_t index, const StackFilters& filters, Hook hook) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_MAKE(TC_H_CLSACT, static_cast<uint32_t>(hook));
  message.tcm_handle = FILTER_HANDLE + (filters.hookMade ? 1 : 2);
  message.tcm_info = TC_H_MAKE(FILTER_PRIORITY << 16, htons(ETH_P_ALL));
  return message;
}

Status addStackFilter(uint32_t index, const StackFilters& filters, Hook hook,
                      std::span<const sock_filter> program) noexcept {
  Request request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL);
  request.body(stackFilter(index, filters, hook));
  request.text(TCA_KIND, "bpf");
  const size_t options = request.begin(TCA_OPTIONS);
  request.number(TCA_BPF_OPS_LEN, static_cast<uint16_t>(program.size()));
  request.attribute(TCA_BPF_OPS, program.data(), program.size_bytes());
  request.number<uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  request.end(options);
  const Status status = request.send("RTM_NEWTFILTER bpf");
  return status.error == EEXIST ? Status{} : status;
}

}  // namespace

bool parseHostAddress(const std::string& text, HostAddress* address) noexcept {
  const size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  HostAddress parsed;
  parsed.family = host.find(':') == std::string::npos ? 4 : 6;
  const int family = parsed.family == 4 ? AF_INET : AF_INET6;
  if (inet_pton(family, host.c_str(), parsed.bytes.data()) != 1) return false;
  const auto bits = static_cast<uint8_t>(parsed.size() * 8);
  parsed.length = bits;
  if (slash != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data() + slash + 1, end, parsed.length);
    if (result.ec != std::errc() || result.ptr != end || parsed.length > bits) return false;
  }
  *address = parsed;
  return true;
}

bool parseMac(const std::string& text, MacAddress* mac) noexcept {
  if (text.size() != 17) return false;
  MacAddress parsed;
  for (size_t index = 0; index < parsed.size(); ++index) {
    const char* start = text.data() + index * 3;
    const auto result = std::from_chars(start, start + 2, parsed[index], 16);
    if (result.ec != std::errc() || result.ptr != start + 2) return false;
    if (index < 5 && start[2] != ':') return false;
  }
  *mac = parsed;
  return true;
}

Status interfaceIndex(const char* name, uint32_t* index) noexcept {
  if (!goodName(name)) return {StatusCode::Argument};
  const unsigned found = if_nametoindex(name);
  if (found == 0) return Status::system("SIOCGIFINDEX", errno);
  *index = found;
  return {};
}

Status renameInterface(uint32_t index, const char* name) noexcept {
  if (!goodName(name)) return {StatusCode::Argument};
  Request request = changeLink(index);
  request.text(IFLA_IFNAME, name);
  return request.send("RTM_NEWLINK name");
}

Status setInterfaceMac(uint32_t index, const MacAddress& mac) noexcept {
  Request request = changeLink(index);
  request.attribute(IFLA_ADDRESS, mac.data(), mac.size());
  return request.send("RTM_NEWLINK address");
}

Status setInterfaceMtu(uint32_t index, uint32_t mtu) noexcept {
  Request request = changeLink(index);
  request.number(IFLA_MTU, mtu);
  return request.send("RTM_NEWLINK mtu");
}

Status setInterfaceUp(uint32_t index, bool up) noexcept {
  Request request(RTM_NEWLINK, 0);
  ifinfomsg link = {};
  link.ifi_index = static_cast<int>(index);
  link.ifi_flags = up ? IFF_UP : 0;
  link.ifi_change = IFF_UP;
  request.body(link);
  return request.send("RTM_NEWLINK up");
}

Status setInterfaceLinkLocal(uint32_t index, bool automatic) noexcept {
  Request request = changeLink(index);
  const size_t families = request.begin(IFLA_AF_SPEC);
  const size_t v6 = request.begin(AF_INET6);
  request.number<uint8_t>(IFLA_INET6_ADDR_GEN_MODE,
                          automatic ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE);
  request.end(v6);
  request.end(families);
  return request.send("RTM_NEWLINK addrgenmode");
}

Status deleteInterface(uint32_t index) noexcept {
  Request request(RTM_DELLINK, 0);
  ifinfomsg link = {};
  link.ifi_index = static_cast<int>(index);
  request.body(link);
  return request.send("RTM_DELLINK");
}

Status addAddress(uint32_t index, const HostAddress& address) noexcept {
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
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
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
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
  Request request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  ndmsg message = {};
  message.ndm_family = addressFamily(address);
  message.ndm_ifindex = static_cast<int>(index);
  message.ndm_state = NUD_PERMANENT;
  request.body(message);
  request.attribute(NDA_DST, address.bytes.data(), address.size());
  request.attribute(NDA_LLADDR, mac.data(), mac.size());
  return request.send("RTM_NEWNEIGH");
}

Status addVethPair(const char* name, const char* peerName, int peerNamespace) noexcept {
  if (!goodName(name) || !goodName(peerName)) return {StatusCode::Argument};
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
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

bool findStackFilters(uint32_t index, StackFilters* filters) noexcept {
  for (const bool hookMade : {true, false}) {
    const StackFilters candidate = {hookMade};
    Request request(RTM_GETTFILTER, 0);
    request.body(stackFilter(index, candidate, Hook::In));
    request.text(TCA_KIND, "bpf");
    if (request.send("RTM_GETTFILTER").ok()) {
      *filters = candidate;
      return true;
    }
  }
  return false;
}

Status addStackFilters(uint32_t index, uint32_t mark, bool found, StackFilters* filters) noexcept {
  StackFilters made = *filters;
  if (!found) {
    Request hook(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
    hook.body(stackHook(index));
    hook.text(TCA_KIND, "clsact");
    const Status hooked = hook.send("RTM_NEWQDISC clsact");
    if (!hooked.ok() && hooked.error != EEXIST) return hooked;
    made.hookMade = hooked.ok();
  }
  const sock_filter dropAll[] = {{BPF_RET | BPF_K, 0, 0, TC_ACT_SHOT}};
  const sock_filter dropUnmarked[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_MARK)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, mark},
      {BPF_RET | BPF_K, 0, 0, static_cast<uint32_t>(TC_ACT_UNSPEC)},
      {BPF_RET | BPF_K, 0, 0, TC_ACT_SHOT},
  };
  Status status = addStackFilter(index, made, Hook::In, dropAll);
  if (status.ok()) status = addStackFilter(index, made, Hook::Out, dropUnmarked);
  if (status.ok()) {
    *filters = made;
  } else if (!found) {
    (void)removeStackFilters(index, made);  // an interface that was closed before stays closed
  }
  return status;
}

Status removeStackFilters(uint32_t index, const StackFilters& filters) noexcept {
  if (filters.hookMade) {
    Request request(RTM_DELQDISC, 0);
    request.body(stackHook(index));
    return request.send("RTM_DELQDISC clsact");
  }
  Status status;
  for (const Hook hook : {Hook::In, Hook::Out}) {
    Request request(RTM_DELTFILTER, 0);
    request.body(stackFilter(index, filters, hook));
    request.text(TCA_KIND, "bpf");
    const Status removed = request.send("RTM_DELTFILTER bpf");
    if (!removed.ok()) status = removed;
  }
  return status;
}

namespace {

constexpr uint32_t REDIRECT_PRIORITY = 2;
constexpr uint32_t REDIRECT_HANDLE = 0x51cf0001;

tcmsg redirectFilter(uint32_t index, const RedirectFilter& filter) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  message.tcm_handle =
      REDIRECT_HANDLE + (filter.hookMade ? 1 : 0) + (filter.promiscuousMade ? 2 : 0);
  message.tcm_info = TC_H_MAKE(REDIRECT_PRIORITY << 16, htons(ETH_P_ALL));
  return message;
}

}  // namespace

bool findRedirectFilter(uint32_t index, RedirectFilter* filter) noexcept {
  for (const bool hookMade : {true, false}) {
    for (const bool promiscuousMade : {true, false}) {
      const RedirectFilter candidate = {hookMade, promiscuousMade};
      Request request(RTM_GETTFILTER, 0);
      request.body(redirectFilter(index, candidate));
      request.text(TCA_KIND, "bpf");
      if (!request.send("RTM_GETTFILTER").ok()) continue;
      *filter = candidate;
      return true;
    }
  }
  return false;
}

Status addRedirectFilter(uint32_t index, int programFd, RedirectFilter filter) noexcept {
  Request hook(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
  hook.body(stackHook(index));
  hook.text(TCA_KIND, "clsact");
  const Status hooked = hook.send("RTM_NEWQDISC clsact");
  if (!hooked.ok() && hooked.error != EEXIST) return hooked;
  filter.hookMade = hooked.ok();
  Request request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL);
  request.body(redirectFilter(index, filter));
  request.text(TCA_KIND, "bpf");
  const size_t options = request.begin(TCA_OPTIONS);
  request.number<uint32_t>(TCA_BPF_FD, static_cast<uint32_t>(programFd));
  request.text(TCA_BPF_NAME, "sluice_fail_open");
  request.number<uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  request.end(options);
  const Status status = request.send("RTM_NEWTFILTER bpf");
  if (!status.ok()) (void)removeRedirectFilter(index, filter);
  return status;
}

Status removeRedirectFilter(uint32_t index, const RedirectFilter& filter) noexcept {
  Request request(filter.hookMade ? RTM_DELQDISC : RTM_DELTFILTER, 0);
  if (filter.hookMade) {
    request.body(stackHook(index));
    return request.send("RTM_DELQDISC clsact");
  }
  request.body(redirectFilter(index, filter));
  request.text(TCA_KIND, "bpf");
  return request.send("RTM_DELTFILTER bpf");
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
