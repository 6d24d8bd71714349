#include "native/host/server-sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice {
namespace {

// Connections that may wait in the kernel to be accepted.
constexpr int BACKLOG = 128;

struct Place {
  sockaddr_storage bytes = {};
  socklen_t length = 0;
};

bool placeOf(const std::string& address, uint16_t port, Place* place) noexcept {
  auto* four = reinterpret_cast<sockaddr_in*>(&place->bytes);
  if (inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    place->length = sizeof *four;
    return true;
  }
  auto* six = reinterpret_cast<sockaddr_in6*>(&place->bytes);
  if (inet_pton(AF_INET6, address.c_str(), &six->sin6_addr) != 1) return false;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  place->length = sizeof *six;
  return true;
}

// Whether a socket may take a port that others have, or have just had.
enum class Port : uint8_t { Reused, Exclusive };

// Opens a socket bound to a place, in this thread's namespace.
Status openAt(const Place& place, int type, Port sharing, Descriptor* opened) noexcept {
  Descriptor made(socket(place.bytes.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.valid()) return Status::system("socket", errno);
  const int yes = 1;
  if (sharing == Port::Reused &&
      setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0) {
    return Status::system("SO_REUSEADDR", errno);
  }
  if (bind(made.get(), reinterpret_cast<const sockaddr*>(&place.bytes), place.length) != 0) {
    return Status::system("bind", errno);
  }
  *opened = std::move(made);
  return {};
}

// The port of a bound socket.
Status portOf(int socket, uint16_t* port) noexcept {
  sockaddr_storage bytes = {};
  socklen_t length = sizeof bytes;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&bytes), &length) != 0) {
    return Status::system("getsockname", errno);
  }
  // The port is at the same offset in IPv4 and IPv6 socket addresses.
  *port = ntohs(reinterpret_cast<sockaddr_in*>(&bytes)->sin_port);
  return {};
}

}  // namespace

Status listenTcp(int namespaceFd, const std::string& address, uint16_t* port,
                 Descriptor* listener) noexcept {
  Place place;
  if (!placeOf(address, *port, &place)) return {StatusCode::Argument};
  return inNamespace(namespaceFd, [&]() -> Status {
    Descriptor made;
    Status status = openAt(place, SOCK_STREAM, Port::Reused, &made);
    if (!status.ok()) return status;
    if (listen(made.get(), BACKLOG) != 0) return Status::system("listen", errno);
    status = portOf(made.get(), port);
    if (status.ok()) *listener = std::move(made);
    return status;
  });
}

Status listenUnix(const std::string& path, Descriptor* listener) noexcept {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return {StatusCode::Argument};
  std::memcpy(address.sun_path, path.data(), path.size());
  Descriptor made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.valid()) return Status::system("socket AF_UNIX", errno);
  // The mode of the socket itself, set before bind(): others can connect at no moment.
  if (fchmod(made.get(), 0600) != 0) return Status::system("fchmod", errno);
  if (bind(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::system("bind AF_UNIX", errno);
  }
  if (listen(made.get(), BACKLOG) != 0) return Status::system("listen", errno);
  *listener = std::move(made);
  return {};
}

Status holdTcpPort(const std::string& address, uint16_t* port, Descriptor* held) noexcept {
  Place place;
  if (!placeOf(address, 0, &place)) return {StatusCode::Argument};
  Descriptor made;
  Status status = openAt(place, SOCK_STREAM, Port::Exclusive, &made);
  if (status.ok()) status = portOf(made.get(), port);
  if (status.ok()) *held = std::move(made);
  return status;
}

Status beginConnect(int socket, const std::string& address, uint16_t port) noexcept {
  Place place;
  if (!placeOf(address, port, &place)) return {StatusCode::Argument};
  const auto* to = reinterpret_cast<const sockaddr*>(&place.bytes);
  if (connect(socket, to, place.length) != 0 && errno != EINPROGRESS) {
    return Status::system("connect", errno);
  }
  return {};
}

Status bindUdp(int namespaceFd, const std::string& address, uint16_t port,
               Descriptor* bound) noexcept {
  Place place;
  if (!placeOf(address, port, &place)) return {StatusCode::Argument};
  return inNamespace(namespaceFd,
                     [&] { return openAt(place, SOCK_DGRAM, Port::Exclusive, bound); });
}

}  // namespace sluice
