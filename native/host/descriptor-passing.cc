#include "native/host/descriptor-passing.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "native/host/trusted-peer.h"

namespace sluice {
namespace {

// How long a message waits until the other process has read the messages before it.
constexpr uint64_t ROOM_MS_MAX = 2'000;
constexpr int SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

uint64_t nowMs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

Status addressOf(const std::string& path, sockaddr_un* address) noexcept {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address->sun_path) return {StatusCode::Argument};
  std::memcpy(address->sun_path, path.data(), path.size());
  return {};
}

// Errors: System; ETIMEDOUT.
Status waitFor(short event, int fd, uint64_t untilMs) noexcept {
  for (;;) {
    const uint64_t now = nowMs();
    pollfd wanted = {fd, event, 0};
    const int ready = poll(&wanted, 1, now < untilMs ? static_cast<int>(untilMs - now) : 0);
    if (ready > 0) return {};
    if (ready == 0) return Status::system("poll", ETIMEDOUT);
    if (errno != EINTR) return Status::system("poll", errno);
  }
}

}  // namespace

Status listenForProcess(const std::string& path, Descriptor* listener) noexcept {
  sockaddr_un address;
  if (const Status status = addressOf(path, &address); !status.ok()) return status;
  Descriptor made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.valid()) return Status::system("socket AF_UNIX", errno);
  // The mode of the socket itself, set before bind(): others can connect at no moment.
  if (fchmod(made.get(), 0600) != 0) return Status::system("fchmod", errno);
  if (bind(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::system("bind AF_UNIX", errno);
  }
  if (listen(made.get(), 4) != 0) return Status::system("listen", errno);
  *listener = std::move(made);
  return {};
}

Status acceptProcess(int listener, uint32_t timeoutMs, Descriptor* connection) noexcept {
  const uint64_t untilMs = nowMs() + timeoutMs;
  for (;;) {
    if (const Status status = waitFor(POLLIN, listener, untilMs); !status.ok()) return status;
    Descriptor made(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!made.valid() && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
      return Status::system("accept4", errno);
    }
    if (!made.valid() || !isTrustedPeer(made.get())) continue;
    *connection = std::move(made);
    return {};
  }
}

Status callProcess(const std::string& path, Descriptor* connection) noexcept {
  sockaddr_un address;
  if (const Status status = addressOf(path, &address); !status.ok()) return status;
  Descriptor made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.valid()) return Status::system("socket AF_UNIX", errno);
  if (connect(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::system("connect AF_UNIX", errno);
  }
  // The process that takes over sees every packet of the workload.
  if (!isTrustedPeer(made.get())) return Status::system("SO_PEERCRED", EPERM);
  *connection = std::move(made);
  return {};
}

Status passDescriptors(int connection, std::span<const std::byte> bytes,
                       std::span<const int> descriptors) noexcept {
  if (bytes.empty() || bytes.size() > PASSED_BYTES_MAX ||
      descriptors.size() > PASSED_DESCRIPTORS_MAX) {
    return {StatusCode::Argument};
  }
  iovec part = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(PASSED_DESCRIPTORS_MAX * sizeof(int))> control = {};
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  const uint64_t untilMs = nowMs() + ROOM_MS_MAX;
  while (sendmsg(connection, &header, MSG_NOSIGNAL) < 0) {
    if (errno != EAGAIN) return Status::system("sendmsg", errno);
    if (const Status status = waitFor(POLLOUT, connection, untilMs); !status.ok()) return status;
  }
  return {};
}

Status receiveDescriptors(int connection, uint32_t timeoutMs, PassedMessage* message) noexcept {
  const uint64_t untilMs = nowMs() + timeoutMs;
  if (const Status status = waitFor(POLLIN, connection, untilMs); !status.ok()) return status;
  PassedMessage made;
  made.bytes.resize(PASSED_BYTES_MAX);
  iovec part = {made.bytes.data(), made.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(PASSED_DESCRIPTORS_MAX * sizeof(int))> control = {};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t size = recvmsg(connection, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  // The other process ended without reading all that we sent. The kernel reports this once, before
  // the data that the process sent.
  if (size < 0 && errno == ECONNRESET) {
    size = recvmsg(connection, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  }
  if (size < 0) return Status::system("recvmsg", errno);
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < count; ++index) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + index * sizeof fd, sizeof fd);
      made.descriptors.emplace_back(fd);
    }
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return {StatusCode::Argument};
  made.bytes.resize(static_cast<size_t>(size));
  *message = std::move(made);
  return {};
}

Status createMemoryFile(const char* name, Descriptor* file) noexcept {
  file->reset(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return file->valid() ? Status{} : Status::system("memfd_create", errno);
}

Status sealMemoryFile(int file) noexcept {
  if (fcntl(file, F_ADD_SEALS, SEALS) != 0) return Status::system("F_ADD_SEALS", errno);
  return {};
}

bool isSealed(int file) noexcept {
  const int seals = fcntl(file, F_GET_SEALS);
  return seals >= 0 && (seals & SEALS) == SEALS;
}

}  // namespace sluice
