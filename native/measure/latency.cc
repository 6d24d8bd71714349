#include "native/measure/latency.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/measure/socket-address.h"

namespace sluice {
namespace {

constexpr int ANSWER_SECONDS_MAX = 1;
// A busy machine may lose a datagram or answer late: so many questions are asked again in all.
constexpr uint32_t ASKED_AGAIN_MAX = 10;
constexpr uint32_t COUNT_MAX = 10'000'000;

double nowNs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

Status openSocket(int namespaceFd, const HostAddress& address, uint16_t port,
                  Descriptor* fd) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    const int family = address.family == 4 ? AF_INET : AF_INET6;
    fd->reset(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd->valid()) return Status::system("socket", errno);
    const timeval limit = {ANSWER_SECONDS_MAX, 0};
    setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const SocketAddress own(address, port);
    if (bind(fd->get(), own.get(), own.size) != 0) {
      return Status::system("bind", errno);
    }
    return {};
  });
}

struct Server {
  int fd;
  std::atomic<bool> stop = false;
};

void* serve(void* context) {
  auto* server = static_cast<Server*>(context);
  char bytes[64];
  while (!server->stop.load(std::memory_order_acquire)) {
    sockaddr_storage from = {};
    socklen_t fromSize = sizeof from;
    auto* sender = reinterpret_cast<sockaddr*>(&from);
    const ssize_t size = recvfrom(server->fd, bytes, sizeof bytes, 0, sender, &fromSize);
    if (size > 0)
      sendto(server->fd, bytes, static_cast<size_t>(size), MSG_NOSIGNAL, sender, fromSize);
  }
  return nullptr;
}

Status roundTrips(int fd, uint32_t count, std::vector<double>* samples) noexcept {
  const uint32_t untimed = count / 10;
  samples->reserve(count);
  uint32_t askedAgain = 0;
  for (uint32_t number = 0; samples->size() < count; ++number) {
    const double startNs = nowNs();
    if (send(fd, &number, sizeof number, MSG_NOSIGNAL) < 0) return Status::system("send", errno);
    uint32_t answer = number + 1;
    ssize_t size = 0;
    // One that came late belongs to an earlier question.
    while (size >= 0 && answer != number) size = recv(fd, &answer, sizeof answer, 0);
    if (size < 0 && errno != EAGAIN) return Status::system("recv", errno);
    if (size < 0 && ++askedAgain > ASKED_AGAIN_MAX) return Status::system("recv", ETIMEDOUT);
    if (size >= 0 && number >= untimed) samples->push_back(nowNs() - startNs);
  }
  return {};
}

}  // namespace

Status measureLatency(const LatencyRequest& request, std::vector<double>* samples) noexcept {
  if (request.count == 0 || request.count > COUNT_MAX) return {StatusCode::Argument};
  Descriptor serverSocket;
  Descriptor client;
  Status status = openSocket(request.serverNamespace, request.server, request.port, &serverSocket);
  if (status.ok()) status = openSocket(request.clientNamespace, request.client, 0, &client);
  if (!status.ok()) return status;
  const SocketAddress to(request.server, request.port);
  if (connect(client.get(), to.get(), to.size) != 0) {
    return Status::system("connect", errno);
  }
  Server server = {serverSocket.get()};
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, serve, &server);
  if (error != 0) return Status::system("pthread_create", error);
  status = roundTrips(client.get(), request.count, samples);
  server.stop.store(true, std::memory_order_release);
  shutdown(serverSocket.get(), SHUT_RD);
  pthread_join(thread, nullptr);
  return status;
}

}  // namespace sluice
