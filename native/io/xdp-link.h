#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/io/link.h"
#include "native/layout/layout.gen.h"

namespace sluice {

// A queue of an interface, and an AF_XDP socket for it that is not bound yet.
struct XdpSocket {
  int fd = -1;
  uint32_t queue = 0;
};

// Handoff state of one queue, from an XdpLink of another process.
struct XdpQueueHandoff {
  int fd = -1;
  int memory = -1;
  std::vector<uint32_t> words;
};

struct XdpLinkOptions {
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 1'500;
  // Whether frames may come straight from a network stack on this machine. Such a stack leaves
  // partial checksums for a card that does not exist. AF_XDP does not mark these frames, so they
  // are found by the value of the checksum field.
  bool findPartialChecksums = false;
};

// Queues of an existing interface, by AF_XDP in copy mode: rings shared with the kernel, without
// buffers in between. Superframes never arrive and cannot be sent.
//
// Owner:  the sockets. The XdpProgram (native/attach) directs frames to them.
// Source: Linux Documentation/networking/af_xdp.rst.
class XdpLink final : public Link {
 public:
  // Owner:  takes the descriptors, also when it fails.
  // Errors: Argument for an MTU larger than our frames; Limit when there is no memory; System.
  static Status create(std::span<const XdpSocket> sockets, const XdpLinkOptions& options,
                       std::unique_ptr<XdpLink>* link) noexcept;
  // Continues with a predecessor's queues.
  //
  // Owner:  takes the descriptors, also when it fails.
  // Errors: Argument when the descriptors are no such sockets, or the words are not an XdpLink's;
  //         Limit when there is no memory; System.
  static Status adopt(std::span<const XdpQueueHandoff> queues, const XdpLinkOptions& options,
                      std::unique_ptr<XdpLink>* link) noexcept;
  ~XdpLink() override;
  XdpLink(const XdpLink&) = delete;
  XdpLink& operator=(const XdpLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override;
  bool transmit(const Frame& frame) noexcept override;
  size_t flush() noexcept override;
  [[nodiscard]] bool hasUnsent() const noexcept override;
  [[nodiscard]] bool recover() noexcept override { return false; }
  [[nodiscard]] uint32_t interfaceIndex() const noexcept override;
  [[nodiscard]] uint64_t lostFrames() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] bool appendHandoff(std::vector<LinkHandoff>* queues) const override;
  [[nodiscard]] bool carriesOffload() const noexcept override { return false; }

 private:
  class Queue;

  explicit XdpLink(const XdpLinkOptions& options) noexcept;
  // Gives a link one more queue. Without a link, or memory, it closes the descriptors.
  static Status take(XdpLink* link, int fd, int memoryFd) noexcept;
  Status open(std::span<const XdpSocket> sockets) noexcept;
  Status watchQueues() noexcept;

  XdpLinkOptions options_;
  std::vector<std::unique_ptr<Queue>> queues_;  // sends by the first
  size_t nextQueue_ = 0;                        // asked first by receive()
  int poll_ = -1;                               // epoll set, when there are several queues
};

// Marks a frame's checksum as partial in its Offload when the checksum field holds the sum of the
// pseudo header, as a network stack leaves it. A complete checksum may have the same value by
// chance; completing it again does not change it.
//
// Shape: TCP and UDP right behind an IPv4 header or a bare IPv6 header; others are left alone.
void findPartialChecksum(Frame* frame) noexcept;

}  // namespace sluice
