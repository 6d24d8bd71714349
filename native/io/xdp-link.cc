#include "native/io/xdp-link.h"

#include <linux/if_xdp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>

#include "native/packet/packet-view.h"

namespace sluice {
namespace {

// Frames that may wait to be received: four milliseconds' worth, at a million frames a second. A
// thread that shares the worker's core may keep it that long.
constexpr uint32_t RING_FRAMES = 4'096;
// Frames that may wait to be sent.
constexpr uint32_t SEND_FRAMES = 2'048;
static_assert(SEND_FRAMES <= RING_FRAMES);
constexpr uint32_t SMALL_CHUNK_BYTES = 2'048;
constexpr uint32_t LARGE_CHUNK_BYTES = 4'096;
// The kernel's headroom before a frame, and two bytes of ours that align IP headers to 16 bytes.
constexpr uint32_t KERNEL_HEADROOM_BYTES = 256;
constexpr uint32_t HEADROOM_BYTES = 2;
constexpr uint32_t HEADER_BYTES_MAX = 18;  // Ethernet and a VLAN tag
static_assert(XDP_MTU_MAX + HEADER_BYTES_MAX + KERNEL_HEADROOM_BYTES + HEADROOM_BYTES <=
              LARGE_CHUNK_BYTES);
// The kernel sends at most 32 frames a call; every call but the last one sends some.
constexpr int SEND_CALLS_MAX = SEND_FRAMES / 32 + 8;

constexpr uint8_t TCP_CHECKSUM_OFFSET = 16;
constexpr uint8_t UDP_CHECKSUM_OFFSET = 6;

// A ring shared with the kernel, of which we are the producer or the consumer.
template <typename Item>
class Ring {
 public:
  ~Ring() {
    if (memory_ != MAP_FAILED) munmap(memory_, bytes_);
  }

  Status map(int fd, const xdp_ring_offset& offsets, off_t place) noexcept {
    bytes_ = offsets.desc + RING_FRAMES * sizeof(Item);
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, place);
    if (memory_ == MAP_FAILED) return Status::system("mmap", errno);
    auto* const start = static_cast<std::byte*>(memory_);
    producer_ = reinterpret_cast<uint32_t*>(start + offsets.producer);
    consumer_ = reinterpret_cast<uint32_t*>(start + offsets.consumer);
    flags_ = reinterpret_cast<uint32_t*>(start + offsets.flags);
    items_ = reinterpret_cast<Item*>(start + offsets.desc);
    return {};
  }

  // Continues at the position of a predecessor, as the producer or the consumer.
  void resumeProducing() noexcept { at_ = *producer_; }
  void resumeConsuming() noexcept { at_ = *consumer_; }

  // Consumer: the number of items that wait, at most `wanted`; item(0) is the oldest.
  [[nodiscard]] uint32_t waiting(uint32_t wanted) noexcept {
    const uint32_t produced = std::atomic_ref(*producer_).load(std::memory_order_acquire);
    return std::min(produced - at_, wanted);
  }
  [[nodiscard]] const Item& item(uint32_t index) const noexcept {
    return items_[(at_ + index) % RING_FRAMES];
  }
  void consume(uint32_t count) noexcept {
    at_ += count;
    std::atomic_ref(*consumer_).store(at_, std::memory_order_release);
  }

