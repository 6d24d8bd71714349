#include "native/cni/daemon-call.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "native/cni/json-members.h"
#include "native/host/descriptor.h"
#include "native/host/trusted-peer.h"

namespace sluice::cni {
namespace {

// Between two attempts.
constexpr int PAUSE_MS = 25;

int64_t nowMs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

Descriptor connectTo(std::string_view path) noexcept {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  Descriptor made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // A listener whose queue is full answers EAGAIN at once, as one that is away.
  if (!made.valid() ||
      connect(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return {};
  return isTrustedPeer(made.get()) ? std::move(made) : Descriptor();
}

bool sendAll(int connection, std::string_view text, const Deadline& deadline) noexcept {
  while (!text.empty()) {
    const ssize_t sent = send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0)
      text.remove_prefix(static_cast<size_t>(sent));
    else if (errno == EAGAIN ? !deadline.await(connection, POLLOUT) : errno != EINTR)
      return false;
  }
  return true;
}

// Reads to the end. Errors: false when it does not come in time, or not within the room.
bool receiveAll(int connection, const Deadline& deadline, std::span<char> room,
                size_t* bytes) noexcept {
  *bytes = 0;
  for (;;) {
    if (*bytes == room.size()) return false;
    const ssize_t got = recv(connection, room.data() + *bytes, room.size() - *bytes, 0);
    if (got == 0) return true;
    if (got > 0)
      *bytes += static_cast<size_t>(got);
    else if (errno == EAGAIN ? !deadline.await(connection, POLLIN) : errno != EINTR)
      return false;
  }
}

// An answer that was cut off is none.
bool isWhole(std::string_view answer) noexcept {
  constexpr std::string_view ERROR = "error\n";
  if (answer == "ok\n") return true;
  return answer.starts_with(ERROR) && findMembers(answer.substr(ERROR.size()), {});
}

bool askOnce(std::string_view path, const Question& question, const Deadline& deadline,
             std::span<char> room, std::string_view* answer) noexcept {
  const Descriptor connection = connectTo(path);
  if (!connection.valid()) return false;
  std::array<char, 96> head = {};
  const int length =
      std::snprintf(head.data(), head.size(), "sluice-cni 1 %" PRId64 " %zu %zu\n", deadline.left(),
                    question.environment.size(), question.configuration.size());
  size_t bytes = 0;
  if (!sendAll(connection.get(), {head.data(), static_cast<size_t>(length)}, deadline) ||
      !sendAll(connection.get(), question.environment, deadline) ||
      !sendAll(connection.get(), question.configuration, deadline) ||
      !receiveAll(connection.get(), deadline, room, &bytes)) {
    return false;
  }
  *answer = {room.data(), bytes};
  return isWhole(*answer);
}

}  // namespace

Deadline Deadline::in(int64_t milliseconds) noexcept { return Deadline(nowMs() + milliseconds); }

int64_t Deadline::left() const noexcept { return std::max<int64_t>(0, atMs_ - nowMs()); }

bool Deadline::await(int descriptor, int16_t events) const noexcept {
  for (;;) {
    pollfd wanted = {descriptor, events, 0};
    const int ready = poll(&wanted, 1, static_cast<int>(left()));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

bool askDaemon(std::string_view path, const Question& question, Persistence persistence,
               const Deadline& deadline, std::span<char> room, std::string_view* answer) noexcept {
  for (;;) {
    if (askOnce(path, question, deadline, room, answer)) return true;
    if (persistence == Persistence::Once || deadline.left() == 0) return false;
    poll(nullptr, 0, static_cast<int>(std::min<int64_t>(PAUSE_MS, deadline.left())));
  }
}

bool writeAll(int descriptor, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = write(descriptor, text.data(), text.size());
    if (written > 0)
      text.remove_prefix(static_cast<size_t>(written));
    else if (errno != EINTR)
      return false;
  }
  return true;
}

}  // namespace sluice::cni
