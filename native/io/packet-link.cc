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

// Before a frame in its slot: the ring's header, the Offload header, and alignment.
constexpr size_t SLOT_HEAD_BYTES = 128;
constexpr size_t SLOT_BYTES = (SLOT_HEAD_BYTES + FRAME_BYTES_MAX + TPACKET_ALIGNMENT - 1) /
                              TPACKET_ALIGNMENT * TPACKET_ALIGNMENT;
// The kernel allocates block by block; larger ones waste less behind their last slot.
constexpr size_t BLOCK_BYTES = 1 << 20;
constexpr size_t SLOTS_PER_BLOCK = BLOCK_BYTES / SLOT_BYTES;
static_assert(SLOTS_PER_BLOCK > 1);
// Named here since older headers lack it: a group does not look at its members' own option.
constexpr int FANOUT_IGNORE_OUTGOING = 0x4000;

// The word that says whose a slot is: written by the kernel while we look.
uint32_t statusOf(std::byte* slot) noexcept {
  auto* header = reinterpret_cast<tpacket2_hdr*>(slot);
  return std::atomic_ref<uint32_t>(header->tp_status).load(std::memory_order_acquire);
}

void giveBack(std::byte* slot) noexcept {
  auto* header = reinterpret_cast<tpacket2_hdr*>(slot);
  std::atomic_ref<uint32_t>(header->tp_status).store(TP_STATUS_KERNEL, std::memory_order_release);
}

}  // namespace

Status PacketLink::create(int fd, uint32_t interfaceIndex, uint32_t slots, FanoutGroup* group,
                          std::unique_ptr<PacketLink>* link) noexcept {
  std::unique_ptr<PacketLink> made(new (std::nothrow) PacketLink(fd));
  if (made == nullptr) {
    close(fd);
    return {StatusCode::Limit};
  }
  const Status status = made->open(interfaceIndex, slots, group);
  if (status.ok()) *link = std::move(made);
  return status;
}

Status PacketLink::open(uint32_t interfaceIndex, uint32_t slots, FanoutGroup* group) noexcept {
  if (slots > 65'536) return {StatusCode::Argument};
  for (size_t index = 0; index < messages_.size(); ++index) {
    parts_[index * 2] = {&offloads_[index], sizeof(Offload)};
    messages_[index].msg_hdr.msg_iov = &parts_[index * 2];
    messages_[index].msg_hdr.msg_iovlen = 2;
  }
  // Protocol 0 receives nothing.
  if (slots == 0) return bindTo(interfaceIndex, 0);
  if (const Status status = makeRing(slots); !status.ok()) return status;

  // All frames, whomever they are for, and of every protocol: what we do not see is not judged.
  packet_mreq membership = {};
  membership.mr_ifindex = static_cast<int>(interfaceIndex);
  membership.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) {
    return Status::system("PACKET_ADD_MEMBERSHIP", errno);
  }
  if (group == nullptr) return bindTo(interfaceIndex, ETH_P_ALL);
  // Between bind() and its place in the group it would get every frame, and so some twice.
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

Status PacketLink::makeRing(uint32_t slots) noexcept {
  tpacket_req request = {};
  request.tp_block_size = BLOCK_BYTES;
  request.tp_frame_size = SLOT_BYTES;
  request.tp_block_nr = static_cast<unsigned>((slots + SLOTS_PER_BLOCK - 1) / SLOTS_PER_BLOCK);
  request.tp_frame_nr = static_cast<unsigned>(request.tp_block_nr * SLOTS_PER_BLOCK);
  if (setsockopt(fd_, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0) {
    return Status::system("PACKET_RX_RING", errno);
  }
  slots_ = request.tp_frame_nr;
  ringBytes_ = static_cast<size_t>(request.tp_block_nr) * BLOCK_BYTES;
  void* memory = mmap(nullptr, ringBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (memory == MAP_FAILED) return Status::system("mmap", errno);
  ring_ = static_cast<std::byte*>(memory);
  return {};
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
  const sock_fprog program = {static_cast<uint16_t>(group->program.size()),
                              const_cast<sock_filter*>(group->program.data())};
  if (setsockopt(fd_, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof program) != 0) {
    return Status::system("PACKET_FANOUT_DATA", errno);
  }
  return {};
}

PacketLink::~PacketLink() {
  if (ring_ != nullptr) munmap(ring_, ringBytes_);
  close(fd_);
}

std::byte* PacketLink::slot(uint32_t index) const noexcept {
  return ring_ + index / SLOTS_PER_BLOCK * BLOCK_BYTES + index % SLOTS_PER_BLOCK * SLOT_BYTES;
}

size_t PacketLink::receive(std::span<Frame> frames) noexcept {
  size_t count = 0;
  const size_t wanted = std::min<size_t>(frames.size(), slots_);
  while (count < wanted) {
    std::byte* const at = slot(next_);
    const uint32_t status = statusOf(at);
    if ((status & TP_STATUS_USER) == 0) break;
    const auto* header = reinterpret_cast<const tpacket2_hdr*>(at);
    Frame& frame = frames[count++];
    frame = {};
    frame.bytes = at + header->tp_mac;
    frame.length = header->tp_snaplen;
    frame.truncated = header->tp_snaplen < header->tp_len;
    frame.vlanTagged = (status & TP_STATUS_VLAN_VALID) != 0;
    frame.vlanTci = frame.vlanTagged ? header->tp_vlan_tci : uint16_t{0};
    std::memcpy(&frame.offload, frame.bytes - sizeof(Offload), sizeof(Offload));
    next_ = next_ + 1 == slots_ ? 0 : next_ + 1;
  }
  taken_ = static_cast<uint32_t>(count);
  return count;
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

uint64_t PacketLink::lostFrames() noexcept {
  tpacket_stats statistics = {};
  socklen_t size = sizeof statistics;
  // Reading them sets the kernel's counts to zero.
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0) {
    lost_ += statistics.tp_drops;
  }
  return lost_;
}

}  // namespace sluice
