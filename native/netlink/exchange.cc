#include "native/netlink/exchange.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "native/host/descriptor.h"
#include "native/host/namespaces.h"

namespace sluice {
namespace {

constexpr int BUFFER_BYTES = 32 << 20;
constexpr time_t ANSWER_SECONDS_MAX = 10;
constexpr size_t DATAGRAM_BYTES_MAX = 1 << 18;
constexpr size_t THREADS_MAX = 32;
constexpr int STRICT_CHECKS = 12;  // NETLINK_GET_STRICT_CHK: older headers lack it

nlmsghdr headerAt(const uint8_t* bytes) noexcept {
  nlmsghdr header;
  std::memcpy(&header, bytes, sizeof header);
  return header;
}

// Calls `visit(header)` for each message; false when a message is cut short.
template <typename Visit>
bool walk(std::span<const uint8_t> messages, Visit&& visit) noexcept {
  for (size_t at = 0; at < messages.size();) {
    if (messages.size() - at < sizeof(nlmsghdr)) return false;
    const nlmsghdr header = headerAt(messages.data() + at);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > messages.size() - at) return false;
    visit(header);
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return true;
}

Status openNetlink(int protocol, Descriptor* opened) noexcept {
  Descriptor link(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!link.valid()) return Status::system("socket AF_NETLINK", errno);
  // Larger buffers, short acknowledgements and error texts, as far as the kernel supports them.
  const int yes = 1;
  (void)setsockopt(link.get(), SOL_SOCKET, SO_SNDBUF, &BUFFER_BYTES, sizeof BUFFER_BYTES);
  (void)setsockopt(link.get(), SOL_SOCKET, SO_SNDBUFFORCE, &BUFFER_BYTES, sizeof BUFFER_BYTES);
  (void)setsockopt(link.get(), SOL_SOCKET, SO_RCVBUFFORCE, &BUFFER_BYTES, sizeof BUFFER_BYTES);
  (void)setsockopt(link.get(), SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
  (void)setsockopt(link.get(), SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
  const timeval wait = {ANSWER_SECONDS_MAX, 0};
  if (setsockopt(link.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) {
    return Status::system("SO_RCVTIMEO", errno);
  }
  *opened = std::move(link);
  return {};
}

}  // namespace

Status exchangeNetlink(int namespaceFd, int protocol, std::span<const uint8_t> requests,
                       std::vector<uint8_t>* replies, NetlinkChecks checks) noexcept {
  uint32_t last = 0;
  if (!walk(requests, [&last](const nlmsghdr& header) { last = header.nlmsg_seq; }) || last == 0) {
    return {StatusCode::Argument};
  }
  return inNamespace(namespaceFd, [&]() -> Status {
    Descriptor link;
    if (const Status status = openNetlink(protocol, &link); !status.ok()) return status;
    const int yes = 1;
    if (checks == NetlinkChecks::Strict &&
        setsockopt(link.get(), SOL_NETLINK, STRICT_CHECKS, &yes, sizeof yes) != 0) {
      return Status::system("NETLINK_GET_STRICT_CHK", errno);
    }
    sockaddr_nl kernel = {};
    kernel.nl_family = AF_NETLINK;
    if (sendto(link.get(), requests.data(), requests.size(), 0,
               reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) {
      return Status::system("send AF_NETLINK", errno);
    }
    replies->clear();
    std::vector<uint8_t> datagram(DATAGRAM_BYTES_MAX);
    for (bool ended = false; !ended;) {
      const ssize_t size = recv(link.get(), datagram.data(), datagram.size(), MSG_TRUNC);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) {
        return Status::system("receive AF_NETLINK", errno == EAGAIN ? ETIMEDOUT : errno);
      }
      const auto length = static_cast<size_t>(size);
      if (length > datagram.size()) return Status::system("receive AF_NETLINK", EMSGSIZE);
      const std::span<const uint8_t> received(datagram.data(), length);
      const bool whole = walk(received, [&](const nlmsghdr& header) {
        const bool isEnd = header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR;
        ended = ended || (isEnd && header.nlmsg_seq == last);
      });
      if (!whole) return Status::system("receive AF_NETLINK", EPROTO);
      replies->insert(replies->end(), received.begin(), received.end());
    }
    return {};
  });
}

Status exchangeNetlinkEach(std::span<const uint32_t> namespaceFds, int protocol,
                           std::span<const uint8_t> requests,
                           std::vector<std::vector<uint8_t>>* replies) noexcept {
  std::vector<Status> statuses(namespaceFds.size());
  replies->assign(namespaceFds.size(), {});
  std::atomic<size_t> next{0};
  const auto exchangeSome = [&] {
    for (size_t index = next++; index < namespaceFds.size(); index = next++) {
      statuses[index] = exchangeNetlink(static_cast<int>(namespaceFds[index]), protocol, requests,
                                        &(*replies)[index]);
    }
  };
  const auto body = [](void* work) -> void* {
    (*static_cast<decltype(exchangeSome)*>(work))();
    return nullptr;
  };
  std::vector<pthread_t> threads;
  while (threads.size() + 1 < std::min(THREADS_MAX, namespaceFds.size())) {
    pthread_t thread;
    // Where there are too few threads, the others do more.
    if (pthread_create(&thread, nullptr, body,
                       const_cast<void*>(static_cast<const void*>(&exchangeSome))) != 0) {
      break;
    }
    threads.push_back(thread);
  }
  exchangeSome();
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  for (const Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return {};
}

Status openInterfaceEvents(Descriptor* events) noexcept {
  Descriptor link(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!link.valid()) return Status::system("socket AF_NETLINK", errno);
  (void)setsockopt(link.get(), SOL_SOCKET, SO_RCVBUFFORCE, &BUFFER_BYTES, sizeof BUFFER_BYTES);
  sockaddr_nl own = {};
  own.nl_family = AF_NETLINK;
  own.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(link.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) {
    return Status::system("bind AF_NETLINK", errno);
  }
  *events = std::move(link);
  return {};
}

Status readInterfaceEvents(int events, std::vector<uint8_t>* messages, bool* overrun) noexcept {
  std::vector<uint8_t> datagram(DATAGRAM_BYTES_MAX);
  for (;;) {
    const ssize_t size = recv(events, datagram.data(), datagram.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == ENOBUFS) {
      *overrun = true;
      continue;
    }
    if (size < 0 && errno == EAGAIN) return {};
    if (size < 0) return Status::system("receive AF_NETLINK", errno);
    const std::span<const uint8_t> received(datagram.data(), static_cast<size_t>(size));
    // A datagram that is cut short counts as lost.
    if (walk(received, [](const nlmsghdr&) {})) {
      messages->insert(messages->end(), received.begin(), received.end());
    } else {
      *overrun = true;
    }
  }
}

}  // namespace sluice
