#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/packet/frame.h"

namespace sluice {

// Does the work of a frame's offload header in software, when the outgoing link cannot.
//
// Source: RFC 1071 (checksum), RFC 9293, RFC 768.

// Completes a frame's partial checksum in place, if it has one. Not for superframes.
//
// Errors: false when the header points outside the frame; nothing is changed then.
[[nodiscard]] bool completeChecksum(Frame* frame) noexcept;

// The checksum of a TCP, UDP or ICMPv6 message whose own field is zero, as it is stored.
//
// Shape: `ip` is the header of the family; for UDP, 0 has to be stored as 0xffff.
[[nodiscard]] uint16_t transportChecksum(const uint8_t* ip, uint8_t family, uint8_t protocol,
                                         const uint8_t* l4, uint32_t l4Bytes) noexcept;

// Cuts a superframe (TCP, or UDP of equal datagrams) into frames that a wire can carry.
//
// Owner: the segments lie in `scratch`, until the next start().
class Segmenter {
 public:
  explicit Segmenter(std::span<std::byte> scratch) noexcept : scratch_(scratch) {}

  // Errors: false when the frame is not one that can be cut, or its headers do not fit.
  [[nodiscard]] bool start(const Frame& frame) noexcept;

  enum class Step { Made, NoRoom, Done };

  // Makes the next segment with its checksums. NoRoom: send the segments made so far, call reuse(),
  // and try again.
  [[nodiscard]] Step next(Frame* segment) noexcept;
  void reuse() noexcept { used_ = 0; }

 private:
  std::span<std::byte> scratch_;
  size_t used_ = 0;
  Frame whole_;
  uint32_t l4Offset_ = 0;
  uint32_t headerBytes_ = 0;
  uint32_t done_ = 0;  // payload bytes in segments so far
  uint32_t index_ = 0;
  bool v4_ = false;
  bool tcp_ = false;
};

}  // namespace sluice
