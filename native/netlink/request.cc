#include "native/netlink/request.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

#include "native/host/descriptor.h"

namespace sluice {

Status NetlinkRequest::send(const char* call) noexcept {
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

void NetlinkRequest::append(const void* data, size_t size) noexcept {
  const size_t at = NLMSG_ALIGN(header()->nlmsg_len);
  if (at + size > sizeof bytes_) std::abort();  // names are bounded, so no request is this long
  if (size > 0) std::memcpy(bytes_ + at, data, size);
  header()->nlmsg_len = static_cast<uint32_t>(at + size);
}

}  // namespace sluice
