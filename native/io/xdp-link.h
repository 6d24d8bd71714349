#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/io/link.h"
#include "native/layout/layout.gen.h"

namespace sluice {

// One of an interface's queues and the AF_XDP socket for it, not bound.
struct XdpSocket {
  int fd = -1;
  uint32_t queue = 0;
};

// What an XdpLink of another process had of a queue.
struct XdpQueueHandoff {
  int fd = -1;
  int memory = -1;
  std::vector<uint32_t> words;
};

struct XdpLinkOptions {
  uint32_t interfaceIndex = 0;
  uint32_t mtu = 1'500;
  // Whether frames may come straight from a stack on this machine, which leaves their checksums to
  // a card that is not there. AF_XDP does not say which; they are found by what stands in the
  // field.
  bool findPartialChecksums = false;
};

// Some of an existing interface's queues, by AF_XDP in copy mode: rings shared with the kernel, and
// no buffers of its own in between. Superframes never come in, and cannot go out.
//
// Owner:  the sockets. What leads frames to them is the XdpProgram's (native/attach).
// Source: Linux Documentation/networking/af_xdp.rst.
class XdpLink final : public Link {
 public:
  // Owner:  takes the descriptors, also when it fails.
  // Errors: Argument for an MTU that no frame of ours holds; System.
  static Status create(std::span<const XdpSocket> sockets, const XdpLinkOptions& options,
                       std::unique_ptr<XdpLink>* link) noexcept;
  // Goes on with another process's queues.
  //
  // Owner:  takes the descriptors, also when it fails.
  // Errors: Argument when they are no such sockets, or the words are not its own; System.
  static Status adopt(std::span<const XdpQueueHandoff> queues, const XdpLinkOptions& options,
                      std::unique_ptr<XdpLink>* link) noexcept;
  ~XdpLink() override;
  XdpLink(const XdpLink&) = delete;
  XdpLink& operator=(const XdpLink&) = delete;

  size_t receive(std::span<Frame> frames) noexcept override;
  void release() noexcept override;
  bool transmit(const Frame& frame) noexcept override;
  size_t flush() noexcept override;
  [[nodiscard]] bool recover() noexcept override { return false; }
  [[nodiscard]] uint32_t interfaceIndex() const noexcept override;
  [[nodiscard]] uint64_t lostFrames() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] bool appendHandoff(std::vector<LinkHandoff>* queues) const override;
  [[nodiscard]] bool carriesOffload() const noexcept override { return false; }

 private:
  class Queue;

  explicit XdpLink(const XdpLinkOptions& options) noexcept;
  Status open(std::span<const XdpSocket> sockets) noexcept;
  Status watchQueues() noexcept;

  XdpLinkOptions options_;
  std::vector<std::unique_ptr<Queue>> queues_;  // sends by the first
  size_t nextQueue_ = 0;                        // that is asked first
  int poll_ = -1;                               // of all queues, when there are several
};

// Makes a frame's Offload say that its checksum is partial, when the field holds the sum of the
// pseudo header, as a stack leaves it there. A whole checksum that happens to be the same number
// comes out of completing it unchanged.
//
// Shape: TCP and UDP right behind an IPv4 header or a bare IPv6 header; others are left alone.
void findPartialChecksum(Frame* frame) noexcept;

}  // namespace sluice
