#include "native/measure/prober.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <tuple>
#include <vector>

#include "native/host/descriptor.h"
#include "native/measure/socket-address.h"
#include "native/packet/bytes.h"

namespace sluice {
namespace {

constexpr size_t IN_FLIGHT_MAX = 512;
constexpr int POLL_MS = 2;
constexpr uint64_t TOKEN_MARK = 0x534c554943450000;  // "SLUICE", then the request's number

constexpr uint8_t SCTP_INIT = 1;
constexpr uint8_t SCTP_INIT_ACK = 2;
constexpr uint8_t SCTP_ABORT = 6;
constexpr uint16_t SCTP_SOURCE_PORT_FIRST = 40'000;

uint64_t nowUs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000;
}

struct Message {
  std::array<uint8_t, 64> bytes = {};
  size_t size = 0;
};

// Source: RFC 9260 appendix A.
uint32_t crc32c(const uint8_t* bytes, size_t count) noexcept {
  uint32_t crc = 0xffffffff;
  for (size_t index = 0; index < count; ++index) {
    crc ^= bytes[index];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

void put16(uint8_t* bytes, uint16_t value) noexcept {
  bytes[0] = static_cast<uint8_t>(value >> 8);
  bytes[1] = static_cast<uint8_t>(value);
}

// An SCTP packet of one INIT or INIT ACK chunk. `tag` is our token: the other side puts it in the
// verification tag of its packets. Source: RFC 9260 sections 3.1, 3.3.2, 3.3.3.
Message sctpMessage(uint8_t chunk, uint16_t sourcePort, uint16_t destinationPort,
                    uint32_t verificationTag, uint32_t tag) noexcept {
  Message message;
  uint8_t* bytes = message.bytes.data();
  put16(bytes, sourcePort);
  put16(bytes + 2, destinationPort);
  std::memcpy(bytes + 4, &verificationTag, 4);
  bytes[12] = chunk;
  std::memcpy(bytes + 16, &tag, 4);
  put16(bytes + 22, 0xffff);  // receiver window, low half
  put16(bytes + 24, 1);       // streams out and in
  put16(bytes + 26, 1);
  std::memcpy(bytes + 28, &tag, 4);  // first sequence number
  message.size = 32;
  if (chunk == SCTP_INIT_ACK) {
    put16(bytes + 32, 7);  // state cookie, which an INIT ACK must have
    put16(bytes + 34, 8);
    message.size = 40;
  }
  put16(bytes + 14, static_cast<uint16_t>(message.size - 12));
  const uint32_t checksum = crc32c(bytes, message.size);
  std::memcpy(bytes + 8, &checksum, 4);
  return message;
}

// The offset of the message in what a raw socket received: IPv4 sockets deliver the IP header, too.
size_t rawOffset(uint8_t family, const uint8_t* bytes, size_t size) noexcept {
  return family == 4 && size > 0 ? (bytes[0] & 0x0fu) * 4u : 0;
}

class Prober {
 public:
  Prober(std::span<const ProbeRequest> requests, std::span<ProbeResult> results) noexcept
      : requests_(requests), results_(results), attempts_(requests.size()) {}

  // Runs on a thread of its own, which changes its namespace from socket to socket.
  Status run() noexcept {
    poll_.reset(epoll_create1(EPOLL_CLOEXEC));
    if (!poll_.valid()) return Status::system("epoll_create1", errno);
    for (size_t index = 0; index < requests_.size(); ++index) listen(index);
    while (next_ < requests_.size() || !inFlight_.empty()) {
      while (next_ < requests_.size() && inFlight_.size() < IN_FLIGHT_MAX) start(next_++);
      epoll_event events[128];
      const int count = epoll_wait(poll_.get(), events, 128, POLL_MS);
      for (int each = 0; each < count; ++each) handle(events[each]);
      checkTimes();
    }
    return {};
  }

 private:
  enum class Kind : uint8_t { Attempt, Listener, Accepted };
  struct Listener {
    Descriptor fd;
    uint8_t protocol = 0;
    uint8_t family = 0;
    int error = 0;  // errno when it could not be opened
  };
  struct Attempt {
    Descriptor fd;
    uint64_t startUs = 0;
    uint64_t deadlineUs = 0;
    uint64_t resendUs = 0;
    size_t listener = SIZE_MAX;
    bool connected = false;
  };
  using ListenerKey = std::tuple<uint32_t, uint8_t, uint8_t, std::array<uint8_t, 16>, uint16_t>;

  static bool isIcmp(uint8_t protocol) noexcept {
    return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
  }
  static uint64_t tokenOf(size_t index) noexcept { return TOKEN_MARK + index; }
  static uint32_t sctpTagOf(size_t index) noexcept { return static_cast<uint32_t>(index) + 1; }

  // Moves this thread to a namespace, if it is not there already.
  bool enter(uint32_t namespaceFd) noexcept {
    if (namespaceFd == entered_) return true;
    if (setns(static_cast<int>(namespaceFd), CLONE_NEWNET) != 0) return false;
    entered_ = namespaceFd;
    return true;
  }

  static int openSocket(uint8_t family, uint8_t protocol) noexcept {
    const int type = protocol == IPPROTO_TCP   ? SOCK_STREAM
                     : protocol == IPPROTO_UDP ? SOCK_DGRAM
                                               : SOCK_RAW;
    return socket(family == 4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  }

  bool watch(int fd, uint32_t what, Kind kind, size_t index) noexcept {
    epoll_event event = {};
    event.events = what;
    event.data.u64 = static_cast<uint64_t>(kind) << 32 | index;
    return epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  // Finds or opens the listener of a request.
  void listen(size_t index) noexcept {
    const ProbeRequest& request = requests_[index];
    if (request.destinationNamespace == NONE || isIcmp(request.protocol)) return;
    // A raw SCTP socket hears every port of its address.
    const uint16_t port = request.protocol == IPPROTO_SCTP ? uint16_t{0} : request.port;
    ListenerKey key = {request.destinationNamespace, request.protocol, request.family, {}, port};
    std::copy_n(request.destination, 16, std::get<3>(key).begin());
    const auto [found, isNew] = listenerByKey_.try_emplace(key, listeners_.size());
    attempts_[index].listener = found->second;
    if (!isNew) return;
    Listener listener;
    listener.protocol = request.protocol;
    listener.family = request.family;
    if (!openListener(request, port, &listener)) listener.error = errno;
    if (listener.error == 0) {
      watch(listener.fd.get(), EPOLLIN, Kind::Listener, listeners_.size());
    } else {
      listener.fd.reset();
    }
    listeners_.push_back(std::move(listener));
  }

  bool openListener(const ProbeRequest& request, uint16_t port, Listener* listener) noexcept {
    if (!enter(request.destinationNamespace)) return false;
    listener->fd.reset(openSocket(request.family, request.protocol));
    if (!listener->fd.valid()) return false;
    const int on = 1;
    setsockopt(listener->fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const SocketAddress address(request.family, request.destination, port);
    if (bind(listener->fd.get(), address.get(), address.size) != 0) return false;
    return request.protocol != IPPROTO_TCP ||
           ::listen(listener->fd.get(), static_cast<int>(IN_FLIGHT_MAX)) == 0;
  }

  void start(size_t index) noexcept {
    const ProbeRequest& request = requests_[index];
    Attempt& attempt = attempts_[index];
    const int listenerError = attempt.listener == SIZE_MAX ? 0 : listeners_[attempt.listener].error;
    // Another program's TCP server serves as well as ours.
    if (listenerError != 0 && !(listenerError == EADDRINUSE && request.protocol == IPPROTO_TCP)) {
      return end(index, ProbeOutcome::Failed, listenerError);
    }
    if (!enter(request.sourceNamespace)) return end(index, ProbeOutcome::Failed, errno);
    attempt.fd.reset(openSocket(request.family, request.protocol));
    const int fd = attempt.fd.get();
    if (!attempt.fd.valid()) return end(index, ProbeOutcome::Failed, errno);
    if (request.protocol == IPPROTO_TCP) {
      // Ends by a reset, so that no port of the pod stays in TIME_WAIT.
      const linger reset = {1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    const bool hasPort = request.protocol == IPPROTO_TCP || request.protocol == IPPROTO_UDP;
    const SocketAddress source(request.family, request.source, 0);
    const SocketAddress destination(request.family, request.destination,
                                    hasPort ? request.port : uint16_t{0});
    if (bind(fd, source.get(), source.size) != 0) return end(index, ProbeOutcome::Failed, errno);
    attempt.startUs = nowUs();
    const uint64_t timeoutUs = uint64_t{request.timeoutMs} * 1'000;
    attempt.deadlineUs = attempt.startUs + timeoutUs;
    attempt.resendUs = attempt.startUs + timeoutUs / 2;
    if (connect(fd, destination.get(), destination.size) != 0 && errno != EINPROGRESS) {
      return endByError(index, errno);
    }
    const bool tcp = request.protocol == IPPROTO_TCP;
    if (!watch(fd, tcp ? EPOLLOUT : EPOLLIN, Kind::Attempt, index)) {
      return end(index, ProbeOutcome::Failed, errno);
    }
    inFlight_.push_back(index);
    if (!tcp) sendToken(index);
  }

  void sendToken(size_t index) noexcept {
    const ProbeRequest& request = requests_[index];
    const uint64_t token = tokenOf(index);
    Message message;
    if (isIcmp(request.protocol)) {
      message.bytes[0] = request.family == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
      put16(&message.bytes[4], static_cast<uint16_t>(index));
      put16(&message.bytes[6], 1);
      std::memcpy(&message.bytes[8], &token, sizeof token);
      message.size = 16;
      if (request.family == 4) put16(&message.bytes[2], internetChecksum(message));
    } else if (request.protocol == IPPROTO_SCTP) {
      const auto port = static_cast<uint16_t>(SCTP_SOURCE_PORT_FIRST + index % 20'000);
      message = sctpMessage(SCTP_INIT, port, request.port, 0, sctpTagOf(index));
    } else {
      std::memcpy(message.bytes.data(), &token, sizeof token);
      message.size = sizeof token;
    }
    if (send(attempts_[index].fd.get(), message.bytes.data(), message.size, MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN && errno != ENOBUFS) {
      endByError(index, errno);
    }
  }

  static uint16_t internetChecksum(const Message& message) noexcept {
    uint32_t sum = 0;
    for (size_t at = 0; at < message.size; at += 2) sum += load16(&message.bytes[at]);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~(sum + (sum >> 16)));
  }

  void handle(const epoll_event& event) noexcept {
    const auto kind = static_cast<Kind>(event.data.u64 >> 32);
    const size_t index = event.data.u64 & 0xffffffff;
    switch (kind) {
      case Kind::Attempt:
        if (attempts_[index].fd.valid()) advance(index);
        break;
      case Kind::Listener:
        serve(listeners_[index]);
        break;
      case Kind::Accepted:
        if (accepted_[index].valid()) echo(accepted_[index]);
        break;
    }
  }

  void advance(size_t index) noexcept {
    Attempt& attempt = attempts_[index];
    const int fd = attempt.fd.get();
    if (requests_[index].protocol == IPPROTO_TCP && !attempt.connected) {
      int error = 0;
      socklen_t size = sizeof error;
      if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      if (error != 0) return endByError(index, error);
      attempt.connected = true;
      const bool ours = attempt.listener != SIZE_MAX && listeners_[attempt.listener].error == 0;
      if (!ours) return end(index, ProbeOutcome::Answered, 0);
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.u64 = static_cast<uint64_t>(Kind::Attempt) << 32 | index;
      epoll_ctl(poll_.get(), EPOLL_CTL_MOD, fd, &event);
      return sendToken(index);
    }
    uint8_t bytes[512];
    for (;;) {
      const ssize_t size = recv(fd, bytes, sizeof bytes, 0);
      if (size < 0) {
        if (errno != EAGAIN && errno != EINTR) endByError(index, errno);
        return;
      }
      if (size == 0 && requests_[index].protocol == IPPROTO_TCP) {
        return end(index, ProbeOutcome::Refused, 0);
      }
      if (const ProbeOutcome outcome = readAnswer(index, bytes, static_cast<size_t>(size));
          outcome != ProbeOutcome::TimedOut) {
        return end(index, outcome, 0);
      }
    }
  }

  // The outcome of an attempt by a received message; TimedOut when the message shows none.
  ProbeOutcome readAnswer(size_t index, const uint8_t* bytes, size_t size) const noexcept {
    const ProbeRequest& request = requests_[index];
    const bool raw = isIcmp(request.protocol) || request.protocol == IPPROTO_SCTP;
    const size_t offset = raw ? rawOffset(request.family, bytes, size) : 0;
    if (size < offset) return ProbeOutcome::TimedOut;
    bytes += offset;
    size -= offset;
    if (request.protocol == IPPROTO_SCTP) {
      const uint32_t tag = sctpTagOf(index);
      if (size < 16 || std::memcmp(bytes + 4, &tag, 4) != 0) return ProbeOutcome::TimedOut;
      if (bytes[12] == SCTP_INIT_ACK) return ProbeOutcome::Answered;
      return bytes[12] == SCTP_ABORT ? ProbeOutcome::Refused : ProbeOutcome::TimedOut;
    }
    const uint64_t token = tokenOf(index);
    const size_t at = isIcmp(request.protocol) ? 8 : 0;
    if (size < at + sizeof token || std::memcmp(bytes + at, &token, sizeof token) != 0) {
      return ProbeOutcome::TimedOut;
    }
    const uint8_t reply = request.family == 4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    return at == 0 || bytes[0] == reply ? ProbeOutcome::Answered : ProbeOutcome::TimedOut;
  }

  void serve(Listener& listener) noexcept {
    const int fd = listener.fd.get();
    if (listener.protocol == IPPROTO_TCP) {
      for (;;) {
        Descriptor accepted(accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!accepted.valid()) return;
        watch(accepted.get(), EPOLLIN, Kind::Accepted, accepted_.size());
        accepted_.push_back(std::move(accepted));
      }
    }
    uint8_t bytes[512];
    for (;;) {
      sockaddr_storage from = {};
      socklen_t fromSize = sizeof from;
      const ssize_t received =
          recvfrom(fd, bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&from), &fromSize);
      if (received < 0) {
        // Ignores an ICMP error about a reply of ours: the sender of the request handles it.
        if (errno == EAGAIN) return;
        continue;
      }
      auto size = static_cast<size_t>(received);
      if (listener.protocol == IPPROTO_UDP) {
        sendto(fd, bytes, size, MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&from), fromSize);
        continue;
      }
      const size_t offset = rawOffset(listener.family, bytes, size);
      const uint8_t* packet = bytes + offset;
      if (size < offset + 20 || packet[12] != SCTP_INIT) continue;
      uint32_t tag = 0;
      std::memcpy(&tag, packet + 16, sizeof tag);
      const Message answer =
          sctpMessage(SCTP_INIT_ACK, load16(packet + 2), load16(packet), tag, tag);
      if (listener.family == 6) reinterpret_cast<sockaddr_in6*>(&from)->sin6_port = 0;
      sendto(fd, answer.bytes.data(), answer.size, MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&from),
             fromSize);
    }
  }

  static void echo(Descriptor& connection) noexcept {
    uint8_t bytes[64];
    const ssize_t size = recv(connection.get(), bytes, sizeof bytes, 0);
    if (size > 0) {
      send(connection.get(), bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
    } else if (size == 0 || errno != EAGAIN) {
      connection.reset();
    }
  }

  void checkTimes() noexcept {
    const uint64_t now = nowUs();
    for (size_t each = 0; each < inFlight_.size();) {
      const size_t index = inFlight_[each];
      Attempt& attempt = attempts_[index];
      if (attempt.fd.valid() && now >= attempt.deadlineUs) {
        end(index, ProbeOutcome::TimedOut, 0);
      } else if (attempt.fd.valid() && now >= attempt.resendUs) {
        attempt.resendUs = UINT64_MAX;
        if (requests_[index].protocol != IPPROTO_TCP) sendToken(index);
      }
      if (attempt.fd.valid()) {
        ++each;
      } else {
        inFlight_[each] = inFlight_.back();
        inFlight_.pop_back();
      }
    }
  }

  void endByError(size_t index, int error) noexcept {
    const bool refused = error == ECONNREFUSED || error == ECONNRESET || error == EHOSTUNREACH ||
                         error == EPROTO || error == EACCES;
    if (error == ETIMEDOUT) return end(index, ProbeOutcome::TimedOut, 0);
    end(index, refused ? ProbeOutcome::Refused : ProbeOutcome::Failed, refused ? 0 : error);
  }

  void end(size_t index, ProbeOutcome outcome, int error) noexcept {
    Attempt& attempt = attempts_[index];
    ProbeResult& result = results_[index];
    result = {};
    result.outcome = static_cast<uint8_t>(outcome);
    result.errorNumber = static_cast<uint32_t>(error);
    if (outcome == ProbeOutcome::Answered) {
      result.roundTripUs = static_cast<uint32_t>(nowUs() - attempt.startUs);
    }
    attempt.fd.reset();
  }

  std::span<const ProbeRequest> requests_;
  std::span<ProbeResult> results_;
  std::vector<Attempt> attempts_;
  std::map<ListenerKey, size_t> listenerByKey_;
  std::vector<Listener> listeners_;
  std::vector<Descriptor> accepted_;
  std::vector<size_t> inFlight_;
  size_t next_ = 0;
  Descriptor poll_;
  uint32_t entered_ = NONE;
};

struct Job {
  Prober prober;
  Status status;
};

}  // namespace

Status probe(std::span<const ProbeRequest> requests, std::span<ProbeResult> results) noexcept {
  if (requests.size() != results.size()) return {StatusCode::Argument};
  Job job = {Prober(requests, results), {}};
  const auto body = [](void* context) -> void* {
    auto* work = static_cast<Job*>(context);
    work->status = work->prober.run();
    return nullptr;
  };
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, body, &job);
  if (error != 0) return Status::system("pthread_create", error);
  pthread_join(thread, nullptr);
  return job.status;
}

}  // namespace sluice
