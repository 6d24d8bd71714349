#include "native/netlink/conntrack.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "native/netlink/nf-tables.h"
#include "native/packet/bytes.h"

namespace sluice {
namespace {

using Bytes = std::span<const uint8_t>;

// Each report takes about a kilobyte of it.
constexpr int ENDS_BUFFER_BYTES = 16 << 20;
constexpr size_t DATAGRAMS_AT_ONCE = 4'096;
// Of one call: a node may have thousands of reports a second.
constexpr size_t DATAGRAMS_A_CALL = 64;
// A report has about 300 bytes; what is cut is no whole message.
constexpr size_t DATAGRAM_BYTES = 2'048;
constexpr size_t LISTED_AT_ONCE = 512;
constexpr uint16_t TYPE_NEW = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
constexpr uint16_t TYPE_GET = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
constexpr uint16_t TYPE_DELETE = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;

uint8_t byteOf(Bytes value) noexcept { return value.empty() ? 0 : value[0]; }
uint16_t shortOf(Bytes value) noexcept { return value.size() < 2 ? 0 : load16(value.data()); }
uint32_t wordOf(Bytes value) noexcept { return value.size() < 4 ? 0 : load32(value.data()); }
uint64_t longOf(Bytes value) noexcept {
  return value.size() < 8
             ? 0
             : static_cast<uint64_t>(load32(value.data())) << 32 | load32(value.data() + 4);
}

void readAddress(Bytes value, AddressBytes* address) noexcept {
  std::memcpy(address->data(), value.data(), std::min(value.size(), address->size()));
}

// One of a connection's two directions, its sender first.
FlowKey tupleOf(Bytes tuple) noexcept {
  FlowKey key;
  uint8_t icmpType = 0;
  uint8_t icmpCode = 0;
  eachAttribute(tuple, [&](int part, Bytes inner) {
    eachAttribute(inner, [&](int type, Bytes value) {
      if (part == CTA_TUPLE_IP) {
        if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC) readAddress(value, &key.source);
        if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST) readAddress(value, &key.destination);
      } else if (part == CTA_TUPLE_PROTO) {
        if (type == CTA_PROTO_NUM) key.protocol = byteOf(value);
        if (type == CTA_PROTO_SRC_PORT) key.sourcePort = shortOf(value);
        if (type == CTA_PROTO_DST_PORT) key.destinationPort = shortOf(value);
        if (type == CTA_PROTO_ICMP_TYPE || type == CTA_PROTO_ICMPV6_TYPE) icmpType = byteOf(value);
        if (type == CTA_PROTO_ICMP_CODE || type == CTA_PROTO_ICMPV6_CODE) icmpCode = byteOf(value);
      }
    });
  });
  if (key.protocol == IPPROTO_ICMP || key.protocol == IPPROTO_ICMPV6) {
    key.sourcePort = 0;
    key.destinationPort = static_cast<uint16_t>(icmpType << 8 | icmpCode);
  }
  return key;
}

void addCounts(Bytes counts, KernelConnection* connection) noexcept {
  eachAttribute(counts, [&](int type, Bytes value) {
    if (type == CTA_COUNTERS_PACKETS) connection->packets += longOf(value);
    if (type == CTA_COUNTERS_BYTES) connection->bytes += longOf(value);
  });
}

uint8_t tcpStateOf(Bytes info) noexcept {
  uint8_t state = 0;
  eachAttribute(info, [&state](int protocol, Bytes inner) {
    if (protocol != CTA_PROTOINFO_TCP) return;
    eachAttribute(inner, [&state](int type, Bytes value) {
      if (type == CTA_PROTOINFO_TCP_STATE) state = byteOf(value);
    });
  });
  return state;
}

KernelConnection connectionOf(uint8_t family, Bytes attributes) noexcept {
  KernelConnection connection;
  FlowKey reply;
  eachAttribute(attributes, [&](int type, Bytes value) {
    switch (type) {
      case CTA_TUPLE_ORIG:
        connection.key = tupleOf(value);
        break;
      case CTA_TUPLE_REPLY:
        reply = tupleOf(value);
        break;
      case CTA_COUNTERS_ORIG:
      case CTA_COUNTERS_REPLY:
        addCounts(value, &connection);
        break;
      case CTA_STATUS:
        connection.isAnswered = (wordOf(value) & IPS_SEEN_REPLY) != 0;
        connection.isAssured = (wordOf(value) & IPS_ASSURED) != 0;
        break;
      case CTA_TIMEOUT:
        connection.expiresInSeconds = wordOf(value);
        break;
      case CTA_PROTOINFO:
        connection.tcpState = tcpStateOf(value);
        break;
      default:
        break;
    }
  });
  connection.key.destination = reply.source;
  const uint8_t protocol = connection.key.protocol;
  const bool isIcmp = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
  if (!isIcmp) connection.key.destinationPort = reply.sourcePort;
  connection.key.family = family == AF_INET ? 4 : 6;
  return connection;
}

