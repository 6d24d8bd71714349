#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/layout/layout.gen.h"
#include "native/packet/frame.h"
#include "native/packet/status.h"

namespace sluice {

// What another process needs to go on with one of a link's queues.
//
// Shape: `words` are the link's own affair: how it shares memory with the kernel, and how far it
//        has got there.
// Owner: the descriptors stay the link's; whoever goes on has copies.
struct LinkHandoff {
  LinkKind kind = LinkKind::Tap;
  std::vector<int> descriptors;
  std::vector<uint32_t> words;
};

// An interface that frames come in by and go out by: TAP, AF_PACKET, AF_XDP, memory.
//
// Threads: one thread at a time; a Worker owns its links while it runs.
// Cost:    no allocation and no lock in any of these calls.
class Link {
 public:
  virtual ~Link() = default;

  // Takes up to frames.size() frames that have arrived, without waiting; returns how many.
  // Owner: their bytes are the link's, valid until release(). Call release() before the next one.
  virtual size_t receive(std::span<Frame> frames) noexcept = 0;

  // Gives every frame of the last receive() back to the link.
  virtual void release() noexcept = 0;

  // Queues `frame`; false when the link cannot take it now (full, down).
  // Owner: its bytes stay as they are until flush(): a link may copy them then, and not before.
  virtual bool transmit(const Frame& frame) noexcept = 0;

  // Hands what was queued to the kernel: one system call a batch where the kernel allows it.
  // Returns how many queued frames were refused after all.
  virtual size_t flush() noexcept = 0;

  // The descriptor to poll for POLLIN, or -1 (memory).
  [[nodiscard]] virtual int descriptor() const noexcept = 0;

  // Clears the error that polling the descriptor reported; false when the link is gone for good,
  // and is not to be polled any more.
  [[nodiscard]] virtual bool recover() noexcept { return true; }

  // Frames that arrived and that the kernel could not keep until receive().
  // Threads: any, one at a time.
  [[nodiscard]] virtual uint64_t lostFrames() noexcept { return 0; }

  // The index of the interface that frames come in by now; 0 once that has gone (deleted, or moved
  // to another namespace), and for links that have none. Threads: any.
  [[nodiscard]] virtual uint32_t interfaceIndex() const noexcept { return 0; }

  // Says what a successor needs, for each queue that frames come in by. This link may go on only
  // where nobody else has. False when it cannot be handed on (memory).
  [[nodiscard]] virtual bool appendHandoff(std::vector<LinkHandoff>*) const { return false; }

  // Whether transmit() takes frames with an Offload (partial checksum, superframes). Where it does
  // not, the worker finishes the work in software first.
  [[nodiscard]] virtual bool carriesOffload() const noexcept = 0;
};

}  // namespace sluice
