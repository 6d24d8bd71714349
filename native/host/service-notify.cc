#include "native/host/service-notify.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "native/host/descriptor.h"

namespace sluice {
namespace {

constexpr size_t DESCRIPTORS_MAX = 16;

}  // namespace

Status notifyService(const std::string& socketPath, const std::string& message,
                     std::span<const int> descriptors) noexcept {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socketPath.empty() || socketPath.size() >= sizeof address.sun_path ||
      descriptors.size() > DESCRIPTORS_MAX) {
    return {StatusCode::Argument};
  }
  std::memcpy(address.sun_path, socketPath.data(), socketPath.size());
  if (socketPath[0] == '@') address.sun_path[0] = '\0';

  iovec part = {const_cast<char*>(message.data()), message.size()};
  msghdr header = {};
  header.msg_name = &address;
  header.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socketPath.size());
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))] = {};
  if (!descriptors.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  const Descriptor made(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!made.valid()) return Status::system("socket AF_UNIX", errno);
  if (sendmsg(made.get(), &header, MSG_NOSIGNAL) < 0) return Status::system("sendmsg", errno);
  return {};
}

// The service manager closes the pipe end that it receives.
Status awaitService(const std::string& socketPath, uint32_t timeoutMs) noexcept {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Status::system("pipe2", errno);
  const Descriptor reads(ends[0]);
  Descriptor writes(ends[1]);
  const Status told = notifyService(socketPath, "BARRIER=1", {&ends[1], 1});
  if (!told.ok()) return told;
  writes.reset();
  pollfd wanted = {reads.get(), 0, 0};
  const int ready = poll(&wanted, 1, static_cast<int>(timeoutMs));
  if (ready > 0) return {};
  return Status::system("poll", ready == 0 ? ETIMEDOUT : errno);
}

}  // namespace sluice
