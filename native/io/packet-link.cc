#include "native/io/packet-link.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace sluice {
namespace {

// Bytes before a frame in its slot: the ring's header, the Offload header, and alignment.
constexpr uint32_t SLOT_HEAD_BYTES = 128;
// Bytes beyond the MTU: an Ethernet header with a VLAN tag.
constexpr uint32_t LINK_HEAD_BYTES = 18;
// The kernel allocates block by block; larger blocks waste less memory after their last slot.
constexpr uint32_t BLOCK_BYTES = 1 << 20;
// Slots for ordinary frames for each superframe that may wait.
constexpr uint32_t SMALL_SLOTS = 16;
static_assert(BLOCK_BYTES > SLOT_HEAD_BYTES + FRAME_BYTES_MAX + TPACKET_ALIGNMENT);
// Defined here since older headers lack it. The group needs this flag: it ignores its members' own
// PACKET_IGNORE_OUTGOING.
constexpr int FANOUT_IGNORE_OUTGOING = 0x4000;

// The word that says whether a slot is ours or the kernel's. The kernel may write it at any time.
uint32_t statusOf(std::byte* slot) noexcept {
  auto* header = reinterpret_cast<tpacket2_hdr*>(slot);
  return std::atomic_ref<uint32_t>(header->tp_status).load(std::memory_order_acquire);
}

void giveBack(std::byte* slot) noexcept {
  auto* header = reinterpret_cast<tpacket2_hdr*>(slot);
  std::atomic_ref<uint32_t>(header->tp_status).store(TP_STATUS_KERNEL, std::memory_order_release);
}

}  // namespace

uint32_t boundInterface(int packetSocket) noexcept {
  sockaddr_ll address = {};
  socklen_t size = sizeof address;
  const bool bound = getsockname(packetSocket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  return bound && address.sll_ifindex > 0 ? static_cast<uint32_t>(address.sll_ifindex) : 0;
}

Status PacketLink::create(int fd, const PacketLinkOptions& options, FanoutGroup* group,
                          std::unique_ptr<PacketLink>* link) noexcept {
  std::unique_ptr<PacketLink> made(new (std::nothrow) PacketLink(fd, options.largeBuffers));
  if (made == nullptr) {
    close(fd);
    return {StatusCode::Limit};
  }
  const Status status = made->open(options, group);
  if (status.ok()) *link = std::move(made);
  return status;
}

Status PacketLink::open(const PacketLinkOptions& options, FanoutGroup* group) noexcept {
  const uint32_t interfaceIndex = options.interfaceIndex;
  if (options.slots > 65'536) return {StatusCode::Argument};
  prepareMessages();
  // Protocol 0 receives nothing.
  if (options.slots == 0) return bindTo(interfaceIndex, 0);
  if (const Status status = makeRing(options); !status.ok()) return status;

  // All frames, for any destination and of every protocol: frames that we do not see are not
  // judged.
  packet_mreq membership = {};
  membership.mr_ifindex = static_cast<int>(interfaceIndex);
  membership.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) {
    return Status::system("PACKET_ADD_MEMBERSHIP", errno);
  }
  if (group == nullptr) return bindTo(interfaceIndex, ETH_P_ALL);
  // Between bind() and joining the group the socket would get every frame, so some frames twice.
  sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog closed = {1, &nothing};
  if (setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &closed, sizeof closed) != 0) {
    return Status::system("SO_ATTACH_FILTER", errno);
  }
  Status status = bindTo(interfaceIndex, ETH_P_ALL);
  if (status.ok()) status = joinGroup(group);
  if (!status.ok()) return status;
  int ignored = 0;
  if (setsockopt(fd_, SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof ignored) != 0) {
    return Status::system("SO_DETACH_FILTER", errno);
  }
  return {};
}

void PacketLink::prepareMessages() noexcept {
  for (size_t index = 0; index < messages_.size(); ++index) {
    parts_[index * 2] = {&offloads_[index], sizeof(Offload)};
    messages_[index].msg_hdr.msg_iov = &parts_[index * 2];
    messages_[index].msg_hdr.msg_iovlen = 2;
  }
}

