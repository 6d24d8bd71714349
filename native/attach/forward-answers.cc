#include "native/attach/forward-answers.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>

#include "native/host/clock.h"
#include "native/host/privilege.h"
#include "native/packet/bytes.h"
#include "native/packet/packet-view.h"

namespace sluice {
namespace {

constexpr uint32_t IPV4_HEADER_BYTES = 20;
constexpr uint32_t IPV6_HEADER_BYTES = 40;
constexpr uint64_t STALE_NS = 1'000'000'000;  // its sender has sent it again
constexpr int REST_MS = 10;                   // when the limit is reached

// Puts back the destination that the sender has written.
void putDestination(const RefusedPacket& refused, uint8_t* ip) noexcept {
  if (ip[0] >> 4 == 6) {
    std::memcpy(ip + 24, refused.destination, 16);
    return;
  }
  std::memcpy(ip + 16, refused.destination, 4);
  storeHeaderChecksum(ip, (ip[0] & 15) * 4u);
}

bool hasPorts(uint8_t protocol) noexcept {
  return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
}

}  // namespace

bool ForwardAnswerWriter::write(const RefusedPacket& refused, Frame* answer) noexcept {
  auto* const bytes = reinterpret_cast<uint8_t*>(denied_.data());
  uint8_t* const ip = bytes + ETHERNET_HEADER_BYTES;
  const size_t known = std::min<size_t>(refused.packetBytes, sizeof refused.packet);
  std::memcpy(ip, refused.packet, known);
  std::memset(ip + known, 0, sizeof refused.packet - known);
  const bool isV6 = ip[0] >> 4 == 6;
  const uint32_t headerBytes = isV6 ? IPV6_HEADER_BYTES : (ip[0] & 15) * 4u;
  if (headerBytes < IPV4_HEADER_BYTES || known < headerBytes) return false;
  putDestination(refused, ip);

  bytes[12] = isV6 ? 0x86 : 0x08;
  bytes[13] = isV6 ? 0xdd : 0x00;
  Frame denied;
  denied.bytes = denied_.data();
  denied.length =
      ETHERNET_HEADER_BYTES + (isV6 ? IPV6_HEADER_BYTES + load16(ip + 4) : load16(ip + 2));
  PacketView view;
  if (parsePacket(denied, &view) != DropReason::None) return false;
  const uint32_t portsEnd = view.l4Offset - ETHERNET_HEADER_BYTES + 4;
  if (hasPorts(view.key.protocol) && !view.fragmented) {
    if (known < portsEnd) return false;
    std::memcpy(bytes + view.l4Offset + 2, &refused.destinationPortBe, 2);
  }
  if (parseTransport(&view) != DropReason::None) return false;
  const FlowKey& key = view.key;
  if (!isAnswerable(view) || isMartianSource(key.source, key.family) ||
      isMartianSource(key.destination, key.family)) {
    return false;
  }
  return writeReject(denied, answer_, answer);
}

Status ForwardAnswers::open(int ring, std::unique_ptr<ForwardAnswers>* answers) noexcept {
  std::unique_ptr<ForwardAnswers> made(new (std::nothrow) ForwardAnswers);
  if (made == nullptr) return {StatusCode::Limit};
  const Status status = made->ring_.map(ring, RING_BYTES);
  if (!status.ok()) return status;
  constexpr int FAMILIES[] = {AF_INET, AF_INET6};
  for (size_t family = 0; family < std::size(FAMILIES); ++family) {
    constexpr int type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
    // Whole packets, whatever their source; nothing is received.
    made->sockets_[family].reset(socket(FAMILIES[family], type, IPPROTO_RAW));
    // A kernel without IPv6 forwards none.
    const bool isAbsent = errno == EAFNOSUPPORT && FAMILIES[family] == AF_INET6;
    if (!made->sockets_[family].valid() && !isAbsent) {
      return Status::system("socket SOCK_RAW", errno);
    }
  }
  made->stop_.reset(eventfd(0, EFD_CLOEXEC));
  if (!made->stop_.valid()) return Status::system("eventfd", errno);
  made->ringDescriptor_ = ring;
  const auto body = [](void* context) -> void* {
    auto* const self = static_cast<ForwardAnswers*>(context);
    // It reads what strangers have written.
    const Status confined = confinePacketThread();
    self->confined_ = confined;
    self->started_.store(true, std::memory_order_release);
    self->started_.notify_one();
    if (confined.ok()) self->run();
    return nullptr;
  };
  const int error = pthread_create(&made->thread_, nullptr, body, made.get());
  if (error != 0) return Status::system("pthread_create", error);
  made->running_ = true;
  pthread_setname_np(made->thread_, "sluice-answers");
  made->started_.wait(false, std::memory_order_acquire);
  if (!made->confined_.ok()) return made->confined_;
  *answers = std::move(made);
  return {};
}

ForwardAnswers::~ForwardAnswers() {
  if (!running_) return;
  eventfd_write(stop_.get(), 1);
  pthread_join(thread_, nullptr);
}

void ForwardAnswers::run() noexcept {
  pollfd waited[] = {{stop_.get(), POLLIN, 0}, {ringDescriptor_, POLLIN, 0}};
  bool rests = false;
  for (;;) {
    const int ready = poll(waited, rests ? 1 : std::size(waited), rests ? REST_MS : -1);
    if (ready < 0 && errno != EINTR) return;
    if (waited[0].revents != 0) return;
    rests = !answerAll();
  }
}

bool ForwardAnswers::answerAll() noexcept {
  bool mayMore = true;
  ring_.read([&](std::span<const std::byte> record) {
    const uint64_t timeNs = clockNs();
    RefusedPacket refused;
    if (record.size() != sizeof refused) return true;
    std::memcpy(&refused, record.data(), sizeof refused);
    Frame answer;
    if (timeNs - refused.timeNs > STALE_NS || !writer_.write(refused, &answer)) return true;
    mayMore = limit_.take(timeNs / 1'000);
    if (mayMore) send(answer);
    return mayMore;
  });
  return mayMore;
}

void ForwardAnswers::send(const Frame& answer) noexcept {
  const std::byte* const packet = answer.bytes + ETHERNET_HEADER_BYTES;
  const size_t bytes = answer.length - ETHERNET_HEADER_BYTES;
  const bool isV6 = static_cast<uint8_t>(packet[0]) >> 4 == 6;
  sockaddr_in6 to6 = {};
  sockaddr_in to4 = {};
  to6.sin6_family = AF_INET6;
  to4.sin_family = AF_INET;
  std::memcpy(&to6.sin6_addr, packet + 24, sizeof to6.sin6_addr * (isV6 ? 1 : 0));
  std::memcpy(&to4.sin_addr, packet + 16, sizeof to4.sin_addr);
  const auto* const to =
      isV6 ? reinterpret_cast<const sockaddr*>(&to6) : reinterpret_cast<const sockaddr*>(&to4);
  const ssize_t sent = sendto(sockets_[isV6 ? 1 : 0].get(), packet, bytes, MSG_DONTWAIT, to,
                              isV6 ? sizeof to6 : sizeof to4);
  // Nobody is told of one that finds no way: its sender waits, as if it were dropped.
  if (sent >= 0) sent_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace sluice
