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

// Several PacketLinks of one interface, each of which gets a share of the frames.
struct FanoutGroup {
  uint16_t id = 0;                            // 0: not made yet
  std::span<const sock_filter> program = {};  // says whose a frame is, modulo the links
};

struct PacketLinkOptions {
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 1'500;
  // Superframes that may wait; many times as many ordinary frames where `largeBuffers` are given.
  // 0: the link only sends.
  uint32_t slots = 0;
  // For superframes, where the socket may queue them beside the ring: its slots are then no larger
  // than an ordinary frame. Else each slot holds a superframe.
  std::shared_ptr<FrameBuffers> largeBuffers;
};

// An existing interface, by AF_PACKET: frames come in by a ring shared with the kernel, and go out
// from where they lie, a batch a system call.
//
// A slot that holds any frame takes 64 KiB, of which an ordinary frame uses a fortieth, and a few
// hundred of them overflow when such frames come in bursts. So the slots are small where we may
// have a queue beside them, from which a superframe costs one more system call.
//
// There is no transmit ring: over veth the kernel copies from a ring as well as from user memory,
// so it would only add a copy of ours, 64 KiB for a superframe (docs/decisions/0007).
//
// Owner:  the socket; what it changed at the interface (promiscuous mode) goes with it.
// Source: Linux Documentation/networking/packet_mmap.rst, TPACKET_V2.
class PacketLink final : public Link {
 public:
  // Shape:  `fd` is a TPACKET_V2 socket with Offload headers, not bound. With `group` it takes its
  //         share, in the order of creation; the first link makes the group.
  // Owner:  takes `fd`, also when it fails.
  // Errors: System.
  static Status create(int fd, const PacketLinkOptions& options, FanoutGroup* group,
                       std::unique_ptr<PacketLink>* link) noexcept;
  // Goes on where another process's link has got to. Unless it `receives`, it only sends, beside
  // another link with a copy of the descriptor. A `program` replaces what the group goes by.
  //
  // Owner:  takes `fd`, also when it fails.
  // Errors: Argument when it is no such socket of this interface, or the words are not its own;
  //         System.
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
  uint32_t taken_ = 0;  // slots before it that are ours until release()
  uint64_t lost_ = 0;

  size_t queued_ = 0;
  std::array<Offload, BATCH_FRAMES_MAX> offloads_ = {};
  std::array<iovec, BATCH_FRAMES_MAX * 2> parts_ = {};
  std::array<mmsghdr, BATCH_FRAMES_MAX> messages_ = {};
  size_t refused_ = 0;
};

}  // namespace sluice