Status PacketLink::adopt(int fd, std::span<const uint32_t> words, uint32_t interfaceIndex,
                         bool receives, std::shared_ptr<FrameBuffers> largeBuffers,
                         std::span<const sock_filter> program,
                         std::unique_ptr<PacketLink>* link) noexcept {
  std::unique_ptr<PacketLink> made(new (std::nothrow) PacketLink(fd, std::move(largeBuffers)));
  if (made == nullptr) {
    close(fd);
    return {StatusCode::Limit};
  }
  sockaddr_ll address = {};
  socklen_t size = sizeof address;
  int version = 0;
  socklen_t versionSize = sizeof version;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      address.sll_family != AF_PACKET || address.sll_ifindex != static_cast<int>(interfaceIndex) ||
      getsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, &versionSize) != 0 ||
      version != TPACKET_V2) {
    return {StatusCode::Argument};
  }
  made->prepareMessages();
  Status status;
  if (receives) status = made->adoptRing(words);
  if (status.ok() && !program.empty()) status = made->setProgram(program);
  if (status.ok()) *link = std::move(made);
  return status;
}

bool PacketLink::appendHandoff(std::vector<LinkHandoff>* queues) const {
  if (slots_ == 0) return true;
  const uint32_t large = largeBuffers_ != nullptr ? 1 : 0;
  queues->push_back({LinkKind::Packet, {fd_}, {BLOCK_BYTES, slotBytes_, slots_, next_, large}});
  return true;
}

// Wrong sizes in `words` do no harm: the kernel maps a ring of exactly its own size or none.
Status PacketLink::adoptRing(std::span<const uint32_t> words) noexcept {
  if (words.size() != 5 || words[0] != BLOCK_BYTES || words[1] <= SLOT_HEAD_BYTES ||
      words[1] % TPACKET_ALIGNMENT != 0 || words[1] > BLOCK_BYTES) {
    return {StatusCode::Argument};
  }
  slotBytes_ = words[1];
  slotsPerBlock_ = BLOCK_BYTES / slotBytes_;
  const uint32_t slots = words[2];
  next_ = words[3];
  if (slots == 0 || slots % slotsPerBlock_ != 0 || slots > 1u << 24 || next_ >= slots) {
    return {StatusCode::Argument};
  }
  // Superframes that the kernel queues beside the ring could not be received without buffers.
  if (words[4] == 0) {
    largeBuffers_.reset();
  } else if (largeBuffers_ == nullptr) {
    return {StatusCode::Argument};
  }
  slots_ = slots;
  return mapRing();
}