  // Producer. There are never more items than places, so put() does not check for room.
  void put(const Item& item) noexcept { items_[at_++ % RING_FRAMES] = item; }
  void publish() noexcept { std::atomic_ref(*producer_).store(at_, std::memory_order_release); }
  [[nodiscard]] bool allConsumed() const noexcept {
    return std::atomic_ref(*consumer_).load(std::memory_order_acquire) == at_;
  }
  [[nodiscard]] bool needsWakeup() const noexcept {
    return (std::atomic_ref(*flags_).load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0;
  }

 private:
  void* memory_ = MAP_FAILED;
  size_t bytes_ = 0;
  uint32_t* producer_ = nullptr;
  uint32_t* consumer_ = nullptr;
  uint32_t* flags_ = nullptr;
  Item* items_ = nullptr;
  uint32_t at_ = 0;
};

uint64_t addWords(uint64_t sum, const uint8_t* bytes, uint32_t count) noexcept {
  for (uint32_t at = 0; at < count; at += 2) sum += load16(bytes + at);
  return sum;
}

}  // namespace

// A queue's socket, its rings and the memory of its frames.
class XdpLink::Queue {
 public:
  explicit Queue(int fd, int memoryFd = -1) noexcept : fd_(fd), memoryFd_(memoryFd) {}
  ~Queue() {
    close(fd_);
    if (memoryFd_ >= 0) close(memoryFd_);
    if (memory_ != MAP_FAILED) munmap(memory_, memoryBytes());
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  Status open(const XdpLinkOptions& options, uint32_t queue) noexcept;
  Status adopt(std::span<const uint32_t> words) noexcept;
  [[nodiscard]] LinkHandoff handoff() const;
  size_t receive(std::span<Frame> frames) noexcept;
  void release() noexcept;
  bool transmit(const Frame& frame) noexcept;
  size_t flush() noexcept;
  [[nodiscard]] bool hasUnsent() const noexcept { return pending_; }
  [[nodiscard]] uint64_t lostFrames() const noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  [[nodiscard]] size_t memoryBytes() const noexcept {
    return size_t{RING_FRAMES + SEND_FRAMES} * chunkBytes_;
  }
  Status makeMemory() noexcept;
  Status mapMemory() noexcept;
  Status makeRings() noexcept;
  Status mapRings() noexcept;
  void reclaim() noexcept;

  int fd_;
  int memoryFd_;  // of `memory_`, so that another process can map it too
  uint32_t queue_ = 0;
  uint32_t chunkBytes_ = SMALL_CHUNK_BYTES;
  void* memory_ = MAP_FAILED;
  Ring<uint64_t> fill_;
  Ring<uint64_t> completed_;
  Ring<xdp_desc> received_;
  Ring<xdp_desc> sent_;
  std::array<uint64_t, BATCH_FRAMES_MAX> taken_ = {};  // chunks in the caller's hands
  uint32_t takenCount_ = 0;
  std::vector<uint64_t> free_;  // chunks to send from
  bool pending_ = false;        // frames in the ring that the kernel is to be asked to send
};

Status XdpLink::Queue::open(const XdpLinkOptions& options, uint32_t queue) noexcept {
  queue_ = queue;
  const uint32_t frameBytes = options.mtu + HEADER_BYTES_MAX;
  if (frameBytes + KERNEL_HEADROOM_BYTES + HEADROOM_BYTES > SMALL_CHUNK_BYTES) {
    chunkBytes_ = LARGE_CHUNK_BYTES;
  }
  Status status = makeMemory();
  if (status.ok()) status = makeRings();
  if (!status.ok()) return status;
  sockaddr_xdp address = {};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
  address.sxdp_ifindex = options.interfaceIndex;
  address.sxdp_queue_id = queue;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::system("bind AF_XDP", errno, errno == EBUSY ? Fault::XdpQueueBusy : Fault::None);
  }
  return {};
}

LinkHandoff XdpLink::Queue::handoff() const {
  LinkHandoff handoff = {LinkKind::Xdp, {fd_, memoryFd_}, {RING_FRAMES, chunkBytes_, queue_}};
  for (const uint64_t chunk : free_) {
    handoff.words.push_back(static_cast<uint32_t>(chunk / chunkBytes_));
  }
  return handoff;
}

// The rings list the chunks that the kernel has filled or will fill. The chunks that are free for
// sending are in no ring: only the predecessor knows them.
Status XdpLink::Queue::adopt(std::span<const uint32_t> words) noexcept {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (words.size() < 3 || words[0] != RING_FRAMES ||
      (words[1] != SMALL_CHUNK_BYTES && words[1] != LARGE_CHUNK_BYTES) ||
      words.size() - 3 > SEND_FRAMES ||
      getsockopt(fd_, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_XDP) {
    return {StatusCode::Argument};
  }
  chunkBytes_ = words[1];
  queue_ = words[2];
  // Not fstat(): with it the addon would need a C library of 2.33 or later.
  if (lseek(memoryFd_, 0, SEEK_END) != static_cast<off_t>(memoryBytes())) {
    return {StatusCode::Argument};
  }
  free_.reserve(SEND_FRAMES);
  std::vector<bool> seen(SEND_FRAMES);
  for (const uint32_t chunk : words.subspan(3)) {
    if (chunk < RING_FRAMES || chunk >= RING_FRAMES + SEND_FRAMES || seen[chunk - RING_FRAMES]) {
      return {StatusCode::Argument};
    }
    seen[chunk - RING_FRAMES] = true;
    free_.push_back(uint64_t{chunk} * chunkBytes_);
  }
  Status status = mapMemory();
  if (status.ok()) status = mapRings();
  if (!status.ok()) return status;
  fill_.resumeProducing();
  sent_.resumeProducing();
  completed_.resumeConsuming();
  received_.resumeConsuming();
  return {};
}

Status XdpLink::Queue::mapMemory() noexcept {
  memory_ =
      mmap(nullptr, memoryBytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memoryFd_, 0);
  return memory_ != MAP_FAILED ? Status{} : Status::system("mmap", errno);
}

Status XdpLink::Queue::makeMemory() noexcept {
  memoryFd_ = memfd_create("sluice-frames", MFD_CLOEXEC);
  if (memoryFd_ < 0) return Status::system("memfd_create", errno);
  if (ftruncate(memoryFd_, static_cast<off_t>(memoryBytes())) != 0) {
    return Status::system("ftruncate", errno);
  }
  if (const Status status = mapMemory(); !status.ok()) return status;
  xdp_umem_reg region = {};
  region.addr = reinterpret_cast<uint64_t>(memory_);
  region.len = memoryBytes();
  region.chunk_size = chunkBytes_;
  region.headroom = HEADROOM_BYTES;
  if (setsockopt(fd_, SOL_XDP, XDP_UMEM_REG, &region, sizeof region) != 0) {
    return Status::system("XDP_UMEM_REG", errno);
  }
  return {};
}

Status XdpLink::Queue::makeRings() noexcept {
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING}) {
    if (setsockopt(fd_, SOL_XDP, ring, &RING_FRAMES, sizeof RING_FRAMES) != 0) {
      return Status::system("XDP_RING", errno);
    }
  }
  const Status status = mapRings();
  if (!status.ok()) return status;
  for (uint64_t frame = 0; frame < RING_FRAMES; ++frame) fill_.put(frame * chunkBytes_);
  free_.reserve(SEND_FRAMES);
  for (uint64_t frame = 0; frame < SEND_FRAMES; ++frame) {
    free_.push_back((RING_FRAMES + frame) * chunkBytes_);
  }
  fill_.publish();
  return {};
}

