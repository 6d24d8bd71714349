#pragma once

#include <cstddef>
#include <span>

#include "native/packet/frame.h"
#include "native/packet/status.h"

namespace sluice {

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

  // Queues a copy of `frame`; false when the link cannot take it now (full, down).
  virtual bool transmit(const Frame& frame) noexcept = 0;

  // Hands what was queued to the kernel: one system call a batch where the kernel allows it.
  virtual void flush() noexcept = 0;

  // The descriptor to poll for POLLIN, or -1 (memory).
  [[nodiscard]] virtual int descriptor() const noexcept = 0;

  // Whether transmit() takes frames with an Offload (partial checksum, superframes). Where it does
  // not, the worker finishes the work in software first.
  [[nodiscard]] virtual bool carriesOffload() const noexcept = 0;
};

}  // namespace sluice
