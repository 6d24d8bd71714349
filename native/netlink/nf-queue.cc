#include "native/netlink/nf-queue.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>
#include <vector>

#include "native/netlink/nf-tables.h"

namespace sluice {
namespace {

constexpr int RECEIVE_BYTES = 8 << 20;
constexpr size_t DATAGRAM_BYTES_MAX = 1 << 16;

// A message for a queue with one attribute.
template <typename Body>
struct [[gnu::packed]] Message {
  nlmsghdr header;
  nfgenmsg queue;
  nlattr attribute;
  Body body;
};

template <typename Body>
Message<Body> messageOf(uint16_t type, uint16_t queue, uint16_t attribute, const Body& body,
                        uint16_t flags = 0) noexcept {
  Message<Body> made = {};
  made.header.nlmsg_len = sizeof made;
  made.header.nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_QUEUE << 8 | type);
  made.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  made.queue = {AF_UNSPEC, NFNETLINK_V0, __builtin_bswap16(queue)};
  made.attribute = {static_cast<uint16_t>(NLA_HDRLEN + sizeof body), attribute};
  made.body = body;
  return made;
}

template <typename Sent>
std::span<const uint8_t> bytesOf(const Sent& message) noexcept {
  return {reinterpret_cast<const uint8_t*>(&message), sizeof message};
}

// Sends a setting and returns the kernel's error, or 0.
template <typename Body>
int configure(const Descriptor& link, uint16_t queue, uint16_t attribute,
              const Body& body) noexcept {
  const auto message = messageOf(NFQNL_MSG_CONFIG, queue, attribute, body, NLM_F_ACK);
  if (const Status status = sendNfTables(link, bytesOf(message)); !status.ok()) {
    return status.error;
  }
  std::vector<uint8_t> buffer;
  int32_t code = 0;
  const Status status = receiveNfTables(link, &buffer, [&](const nlmsghdr& header, auto answer) {
    if (header.nlmsg_type != NLMSG_ERROR || answer.size() < sizeof code) return;
    std::memcpy(&code, answer.data(), sizeof code);
  });
  return status.ok() ? -code : status.error;
}

// Takes one queue. Nothing comes of it yet: no rule names it.
int bind(const Descriptor& link, uint16_t queue, const NfQueues::Options& options) noexcept {
  const nfqnl_msg_config_cmd take = {NFQNL_CFG_CMD_BIND, 0, 0};
  int error = configure(link, queue, NFQA_CFG_CMD, take);
  const nfqnl_msg_config_params copied = {__builtin_bswap32(options.packetBytes),
                                          NFQNL_COPY_PACKET};
  if (error == 0) error = configure(link, queue, NFQA_CFG_PARAMS, copied);
  const uint32_t most = __builtin_bswap32(options.packetsMax);
  if (error == 0) error = configure(link, queue, NFQA_CFG_QUEUE_MAXLEN, most);
  return error;
}

// Superframes are not cut for us.
int takeSuperframes(const Descriptor& link, uint16_t queue) noexcept {
  struct [[gnu::packed]] {
    uint32_t flags;
    nlattr head;
    uint32_t mask;
  } const both = {__builtin_bswap32(NFQA_CFG_F_GSO),
                  {NLA_HDRLEN + sizeof(uint32_t), NFQA_CFG_MASK},
                  __builtin_bswap32(NFQA_CFG_F_GSO)};
  auto message = messageOf(NFQNL_MSG_CONFIG, queue, NFQA_CFG_FLAGS, both, 0);
  message.attribute.nla_len = NLA_HDRLEN + sizeof(uint32_t);
  const Status status = sendNfTables(link, bytesOf(message));
  return status.ok() ? 0 : status.error;
}

}  // namespace