Status XdpLink::Queue::mapRings() noexcept {
  xdp_mmap_offsets offsets = {};
  socklen_t size = sizeof offsets;
  if (getsockopt(fd_, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) != 0) {
    return Status::system("XDP_MMAP_OFFSETS", errno);
  }
  Status status = fill_.map(fd_, offsets.fr, static_cast<off_t>(XDP_UMEM_PGOFF_FILL_RING));
  if (status.ok()) {
    status = completed_.map(fd_, offsets.cr, static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING));
  }
  if (status.ok()) status = received_.map(fd_, offsets.rx, XDP_PGOFF_RX_RING);
  if (status.ok()) status = sent_.map(fd_, offsets.tx, static_cast<off_t>(XDP_PGOFF_TX_RING));
  return status;
}

size_t XdpLink::Queue::receive(std::span<Frame> frames) noexcept {
  const auto wanted = static_cast<uint32_t>(std::min(frames.size(), taken_.size()));
  const uint32_t count = received_.waiting(wanted);
  for (uint32_t index = 0; index < count; ++index) {
    const xdp_desc& descriptor = received_.item(index);
    Frame& frame = frames[index];
    frame = {};
    frame.bytes = static_cast<std::byte*>(memory_) + descriptor.addr;
    frame.headroom = true;
    frame.length = descriptor.len;
    taken_[index] = descriptor.addr / chunkBytes_ * chunkBytes_;
  }
  received_.consume(count);
  takenCount_ = count;
  return count;
}

