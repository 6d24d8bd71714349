#include "native/measure/traffic.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>

#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/measure/socket-address.h"
#include "native/netlink/host-address.h"

namespace sluice {
namespace {

constexpr uint32_t STREAMS_MAX = 64;
constexpr uint32_t PAYLOAD_BYTES_MAX = 1400;
constexpr uint32_t FLOWS_MAX = 16 << 20;
// Many flows are these ports of the server times as many ports of the client as needed. The ports
// are always the same, so that later requests use the same connections.
constexpr uint32_t FLOW_PORT_FIRST = 2'000;
constexpr uint32_t FLOW_PORTS = 60'000;
constexpr uint32_t CLIENT_PORT_FIRST = 20'000;
constexpr uint64_t FLOW_NEIGHBOURS = 8;  // the client and addresses after it, as the policies allow
constexpr uint32_t DURATION_MS_MAX = 60'000;
constexpr size_t BATCH_MESSAGES = 64;
constexpr size_t STREAM_CHUNK_BYTES = 256 << 10;
constexpr size_t ROUND_TRIPS_MAX = 4 << 20;
constexpr int RECEIVE_BUFFER_BYTES = 4 << 20;
constexpr int BACKLOG = 128;
constexpr int ANY_CPU = -1;
// The longest wait before a thread checks whether it should stop.
constexpr timeval PATIENCE = {0, 200'000};

double nowSeconds() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Idle seconds of all CPUs together.
double idleSeconds() noexcept {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/stat", "re"), std::fclose);
  unsigned long long user = 0, nice = 0, system = 0, idle = 0, ioWait = 0;
  if (file == nullptr || std::fscanf(file.get(), "cpu %llu %llu %llu %llu %llu", &user, &nice,
                                     &system, &idle, &ioWait) != 5) {
    return 0;
  }
  return static_cast<double>(idle + ioWait) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// What is asked for, and what the client calls the server.
struct Request : TrafficRequest {
  HostAddress target;
};

HostAddress addressOf(const Request& request, const uint8_t (&bytes)[16]) noexcept {
  HostAddress address = {request.family, 0, {}};
  std::copy(std::begin(bytes), std::end(bytes), address.bytes.begin());
  return address;
}

HostAddress clientOf(const Request& request) noexcept { return addressOf(request, request.client); }

HostAddress serverOf(const Request& request) noexcept { return addressOf(request, request.server); }

// A descriptor of a namespace, or -1, and a CPU, or ANY_CPU, as JavaScript writes them.
int signedOf(uint32_t word) noexcept { return static_cast<int>(word); }

void sleepMs(uint32_t milliseconds) noexcept {
  const timespec time = {milliseconds / 1000, static_cast<long>(milliseconds % 1000) * 1'000'000};
  nanosleep(&time, nullptr);
}

// State that both ends share. Each counter has one writer and a cache line of its own.
struct Shared {
  const Request* request = nullptr;
  std::atomic<bool> stop = false;
  std::atomic<bool> measuring = false;
  alignas(64) std::atomic<uint64_t> sent = 0;
  alignas(64) std::atomic<uint64_t> received = 0;
  alignas(64) std::vector<float> roundTripsNs;  // used by the client only
};

void add(std::atomic<uint64_t>* counter, uint64_t amount) noexcept {
  counter->fetch_add(amount, std::memory_order_relaxed);
}

struct Peer {
  Shared* shared = nullptr;
  Descriptor socket;
  int cpu = ANY_CPU;
  void (*work)(Peer*) = nullptr;
  pthread_t thread = {};

  [[nodiscard]] bool stopped() const noexcept {
    return shared->stop.load(std::memory_order_relaxed);
  }
};

template <typename Value>
void setOption(int fd, int level, int option, const Value& value) noexcept {
  setsockopt(fd, level, option, &value, sizeof value);
}

// Opens a bound socket in the namespace of the calling thread.
Status openSocket(int type, const HostAddress& address, uint16_t port, Descriptor* fd) noexcept {
  const int protocol = type == SOCK_RAW ? IPPROTO_UDP : 0;
  fd->reset(socket(address.family == 4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, protocol));
  if (!fd->valid()) return Status::system("socket", errno);
  setOption(fd->get(), SOL_SOCKET, SO_RCVTIMEO, PATIENCE);
  setOption(fd->get(), SOL_SOCKET, SO_SNDTIMEO, PATIENCE);
  setOption(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
  // A TCP client leaves its port to connect(), which knows which ones are free for this server.
  setOption(fd->get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  const SocketAddress own(address, port);
  if (bind(fd->get(), own.get(), own.size) != 0) {
    return Status::system("bind", errno);
  }
  return {};
}

Status connectToServer(int fd, const Request& request) noexcept {
  const SocketAddress to(request.target, request.port);
  if (connect(fd, to.get(), to.size) != 0) {
    return Status::system("connect", errno == EINPROGRESS ? ETIMEDOUT : errno);
  }
  return {};
}

void echoDatagrams(Peer* self) {
  char bytes[PAYLOAD_BYTES_MAX];
  while (!self->stopped()) {
    sockaddr_storage from = {};
    socklen_t fromSize = sizeof from;
    auto* sender = reinterpret_cast<sockaddr*>(&from);
    const ssize_t size = recvfrom(self->socket.get(), bytes, sizeof bytes, 0, sender, &fromSize);
    if (size > 0) {
      sendto(self->socket.get(), bytes, static_cast<size_t>(size), MSG_NOSIGNAL, sender, fromSize);
    }
  }
}

void makeRoundTrips(Peer* self) {
  Shared& shared = *self->shared;
  char bytes[PAYLOAD_BYTES_MAX] = {};
  const size_t size = std::max<size_t>(shared.request->payloadBytes, sizeof(uint32_t));
  for (uint32_t number = 0; !self->stopped(); ++number) {
    const bool counts = shared.measuring.load(std::memory_order_relaxed);
    const double start = nowSeconds();
    std::memcpy(bytes, &number, sizeof number);
    if (send(self->socket.get(), bytes, size, MSG_NOSIGNAL) < 0) continue;
    add(&shared.sent, 1);
    uint32_t answer = number + 1;
    while (answer != number) {  // one that came late belongs to an earlier question
      if (recv(self->socket.get(), bytes, sizeof bytes, 0) < 0) break;
      std::memcpy(&answer, bytes, sizeof answer);
    }
    if (answer != number) continue;
    add(&shared.received, 1);
    if (counts && shared.roundTripsNs.size() < ROUND_TRIPS_MAX) {
      shared.roundTripsNs.push_back(static_cast<float>((nowSeconds() - start) * 1e9));
    }
  }
}

// Messages that all use the same bytes: their content does not matter.
struct MessageBatch {
  std::array<char, PAYLOAD_BYTES_MAX> bytes = {};
  iovec part = {};
  std::array<mmsghdr, BATCH_MESSAGES> messages = {};

  explicit MessageBatch(size_t size) noexcept {
    part = {bytes.data(), size};
    for (mmsghdr& message : messages) {
      message.msg_hdr.msg_iov = &part;
      message.msg_hdr.msg_iovlen = 1;
    }
  }
};

void sendDatagrams(Peer* self) {
  MessageBatch batch(self->shared->request->payloadBytes);
  while (!self->stopped()) {
    const int count =
        sendmmsg(self->socket.get(), batch.messages.data(), BATCH_MESSAGES, MSG_NOSIGNAL);
    if (count > 0) add(&self->shared->sent, static_cast<uint64_t>(count));
  }
}

// Each batch goes from one port of the client to the next ports of the server. A request continues
// with the flow after the last one of the previous request. Otherwise requests that end before all
// flows had their turn would skip the same flows each time.
void sendManyFlows(Peer* self) {
  static std::atomic<uint64_t> nextFlow = 0;
  const Request& request = *self->shared->request;
  const uint32_t ports = std::min(request.flows, FLOW_PORTS);
  std::vector<Descriptor> clients((request.flows + ports - 1) / ports);
  for (size_t index = 0; index < clients.size(); ++index) {
    const auto port = static_cast<uint16_t>(CLIENT_PORT_FIRST + index);
    if (!openSocket(SOCK_DGRAM, clientOf(request), port, &clients[index]).ok()) return;
  }
  MessageBatch batch(request.payloadBytes);
  std::array<SocketAddress, BATCH_MESSAGES> targets;
  uint64_t flow = nextFlow.load(std::memory_order_relaxed);
  while (!self->stopped()) {
    const Descriptor& client = clients[flow / ports % clients.size()];
    for (size_t index = 0; index < BATCH_MESSAGES; ++index, ++flow) {
      const auto port = static_cast<uint16_t>(FLOW_PORT_FIRST + flow % ports);
      msghdr& header = batch.messages[index].msg_hdr;
      targets[index] = SocketAddress(request.target, port);
      header.msg_name = &targets[index].storage;
      header.msg_namelen = targets[index].size;
    }
    const int count = sendmmsg(client.get(), batch.messages.data(), BATCH_MESSAGES, MSG_NOSIGNAL);
    if (count > 0) add(&self->shared->sent, static_cast<uint64_t>(count));
  }
  nextFlow.store(flow, std::memory_order_relaxed);
}

void receiveDatagrams(Peer* self) {
  MessageBatch batch(PAYLOAD_BYTES_MAX);
  while (!self->stopped()) {
    const int count = recvmmsg(self->socket.get(), batch.messages.data(), BATCH_MESSAGES,
                               MSG_WAITFORONE, nullptr);
    if (count > 0) add(&self->shared->received, static_cast<uint64_t>(count));
  }
}

void sendStream(Peer* self) {
  const auto bytes = std::make_unique<char[]>(STREAM_CHUNK_BYTES);
  while (!self->stopped()) {
    const ssize_t size = send(self->socket.get(), bytes.get(), STREAM_CHUNK_BYTES, MSG_NOSIGNAL);
    if (size > 0) add(&self->shared->sent, static_cast<uint64_t>(size));
    if (size < 0 && errno != EAGAIN && errno != EINTR) return;
  }
}

void receiveStream(Peer* self) {
  const auto bytes = std::make_unique<char[]>(STREAM_CHUNK_BYTES);
  while (!self->stopped()) {
    const ssize_t size = recv(self->socket.get(), bytes.get(), STREAM_CHUNK_BYTES, 0);
    if (size > 0) add(&self->shared->received, static_cast<uint64_t>(size));
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

// Makes each connection with a new socket, in the namespace that the thread was started in.
void makeConnections(Peer* self) {
  Shared& shared = *self->shared;
  const Request& request = *shared.request;
  char bytes[64] = {};
  while (!self->stopped()) {
    Descriptor connection;
    if (!openSocket(SOCK_STREAM, clientOf(request), 0, &connection).ok()) continue;
    setOption(connection.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    if (!connectToServer(connection.get(), request).ok()) continue;
    add(&shared.sent, 1);
    if (send(connection.get(), bytes, sizeof bytes, MSG_NOSIGNAL) < 0) continue;
    if (recv(connection.get(), bytes, sizeof bytes, 0) <= 0) continue;
    if (recv(connection.get(), bytes, sizeof bytes, 0) == 0) add(&shared.received, 1);
  }
}

// Answers and closes first, as a server of short requests does, so that the client's ports become
// free again.
void answerConnections(Peer* self) {
  char bytes[64];
  while (!self->stopped()) {
    const Descriptor connection(accept4(self->socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) continue;
    setOption(connection.get(), SOL_SOCKET, SO_RCVTIMEO, PATIENCE);
    const ssize_t size = recv(connection.get(), bytes, sizeof bytes, 0);
    if (size > 0) send(connection.get(), bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
  }
}

void echoStream(Peer* self) {
  char bytes[64];
  while (!self->stopped()) {
    const ssize_t size = recv(self->socket.get(), bytes, sizeof bytes, 0);
    if (size > 0) send(self->socket.get(), bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

void makeStreamRoundTrips(Peer* self) {
  Shared& shared = *self->shared;
  char byte = 0;
  while (!self->stopped()) {
    const bool counts = shared.measuring.load(std::memory_order_relaxed);
    const double start = nowSeconds();
    if (send(self->socket.get(), &byte, 1, MSG_NOSIGNAL) != 1) return;
    add(&shared.sent, 1);
    ssize_t size = 0;
    do {
      size = recv(self->socket.get(), &byte, 1, 0);
    } while (size < 0 && (errno == EAGAIN || errno == EINTR) && !self->stopped());
    if (size != 1) return;
    add(&shared.received, 1);
    if (counts && shared.roundTripsNs.size() < ROUND_TRIPS_MAX) {
      shared.roundTripsNs.push_back(static_cast<float>((nowSeconds() - start) * 1e9));
    }
  }
}

void dropDatagrams(Peer* self) {
  MessageBatch batch(PAYLOAD_BYTES_MAX);
  while (!self->stopped()) {
    recvmmsg(self->socket.get(), batch.messages.data(), BATCH_MESSAGES, MSG_WAITFORONE, nullptr);
  }
}

// A datagram with its headers, as a raw socket takes it. The kernel fills in the IPv4 checksum.
struct RawDatagram {
  iphdr ip = {};
  udphdr udp = {};
  char payload[20] = {};
};

// Sends a datagram of a new flow each time, so many a second: from all ports of some neighbours of
// the client.
void sendNewFlows(Peer* self) {
  static std::atomic<uint64_t> nextFlow = 0;
  const Request& request = *self->shared->request;
  const double start = nowSeconds();
  uint64_t sent = 0;
  std::array<RawDatagram, BATCH_MESSAGES> datagrams;
  std::array<iovec, BATCH_MESSAGES> parts;
  MessageBatch batch(1);
  SocketAddress to(request.target, request.port);
  while (!self->stopped()) {
    const auto due = static_cast<uint64_t>((nowSeconds() - start) * request.flows);
    const uint64_t now = std::min<uint64_t>(due - std::min(due, sent), BATCH_MESSAGES);
    for (uint64_t index = 0; index < now; ++index) {
      const uint64_t flow = nextFlow.fetch_add(1, std::memory_order_relaxed);
      RawDatagram& each = datagrams[index];
      each.ip.version = 4;
      each.ip.ihl = sizeof(iphdr) / 4;
      each.ip.ttl = 64;
      each.ip.protocol = IPPROTO_UDP;
      each.ip.tot_len = htons(sizeof each);
      std::memcpy(&each.ip.saddr, request.client, sizeof each.ip.saddr);
      std::memcpy(&each.ip.daddr, request.target.bytes.data(), sizeof each.ip.daddr);
      const uint64_t neighbour = flow / FLOW_PORTS % FLOW_NEIGHBOURS;
      each.ip.saddr = htonl(ntohl(each.ip.saddr) + static_cast<uint32_t>(neighbour));
      each.udp.source = htons(static_cast<uint16_t>(FLOW_PORT_FIRST + flow % FLOW_PORTS));
      each.udp.dest = htons(request.port);
      each.udp.len = htons(sizeof each - sizeof each.ip);
      parts[index] = {&each, sizeof each};
      batch.messages[index].msg_hdr.msg_iov = &parts[index];
      batch.messages[index].msg_hdr.msg_name = &to.storage;
      batch.messages[index].msg_hdr.msg_namelen = to.size;
    }
    const auto count = static_cast<unsigned>(now);
    if (count > 0) sendmmsg(self->socket.get(), batch.messages.data(), count, MSG_NOSIGNAL);
    sent += now;
    if (now < BATCH_MESSAGES) sleepMs(1);
  }
}

void* runPeer(void* context) {
  auto* peer = static_cast<Peer*>(context);
  const auto cpu = static_cast<uint32_t>(peer->cpu);
  // Best effort: a CPU that is not there leaves the thread where it may run.
  if (peer->cpu == ANY_CPU) {
    (void)pinThread(0, {});
  } else {
    (void)pinThread(0, {&cpu, 1});
  }
  peer->work(peer);
  return nullptr;
}

// The threads of both ends; the destructor ends them.
class Ensemble {
 public:
  explicit Ensemble(const Request& request) noexcept { shared_.request = &request; }
  ~Ensemble() { end(); }
  Ensemble(const Ensemble&) = delete;
  Ensemble& operator=(const Ensemble&) = delete;

  Shared& shared() noexcept { return shared_; }

  // Starts a thread in the calling thread's namespace.
  Status start(Descriptor socket, int cpu, void (*work)(Peer*)) noexcept {
    auto peer = std::make_unique<Peer>();
    peer->shared = &shared_;
    peer->socket = std::move(socket);
    peer->cpu = cpu;
    peer->work = work;
    const int error = pthread_create(&peer->thread, nullptr, runPeer, peer.get());
    if (error != 0) return Status::system("pthread_create", error);
    peers_.push_back(std::move(peer));
    return {};
  }

  // The CPU time that the threads have used.
  [[nodiscard]] double cpuSeconds() const noexcept {
    double seconds = 0;
    for (const auto& peer : peers_) {
      clockid_t clock = {};
      timespec used = {};
      if (pthread_getcpuclockid(peer->thread, &clock) != 0) continue;
      if (clock_gettime(clock, &used) != 0) continue;
      seconds += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
    }
    return seconds;
  }

  void end() noexcept {
    shared_.stop.store(true, std::memory_order_relaxed);
    for (const auto& peer : peers_) {
      if (peer->socket.valid()) shutdown(peer->socket.get(), SHUT_RDWR);
    }
    for (const auto& peer : peers_) pthread_join(peer->thread, nullptr);
    peers_.clear();
  }

 private:
  Shared shared_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

Status startDatagrams(const Request& request, Ensemble* ensemble) noexcept {
  const bool roundTrips = static_cast<TrafficKind>(request.kind) == TrafficKind::RoundTrips;
  const bool manyFlows = !roundTrips && request.flows > 1;
  const Status status = inNamespace(signedOf(request.serverNamespace), [&]() -> Status {
    Descriptor socket;
    // A raw socket sees the datagrams to all ports.
    const int type = manyFlows ? SOCK_RAW : SOCK_DGRAM;
    const Status opened = openSocket(type, serverOf(request), request.port, &socket);
    if (!opened.ok()) return opened;
    setOption(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
    return ensemble->start(std::move(socket), signedOf(request.serverCpu),
                           roundTrips ? echoDatagrams : receiveDatagrams);
  });
  if (!status.ok()) return status;
  return inNamespace(signedOf(request.clientNamespace), [&]() -> Status {
    if (manyFlows) return ensemble->start(Descriptor(), signedOf(request.clientCpu), sendManyFlows);
    Descriptor socket;
    Status ready = openSocket(SOCK_DGRAM, clientOf(request), 0, &socket);
    if (ready.ok()) ready = connectToServer(socket.get(), request);
    if (!ready.ok()) return ready;
    return ensemble->start(std::move(socket), signedOf(request.clientCpu),
                           roundTrips ? makeRoundTrips : sendDatagrams);
  });
}

Status listenForClients(const Request& request, Descriptor* listener) noexcept {
  return inNamespace(signedOf(request.serverNamespace), [&]() -> Status {
    const Status opened = openSocket(SOCK_STREAM, serverOf(request), request.port, listener);
    if (!opened.ok()) return opened;
    if (listen(listener->get(), BACKLOG) != 0) return Status::system("listen", errno);
    return {};
  });
}

Status startStreams(const Request& request, Ensemble* ensemble) noexcept {
  Descriptor listener;
  Status status = listenForClients(request, &listener);
  for (uint32_t index = 0; status.ok() && index < request.streams; ++index) {
    Descriptor client;
    status = inNamespace(signedOf(request.clientNamespace), [&]() -> Status {
      const Status opened = openSocket(SOCK_STREAM, clientOf(request), 0, &client);
      return opened.ok() ? connectToServer(client.get(), request) : opened;
    });
    if (!status.ok()) break;
    Descriptor server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!server.valid()) return Status::system("accept", errno == EAGAIN ? ETIMEDOUT : errno);
    setOption(server.get(), SOL_SOCKET, SO_RCVTIMEO, PATIENCE);
    status = ensemble->start(std::move(server), signedOf(request.serverCpu), receiveStream);
    if (status.ok())
      status = ensemble->start(std::move(client), signedOf(request.clientCpu), sendStream);
  }
  return status;
}

Status startConnections(const Request& request, Ensemble* ensemble) noexcept {
  Descriptor listener;
  Status status = listenForClients(request, &listener);
  for (uint32_t index = 0; status.ok() && index < request.streams; ++index) {
    Descriptor shared(fcntl(listener.get(), F_DUPFD_CLOEXEC, 0));
    if (!shared.valid()) return Status::system("fcntl", errno);
    status = ensemble->start(std::move(shared), signedOf(request.serverCpu), answerConnections);
    if (!status.ok()) break;
    // The thread inherits the namespace of the one that starts it.
    status = inNamespace(signedOf(request.clientNamespace), [&] {
      return ensemble->start(Descriptor(), signedOf(request.clientCpu), makeConnections);
    });
  }
  return status;
}

// One connection whose bytes go there and back, and new flows to the same port.
Status startBesideFlows(const Request& request, Ensemble* ensemble) noexcept {
  if (request.family != 4) return {StatusCode::Argument};
  Descriptor listener;
  Status status = listenForClients(request, &listener);
  if (!status.ok()) return status;
  Descriptor client;
  Descriptor sender;
  status = inNamespace(signedOf(request.clientNamespace), [&]() -> Status {
    Status opened = openSocket(SOCK_STREAM, clientOf(request), 0, &client);
    if (opened.ok()) opened = connectToServer(client.get(), request);
    if (!opened.ok()) return opened;
    setOption(client.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    sender.reset(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    return sender.valid() ? Status{} : Status::system("socket", errno);
  });
  if (!status.ok()) return status;
  Descriptor server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!server.valid()) return Status::system("accept", errno == EAGAIN ? ETIMEDOUT : errno);
  setOption(server.get(), SOL_SOCKET, SO_RCVTIMEO, PATIENCE);
  setOption(server.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  status = inNamespace(signedOf(request.serverNamespace), [&]() -> Status {
    Descriptor drain;
    const Status opened = openSocket(SOCK_DGRAM, serverOf(request), request.port, &drain);
    return opened.ok()
               ? ensemble->start(std::move(drain), signedOf(request.serverCpu), dropDatagrams)
               : opened;
  });
  if (status.ok())
    status = ensemble->start(std::move(server), signedOf(request.serverCpu), echoStream);
  if (status.ok())
    status = ensemble->start(std::move(sender), signedOf(request.clientCpu), sendNewFlows);
  if (status.ok())
    status = ensemble->start(std::move(client), signedOf(request.clientCpu), makeStreamRoundTrips);
  return status;
}

}  // namespace

Status measureTraffic(const TrafficRequest& asked, const HostAddress* target,
                      TrafficResult* result) noexcept {
  Request request = {asked, {}};
  const bool sensible = request.durationMs > 0 && request.durationMs <= DURATION_MS_MAX &&
                        request.warmupMs <= DURATION_MS_MAX && request.streams > 0 &&
                        request.streams <= STREAMS_MAX && request.payloadBytes > 0 &&
                        request.payloadBytes <= PAYLOAD_BYTES_MAX && request.flows > 0 &&
                        request.flows <= FLOWS_MAX && request.kind < TRAFFIC_KIND_COUNT &&
                        (request.family == 4 || request.family == 6);
  if (!sensible) return {StatusCode::Argument};
  request.target = target != nullptr ? *target : serverOf(request);
  Ensemble ensemble(request);
  Shared& shared = ensemble.shared();
  const auto kind = static_cast<TrafficKind>(request.kind);
  if (kind == TrafficKind::RoundTrips || kind == TrafficKind::BesideFlows)
    shared.roundTripsNs.reserve(1 << 18);

  Status status;
  switch (kind) {
    case TrafficKind::RoundTrips:
    case TrafficKind::Packets:
      status = startDatagrams(request, &ensemble);
      break;
    case TrafficKind::Stream:
      status = startStreams(request, &ensemble);
      break;
    case TrafficKind::Connections:
      status = startConnections(request, &ensemble);
      break;
    case TrafficKind::BesideFlows:
      status = startBesideFlows(request, &ensemble);
      break;
  }
  if (!status.ok()) return status;

  sleepMs(request.warmupMs);
  shared.measuring.store(true, std::memory_order_relaxed);
  const uint64_t sentBefore = shared.sent.load(std::memory_order_relaxed);
  const uint64_t receivedBefore = shared.received.load(std::memory_order_relaxed);
  const double idleBefore = idleSeconds();
  const double endsBefore = ensemble.cpuSeconds();
  const double start = nowSeconds();
  sleepMs(request.durationMs);
  const uint64_t sent = shared.sent.load(std::memory_order_relaxed) - sentBefore;
  const uint64_t received = shared.received.load(std::memory_order_relaxed) - receivedBefore;
  const double seconds = nowSeconds() - start;
  const double ends = ensemble.cpuSeconds() - endsBefore;
  const double idle = idleSeconds() - idleBefore;
  ensemble.end();
  if (received == 0) return Status::system("recv", ETIMEDOUT);

  const auto cpus = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
  result->seconds = seconds;
  result->sent = static_cast<double>(sent);
  result->received = static_cast<double>(received);
  result->busySeconds = std::max(0.0, seconds * cpus - idle);
  result->endsSeconds = ends;
  result->roundTripsNs = std::move(shared.roundTripsNs);
  return {};
}

Status pinThread(int threadId, std::span<const uint32_t> cpus) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpus.empty()) std::memset(&set, 0xff, sizeof set);
  for (const uint32_t cpu : cpus) {
    if (cpu >= CPU_SETSIZE) return {StatusCode::Argument};
    CPU_SET(cpu, &set);
  }
  if (sched_setaffinity(threadId, sizeof set, &set) != 0) {
    return Status::system("sched_setaffinity", errno);
  }
  return {};
}

}  // namespace sluice