Status NfQueues::open(const Options& options, Judge judge,
                      std::unique_ptr<NfQueues>* queues) noexcept {
  std::unique_ptr<NfQueues> made(new (std::nothrow) NfQueues(options, std::move(judge)));
  if (made == nullptr) return {StatusCode::Limit};
  const Status status = openNfTables(&made->link_);
  if (!status.ok()) return status;
  for (uint16_t place = 0; place < options.count; ++place) {
    const auto number = static_cast<uint16_t>(options.first + place);
    int error = bind(made->link_, number, options);
    if (error == 0) error = takeSuperframes(made->link_, number);
    if (error != 0) return Status::system("bind NFQUEUE", error);
  }
  // What does not fit is dropped; an error for it would tell nothing more.
  constexpr int on = 1;
  setsockopt(made->link_.get(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  setsockopt(made->link_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &RECEIVE_BYTES, sizeof RECEIVE_BYTES);
  made->stop_.reset(eventfd(0, EFD_CLOEXEC));
  if (!made->stop_.valid()) return Status::system("eventfd", errno);
  const auto body = [](void* self) -> void* {
    static_cast<NfQueues*>(self)->run();
    return nullptr;
  };
  const int error = pthread_create(&made->thread_, nullptr, body, made.get());
  if (error != 0) return Status::system("pthread_create", error);
  made->running_ = true;
  *queues = std::move(made);
  return {};
}

NfQueues::~NfQueues() {
  if (!running_) return;
  eventfd_write(stop_.get(), 1);
  pthread_join(thread_, nullptr);
}

void NfQueues::run() noexcept {
  std::vector<uint8_t> datagram(DATAGRAM_BYTES_MAX);
  pollfd waited[] = {{link_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  for (;;) {
    if (poll(waited, std::size(waited), -1) < 0 && errno != EINTR) return;
    if (waited[1].revents != 0) return;
    for (;;) {
      const ssize_t size = recv(link_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT);
      if (size <= 0) break;
      answer({datagram.data(), static_cast<size_t>(size)});
    }
  }
}

void NfQueues::answer(std::span<const uint8_t> datagram) noexcept {
  constexpr uint16_t PACKET = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET;
  while (datagram.size() >= sizeof(nlmsghdr) + sizeof(nfgenmsg)) {
    nlmsghdr header;
    nfgenmsg queue;
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < sizeof header + sizeof queue || header.nlmsg_len > datagram.size()) {
      return;
    }
    std::memcpy(&queue, datagram.data() + sizeof header, sizeof queue);
    const auto body = datagram.subspan(sizeof header + sizeof queue,
                                       header.nlmsg_len - sizeof header - sizeof queue);
    datagram = datagram.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
    if (header.nlmsg_type != PACKET) continue;
    uint32_t id = 0;
    uint32_t bytes = 0;
    std::span<const uint8_t> packet;
    eachAttribute(body, [&](int type, std::span<const uint8_t> value) {
      if (type == NFQA_PACKET_HDR && value.size() >= sizeof id) {
        std::memcpy(&id, value.data(), sizeof id);
      } else if (type == NFQA_CAP_LEN && value.size() >= sizeof bytes) {
        std::memcpy(&bytes, value.data(), sizeof bytes);
      } else if (type == NFQA_PAYLOAD) {
        packet = value;
      }
    });
    const uint16_t number = __builtin_bswap16(queue.res_id);
    // CAP_LEN is there only if the packet was cut.
    const uint32_t whole = bytes != 0 ? __builtin_bswap32(bytes) : packet.size();
    const auto place = static_cast<size_t>(number - options_.first);
    const bool isOpen = place < options_.count && judge_(place, packet, whole);
    const nfqnl_msg_verdict_hdr verdict = {__builtin_bswap32(isOpen ? NF_ACCEPT : NF_DROP),
                                           id};  // the number comes back as it came
    const auto message = messageOf(NFQNL_MSG_VERDICT, number, NFQA_VERDICT_HDR, verdict);
    // A verdict that does not arrive leaves the packet in the queue: it does not pass.
    static_cast<void>(sendNfTables(link_, bytesOf(message)));
  }
}

}  // namespace sluice