void XdpLink::Queue::release() noexcept {
  if (takenCount_ == 0) return;
  for (uint32_t index = 0; index < takenCount_; ++index) fill_.put(taken_[index]);
  takenCount_ = 0;
  fill_.publish();
  if (fill_.needsWakeup()) recvfrom(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

bool XdpLink::Queue::transmit(const Frame& frame) noexcept {
  if (frame.length > chunkBytes_) return false;
  if (free_.empty()) {
    (void)flush();
    if (free_.empty()) return false;
  }
  const uint64_t place = free_.back();
  free_.pop_back();
  std::memcpy(static_cast<std::byte*>(memory_) + place, frame.bytes, frame.length);
  sent_.put({place, frame.length, 0});
  pending_ = true;
  return true;
}

// Frames that the kernel has no room for now stay in the ring: the last ones of a connection have
// nobody behind them to take them along. On a link that is down they wait for the next frame.
size_t XdpLink::Queue::flush() noexcept {
  size_t refused = 0;
  if (pending_) {
    sent_.publish();
    bool isDown = false;
    for (int calls = 0; calls < SEND_CALLS_MAX && !sent_.allConsumed(); ++calls) {
      if (sendto(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0) continue;
      if (errno == EBUSY) {
        ++refused;  // the interface threw one away
      } else if (errno != EAGAIN) {
        isDown = errno != ENOBUFS && errno != ENOMEM;
        break;
      }
    }
    pending_ = !isDown && !sent_.allConsumed();
  }
  reclaim();
  return refused;
}

void XdpLink::Queue::reclaim() noexcept {
  const uint32_t count = completed_.waiting(RING_FRAMES);
  for (uint32_t index = 0; index < count; ++index) free_.push_back(completed_.item(index));
  completed_.consume(count);
}

uint64_t XdpLink::Queue::lostFrames() const noexcept {
  xdp_statistics statistics = {};
  socklen_t size = sizeof statistics;
  if (getsockopt(fd_, SOL_XDP, XDP_STATISTICS, &statistics, &size) != 0) return 0;
  return statistics.rx_dropped + statistics.rx_ring_full;
}

XdpLink::XdpLink(const XdpLinkOptions& options) noexcept : options_(options) {}

XdpLink::~XdpLink() {
  if (poll_ >= 0) close(poll_);
}

Status XdpLink::take(XdpLink* link, int fd, int memoryFd) noexcept {
  std::unique_ptr<Queue> queue(link == nullptr ? nullptr : new (std::nothrow) Queue(fd, memoryFd));
  if (queue == nullptr) {
    close(fd);
    if (memoryFd >= 0) close(memoryFd);
    return {StatusCode::Limit};
  }
  link->queues_.push_back(std::move(queue));
  return {};
}

Status XdpLink::create(std::span<const XdpSocket> sockets, const XdpLinkOptions& options,
                       std::unique_ptr<XdpLink>* link) noexcept {
  if (sockets.empty()) return {StatusCode::Argument};
  std::unique_ptr<XdpLink> made(new (std::nothrow) XdpLink(options));
  Status status;
  for (const XdpSocket& socket : sockets) {
    const Status taken = take(made.get(), socket.fd, -1);
    if (status.ok()) status = taken;
  }
  if (status.ok()) status = made->open(sockets);
  if (status.ok()) *link = std::move(made);
  return status;
}

Status XdpLink::adopt(std::span<const XdpQueueHandoff> queues, const XdpLinkOptions& options,
                      std::unique_ptr<XdpLink>* link) noexcept {
  if (queues.empty()) return {StatusCode::Argument};
  std::unique_ptr<XdpLink> made(new (std::nothrow) XdpLink(options));
  Status status;
  for (const XdpQueueHandoff& handoff : queues) {
    const Status taken = take(made.get(), handoff.fd, handoff.memory);
    if (status.ok()) status = taken;
    if (status.ok()) status = made->queues_.back()->adopt(handoff.words);
  }
  if (status.ok()) status = made->watchQueues();
  if (status.ok()) *link = std::move(made);
  return status;
}

bool XdpLink::appendHandoff(std::vector<LinkHandoff>* queues) const {
  for (const auto& queue : queues_) queues->push_back(queue->handoff());
  return true;
}

Status XdpLink::open(std::span<const XdpSocket> sockets) noexcept {
  if (options_.mtu > XDP_MTU_MAX) return {StatusCode::Argument};
  for (size_t index = 0; index < sockets.size(); ++index) {
    const Status status = queues_[index]->open(options_, sockets[index].queue);
    if (!status.ok()) return status;
  }
  return watchQueues();
}

Status XdpLink::watchQueues() noexcept {
  if (queues_.size() == 1) return {};
  poll_ = epoll_create1(EPOLL_CLOEXEC);
  if (poll_ < 0) return Status::system("epoll_create1", errno);
  for (const auto& queue : queues_) {
    epoll_event event = {};
    event.events = EPOLLIN;
    if (epoll_ctl(poll_, EPOLL_CTL_ADD, queue->fd(), &event) != 0) {
      return Status::system("epoll_ctl", errno);
    }
  }
  return {};
}

int XdpLink::descriptor() const noexcept { return poll_ >= 0 ? poll_ : queues_.front()->fd(); }

uint32_t XdpLink::interfaceIndex() const noexcept {
  // A send of no frames only shows whether the socket is still bound.
  const int fd = queues_.front()->fd();
  const ssize_t asked = recvfrom(fd, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  return asked < 0 && errno == ENXIO ? 0 : options_.interfaceIndex;
}

size_t XdpLink::receive(std::span<Frame> frames) noexcept {
  size_t count = 0;
  for (size_t turn = 0; turn < queues_.size() && count < frames.size(); ++turn) {
    Queue& queue = *queues_[(nextQueue_ + turn) % queues_.size()];
    count += queue.receive(frames.subspan(count));
  }
  nextQueue_ = (nextQueue_ + 1) % queues_.size();
  if (options_.findPartialChecksums) {
    for (Frame& frame : frames.first(count)) findPartialChecksum(&frame);
  }
  return count;
}

void XdpLink::release() noexcept {
  for (const auto& queue : queues_) queue->release();
}

bool XdpLink::transmit(const Frame& frame) noexcept { return queues_.front()->transmit(frame); }

size_t XdpLink::flush() noexcept { return queues_.front()->flush(); }

bool XdpLink::hasUnsent() const noexcept { return queues_.front()->hasUnsent(); }

uint64_t XdpLink::lostFrames() noexcept {
  uint64_t lost = 0;
  for (const auto& queue : queues_) lost += queue->lostFrames();
  return lost;
}

void findPartialChecksum(Frame* frame) noexcept {
  if (frame->length < ETHERNET_HEADER_BYTES + 20u) return;
  const auto* const ip = reinterpret_cast<const uint8_t*>(frame->bytes) + ETHERNET_HEADER_BYTES;
  const uint32_t ipBytes = frame->length - ETHERNET_HEADER_BYTES;
  const uint16_t etherType = load16(ip - 2);
  uint32_t headerBytes = 0;
  uint32_t endBytes = 0;
  uint8_t protocol = 0;
  uint64_t sum = 0;
  if (etherType == 0x0800 && (load16(ip + 6) & 0x3fff) == 0) {  // no fragment
    headerBytes = (ip[0] & 0x0f) * 4u;
    endBytes = load16(ip + 2);
    protocol = ip[9];
    sum = addWords(0, ip + 12, 8);
  } else if (etherType == 0x86dd && ipBytes >= 40) {
    headerBytes = 40;
    endBytes = 40u + load16(ip + 4);
    protocol = ip[6];
    sum = addWords(0, ip + 8, 32);
  } else {
    return;
  }
  const uint8_t at = protocol == PROTOCOL_TCP   ? TCP_CHECKSUM_OFFSET
                     : protocol == PROTOCOL_UDP ? UDP_CHECKSUM_OFFSET
                                                : uint8_t{0};
  if (at == 0 || endBytes != ipBytes || headerBytes + at + 2u > endBytes) return;
  sum += protocol + endBytes - headerBytes;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  if (load16(ip + headerBytes + at) != sum) return;
  frame->offload.flags = OFFLOAD_NEEDS_CHECKSUM;
  frame->offload.checksumStart = static_cast<uint16_t>(ETHERNET_HEADER_BYTES + headerBytes);
  frame->offload.checksumOffset = at;
}

}  // namespace sluice