// Appends what one message tells, if it is of this type.
void readConnection(const nlmsghdr& header, Bytes body, uint16_t wanted,
                    std::vector<KernelConnection>* connections) noexcept {
  if (header.nlmsg_type != wanted || body.size() < sizeof(nfgenmsg)) return;
  const uint8_t family = body[0];
  if (family != AF_INET && family != AF_INET6) return;
  connections->push_back(connectionOf(family, body.subspan(sizeof(nfgenmsg))));
}

}  // namespace

Status ConntrackEnds::open() noexcept {
  Descriptor made(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!made.valid()) return Status::system("socket NETLINK_NETFILTER", errno);
  (void)setsockopt(made.get(), SOL_SOCKET, SO_RCVBUFFORCE, &ENDS_BUFFER_BYTES,
                   sizeof ENDS_BUFFER_BYTES);
  sockaddr_nl own = {};
  own.nl_family = AF_NETLINK;
  if (bind(made.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) {
    return Status::system("bind NETLINK_NETFILTER", errno);
  }
  const int group = NFNLGRP_CONNTRACK_DESTROY;
  if (setsockopt(made.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
    return Status::system("NETLINK_ADD_MEMBERSHIP", errno);
  }
  socket_ = std::move(made);
  return {};
}

Status ConntrackEnds::adopt(Descriptor socket) noexcept {
  int domain = 0;
  int protocol = 0;
  socklen_t bytes = sizeof domain;
  const int fd = socket.get();
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0 || domain != AF_NETLINK ||
      getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &bytes) != 0 ||
      protocol != NETLINK_NETFILTER) {
    return {StatusCode::Argument};
  }
  socket_ = std::move(socket);
  return {};
}

Status ConntrackEnds::read(std::vector<KernelConnection>* ended) noexcept {
  datagrams_.resize(DATAGRAMS_A_CALL * DATAGRAM_BYTES);
  std::array<iovec, DATAGRAMS_A_CALL> parts;
  std::array<mmsghdr, DATAGRAMS_A_CALL> messages = {};
  for (size_t index = 0; index < DATAGRAMS_A_CALL; ++index) {
    parts[index] = {datagrams_.data() + index * DATAGRAM_BYTES, DATAGRAM_BYTES};
    messages[index].msg_hdr.msg_iov = &parts[index];
    messages[index].msg_hdr.msg_iovlen = 1;
  }
  for (size_t taken = 0; taken < DATAGRAMS_AT_ONCE;) {
    const int count = recvmmsg(socket_.get(), messages.data(), DATAGRAMS_A_CALL, 0, nullptr);
    if (count < 0 && errno == ENOBUFS) {
      ++overruns_;
      ++taken;
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) return Status::system("recvmmsg NETLINK_NETFILTER", errno);
    if (count <= 0) return {};
    taken += static_cast<size_t>(count);
    for (size_t index = 0; index < static_cast<size_t>(count); ++index) {
      const Bytes datagram(datagrams_.data() + index * DATAGRAM_BYTES, messages[index].msg_len);
      eachMessage(datagram, [ended](const nlmsghdr& header, Bytes body) {
        readConnection(header, body, TYPE_DELETE, ended);
      });
    }
    if (static_cast<size_t>(count) < DATAGRAMS_A_CALL) return {};
  }
  return {};
}

Status ConntrackList::begin() noexcept {
  if (const Status status = openNfTables(&socket_); !status.ok()) return status;
  std::vector<uint8_t> bytes(NLMSG_LENGTH(sizeof(nfgenmsg)));
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<uint32_t>(bytes.size());
  header.nlmsg_type = TYPE_GET;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header.nlmsg_seq = 1;
  const nfgenmsg body = {AF_UNSPEC, NFNETLINK_V0, 0};
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + NLMSG_HDRLEN, &body, sizeof body);
  return sendNfTables(socket_, bytes);
}

Status ConntrackList::read(std::vector<KernelConnection>* listed) noexcept {
  if (!socket_.valid() && !hasEnded_) {
    if (const Status status = begin(); !status.ok()) return status;
  }
  const size_t wanted = listed->size() + LISTED_AT_ONCE;
  int error = 0;
  while (!hasEnded_ && listed->size() < wanted) {
    const Status status =
        receiveNfTables(socket_, &datagram_, [&](const nlmsghdr& header, Bytes body) {
          readConnection(header, body, TYPE_NEW, listed);
          if (header.nlmsg_type != NLMSG_DONE && header.nlmsg_type != NLMSG_ERROR) return;
          int32_t code = 0;
          if (body.size() >= sizeof code) std::memcpy(&code, body.data(), sizeof code);
          error = -code;
          hasEnded_ = true;
        });
    if (!status.ok()) return status;
  }
  if (hasEnded_) socket_.reset();
  return error == 0 ? Status{} : Status::system("list connections", error);
}

}  // namespace sluice
