#pragma once

#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <utility>

#include "native/io/frame-buffers.h"
#include "native/io/link.h"
#include "native/layout/layout.gen.h"

namespace sluice {

// The index of the interface that a packet socket is bound to; 0 after it was deleted or moved to
// another namespace.
[[nodiscard]] uint32_t boundInterface(int packetSocket) noexcept;

// Several PacketLinks of one interface, each of which gets a share of the frames.
struct FanoutGroup {
  uint16_t id = 0;                            // 0: not made yet
  std::span<const sock_filter> program = {};  // returns a frame's link, modulo their number
};

struct PacketLinkOptions {
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 1'500;
  // Superframes that may wait in the ring; with `largeBuffers`, many times as many ordinary frames.
  // 0: the link only sends.
  uint32_t slots = 0;
  // Buffers for superframes, when the socket may queue them beside the ring: a slot then holds an
  // ordinary frame only. Without them each slot holds a superframe.
  std::shared_ptr<FrameBuffers> largeBuffers;
};

// An existing interface, by AF_PACKET. Frames arrive in a ring shared with the kernel. They are
// sent from the memory where they lie, a batch in one system call.
//
// A slot that holds any frame takes 64 KiB, of which an ordinary frame uses a fortieth, and a burst
// of ordinary frames overflows a few hundred such slots. So the slots are small if the socket may
// queue superframes beside the ring; each of these costs one more system call.
//
// There is no transmit ring. Over veth the kernel copies from a ring just as from user memory, so a
// ring would only add a copy of our own, 64 KiB for a superframe (docs/decisions/0007).
//
// Owner:  the socket; the promiscuous mode that it set ends with it.
// Source: Linux Documentation/networking/packet_mmap.rst, TPACKET_V2.
class PacketLink final : public Link {
 public:
  // Shape:  `fd` is a TPACKET_V2 socket with Offload headers, not bound. With `group` it joins the
  //         group and gets its share; links are numbered in the order of creation. The first link
  //         makes the group.
  // Owner:  takes `fd`, also when it fails.
  // Errors: System.
  static Status create(int fd, const PacketLinkOptions& options, FanoutGroup* group,
                       std::unique_ptr<PacketLink>* link) noexcept;
  // Continues where a predecessor's link stopped. Without `receives` it only sends; another link
  // has a copy of the descriptor and receives. A `program` replaces the group's program.
  //
  // Owner:  takes `fd`, also when it fails.
  // Errors: Argument when `fd` is no such socket of this interface, or `words` are not a
  //         PacketLink's; System.
  static Status adopt(int fd, std::span<const uint32_t> words, uint32_t interfaceIndex,
                      bool receives, std::shared_ptr<FrameBuffers> largeBuffers,
                      std::span<const sock_filter> program,
                      std::unique_ptr<PacketLink>* link) noexcept;
  ~PacketLink() override;
  PacketLink(const PacketLink&) = delete;
  PacketLink& operator=(const PacketLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override;
  bool transmit(const Frame& frame) noexcept override;
  size_t flush() noexcept override;
  [[nodiscard]] bool recover() noexcept override;
  [[nodiscard]] uint32_t interfaceIndex() const noexcept override;
  [[nodiscard]] uint64_t lostFrames() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override { return slots_ > 0 ? fd_ : -1; }
  [[nodiscard]] bool appendHandoff(std::vector<LinkHandoff>* queues) const override;
  [[nodiscard]] bool carriesOffload() const noexcept override { return true; }

 private:
  PacketLink(int fd, std::shared_ptr<FrameBuffers> largeBuffers) noexcept
      : fd_(fd), largeBuffers_(std::move(largeBuffers)) {}
  Status open(const PacketLinkOptions& options, FanoutGroup* group) noexcept;
  Status makeRing(const PacketLinkOptions& options) noexcept;
  Status adoptRing(std::span<const uint32_t> words) noexcept;
  Status mapRing() noexcept;
  void prepareMessages() noexcept;
  Status setProgram(std::span<const sock_filter> program) noexcept;
  void receiveLarge(size_t index, Frame* frame) noexcept;
  Status bindTo(uint32_t interfaceIndex, uint16_t protocol) noexcept;
  Status joinGroup(FanoutGroup* group) noexcept;
  [[nodiscard]] std::byte* slot(uint32_t index) const noexcept;

  int fd_;
  std::byte* ring_ = nullptr;
  size_t ringBytes_ = 0;
  std::shared_ptr<FrameBuffers> largeBuffers_;
  uint32_t slotBytes_ = 0;
  uint32_t slotsPerBlock_ = 0;
  uint32_t slots_ = 0;
  uint32_t next_ = 0;   // slot that the kernel fills next
  uint32_t taken_ = 0;  // slots before it that we hold until release()
  uint64_t lost_ = 0;

  size_t queued_ = 0;
  std::array<Offload, BATCH_FRAMES_MAX> offloads_ = {};
  std::array<iovec, BATCH_FRAMES_MAX * 2> parts_ = {};
  std::array<mmsghdr, BATCH_FRAMES_MAX> messages_ = {};
  size_t refused_ = 0;
};

}  // namespace sluice