Status PacketLink::mapRing() noexcept {
  ringBytes_ = size_t{slots_ / slotsPerBlock_} * BLOCK_BYTES;
  void* memory = mmap(nullptr, ringBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (memory == MAP_FAILED) return Status::system("mmap", errno);
  ring_ = static_cast<std::byte*>(memory);
  return {};
}

Status PacketLink::makeRing(const PacketLinkOptions& options) noexcept {
  uint32_t frameBytes = FRAME_BYTES_MAX;
  uint32_t slots = options.slots;
  const int beside = 1;
  if (largeBuffers_ != nullptr && options.mtu + LINK_HEAD_BYTES < FRAME_BYTES_MAX) {
    if (setsockopt(fd_, SOL_PACKET, PACKET_COPY_THRESH, &beside, sizeof beside) != 0) {
      return Status::system("PACKET_COPY_THRESH", errno);
    }
    frameBytes = options.mtu + LINK_HEAD_BYTES;
    slots *= SMALL_SLOTS;
  }
  slotBytes_ = (SLOT_HEAD_BYTES + frameBytes + TPACKET_ALIGNMENT - 1) / TPACKET_ALIGNMENT *
               TPACKET_ALIGNMENT;
  slotsPerBlock_ = BLOCK_BYTES / slotBytes_;
  tpacket_req request = {};
  request.tp_block_size = BLOCK_BYTES;
  request.tp_frame_size = slotBytes_;
  request.tp_block_nr = (slots + slotsPerBlock_ - 1) / slotsPerBlock_;
  request.tp_frame_nr = request.tp_block_nr * slotsPerBlock_;
  if (setsockopt(fd_, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0) {
    return Status::system("PACKET_RX_RING", errno);
  }
  slots_ = request.tp_frame_nr;
  return mapRing();
}

Status PacketLink::bindTo(uint32_t interfaceIndex, uint16_t protocol) noexcept {
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = static_cast<int>(interfaceIndex);
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::system("bind AF_PACKET", errno);
  }
  return {};
}

Status PacketLink::joinGroup(FanoutGroup* group) noexcept {
  const bool first = group->id == 0;
  const int flags = FANOUT_IGNORE_OUTGOING | (first ? PACKET_FANOUT_FLAG_UNIQUEID : 0);
  int fanout = group->id | (PACKET_FANOUT_CBPF | flags) << 16;
  if (setsockopt(fd_, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof fanout) != 0) {
    return Status::system("PACKET_FANOUT", errno);
  }
  if (!first) return {};
  socklen_t size = sizeof fanout;
  if (getsockopt(fd_, SOL_PACKET, PACKET_FANOUT, &fanout, &size) != 0) {
    return Status::system("PACKET_FANOUT", errno);
  }
  group->id = static_cast<uint16_t>(fanout & 0xffff);
  return setProgram(group->program);
}

Status PacketLink::setProgram(std::span<const sock_filter> program) noexcept {
  const sock_fprog wanted = {static_cast<uint16_t>(program.size()),
                             const_cast<sock_filter*>(program.data())};
  if (setsockopt(fd_, SOL_PACKET, PACKET_FANOUT_DATA, &wanted, sizeof wanted) != 0) {
    return Status::system("PACKET_FANOUT_DATA", errno);
  }
  return {};
}

PacketLink::~PacketLink() {
  if (ring_ != nullptr) munmap(ring_, ringBytes_);
  close(fd_);
}

std::byte* PacketLink::slot(uint32_t index) const noexcept {
  return ring_ + size_t{index / slotsPerBlock_} * BLOCK_BYTES +
         size_t{index % slotsPerBlock_} * slotBytes_;
}

size_t PacketLink::receive(std::span<Frame> frames) noexcept {
  size_t count = 0;
  size_t bytes = 0;
  const size_t wanted = std::min<size_t>({frames.size(), slots_, BATCH_FRAMES_MAX});
  while (count < wanted && bytes < FrameBuffers::BATCH_BYTES) {
    std::byte* const at = slot(next_);
    const uint32_t status = statusOf(at);
    if ((status & TP_STATUS_USER) == 0) break;
    const auto* header = reinterpret_cast<const tpacket2_hdr*>(at);
    Frame& frame = frames[count++];
    frame = {};
    frame.bytes = at + header->tp_mac;
    frame.headroom = true;
    frame.length = header->tp_snaplen;
    frame.truncated = header->tp_snaplen < header->tp_len;
    frame.vlanTagged = (status & TP_STATUS_VLAN_VALID) != 0;
    frame.vlanTci = frame.vlanTagged ? header->tp_vlan_tci : uint16_t{0};
    if ((status & TP_STATUS_COPY) != 0) {
      receiveLarge(count - 1, &frame);
    } else {
      std::memcpy(&frame.offload, frame.bytes - sizeof(Offload), sizeof(Offload));
    }
    bytes += FrameBuffers::batchBytesOf(frame);
    next_ = next_ + 1 == slots_ ? 0 : next_ + 1;
  }
  taken_ = static_cast<uint32_t>(count);
  return count;
}

// Receives the frame that was queued beside the ring; the slot holds its first bytes.
void PacketLink::receiveLarge(size_t index, Frame* frame) noexcept {
  std::byte* const place = largeBuffers_->at(index);
  const ssize_t size = recv(fd_, place, FrameBuffers::STRIDE, MSG_DONTWAIT);
  if (size <= static_cast<ssize_t>(sizeof(Offload))) return;  // it stays marked as truncated
  std::memcpy(&frame->offload, place, sizeof(Offload));
  frame->bytes = place + sizeof(Offload);
  frame->length = static_cast<uint32_t>(static_cast<size_t>(size) - sizeof(Offload));
  frame->truncated = static_cast<size_t>(size) == FrameBuffers::STRIDE;
}

void PacketLink::release() noexcept {
  for (; taken_ > 0; --taken_) giveBack(slot((next_ + slots_ - taken_) % slots_));
}

bool PacketLink::transmit(const Frame& frame) noexcept {
  if (queued_ == messages_.size()) refused_ += flush();
  offloads_[queued_] = frame.offload;
  parts_[queued_ * 2 + 1] = {frame.bytes, frame.length};
  ++queued_;
  return true;
}

size_t PacketLink::flush() noexcept {
  size_t refused = refused_;
  refused_ = 0;
  size_t sent = 0;
  while (sent < queued_) {
    const int count =
        sendmmsg(fd_, &messages_[sent], static_cast<unsigned>(queued_ - sent), MSG_DONTWAIT);
    if (count > 0) {
      sent += static_cast<size_t>(count);
    } else if (count == 0 || errno != EINTR) {
      ++sent;  // this one cannot go: too long, no room, interface down
      ++refused;
    }
  }
  queued_ = 0;
  return refused;
}

bool PacketLink::recover() noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) == 0;
}

uint32_t PacketLink::interfaceIndex() const noexcept { return boundInterface(fd_); }

uint64_t PacketLink::lostFrames() noexcept {
  tpacket_stats statistics = {};
  socklen_t size = sizeof statistics;
  // Reading the statistics sets the kernel's counts to zero.
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0) {
    lost_ += statistics.tp_drops;
  }
  return lost_;
}

}  // namespace sluice
