#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/io/wire-side.h"
#include "native/layout/layout.gen.h"
#include "native/packet/frame.h"
#include "native/packet/status.h"

namespace sluice {

// Handoff state of one queue of a link: what a successor process needs to continue with it.
//
// Shape: only the kind of link knows the meaning of `words`: the layout of the memory that it
//        shares with the kernel, and its position there.
// Owner: the link keeps the descriptors; the successor gets copies.
struct LinkHandoff {
  LinkKind kind = LinkKind::Tap;
  std::vector<int> descriptors;
  std::vector<uint32_t> words;
};

// An interface that frames arrive on and leave by: TAP, AF_PACKET, AF_XDP, memory.
//
// Threads: one thread at a time; a Worker owns its links while it runs.
// Cost:    no allocation and no lock in any of these calls.
class Link {
 public:
  virtual ~Link() = default;

  // Takes up to frames.size() frames that have arrived, without waiting; returns how many.
  // Owner: the link owns the frames' bytes, which are valid until release(). Call release() before
  //        the next receive().
  virtual size_t receive(std::span<Frame> frames) noexcept = 0;

  // Gives every frame of the last receive() back to the link.
  virtual void release() noexcept = 0;

  // Queues `frame` for sending; false when the link cannot take it now (full, down).
  // Owner: the caller leaves its bytes unchanged until flush(), which may be when the link copies
  //        them.
  virtual bool transmit(const Frame& frame) noexcept = 0;

  // Hands the queued frames to the kernel, a batch in one system call where the kernel allows it.
  // Returns how many queued frames the kernel refused.
  virtual size_t flush() noexcept = 0;

  // Whether the last flush() left frames that the kernel had no room for: another one is to follow.
  [[nodiscard]] virtual bool hasUnsent() const noexcept { return false; }

  // The descriptor to poll for POLLIN, or -1 (memory).
  [[nodiscard]] virtual int descriptor() const noexcept = 0;

  // Clears the error that polling the descriptor reported; false when the link is gone for good and
  // must not be polled any more.
  [[nodiscard]] virtual bool recover() noexcept { return true; }

  // Frames that the kernel lost before receive() could take them.
  // Threads: any, one at a time.
  [[nodiscard]] virtual uint64_t lostFrames() noexcept { return 0; }

  // The index of the interface that frames arrive on now. 0 once the interface is gone (deleted, or
  // moved to another namespace), and for links without one. Threads: any.
  [[nodiscard]] virtual uint32_t interfaceIndex() const noexcept { return 0; }

  // Appends the handoff state of each receive queue. Afterwards this link may continue only if no
  // successor does. False when this kind of link cannot be handed over (memory).
  [[nodiscard]] virtual bool appendHandoff(std::vector<LinkHandoff>*) const { return false; }

  // Whether programs can pass frames that arrive here to such a link, without this process.
  [[nodiscard]] virtual bool passesInKernel() const noexcept { return false; }
  // Tells those programs of the wire that the link is in. Errors: System.
  virtual Status passTo(const WirePartner&) noexcept { return {}; }
  // Of the interface, by one of the workers' links. Threads: any, one at a time.
  [[nodiscard]] virtual KernelCounts kernelCounts() const noexcept { return {}; }

  // Whether transmit() takes frames with an Offload (partial checksum, superframes). If not, the
  // worker does that work in software first.
  [[nodiscard]] virtual bool carriesOffload() const noexcept = 0;
};

}  // namespace sluice
