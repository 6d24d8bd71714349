#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice {

// A frame's offload header: the work that is still to do on the frame, in software or by a network
// card.
//
// Shape:  the layout of struct virtio_net_hdr (10 bytes), little-endian.
// Source: Virtual I/O Device (VIRTIO) 1.1, section 5.1.6.
struct Offload {
  uint8_t flags;            // bit 0: the checksum at checksumStart + checksumOffset is partial
  uint8_t gsoType;          // 0 none, 1 TCP over IPv4, 4 TCP over IPv6, 5 UDP; 0x80: ECN
  uint16_t headerBytes;     // length of all headers of a superframe; a hint
  uint16_t gsoSize;         // payload bytes of each segment of a superframe
  uint16_t checksumStart;   // bytes from the start of the frame
  uint16_t checksumOffset;  // bytes from checksumStart
};
static_assert(sizeof(Offload) == 10);

inline constexpr uint8_t OFFLOAD_NEEDS_CHECKSUM = 1;

// A frame as a Link handed it over, starting at its Ethernet header.
//
// Owner: the Link that received it keeps `bytes` valid, and writable, until its next release().
struct Frame {
  std::byte* bytes = nullptr;
  uint32_t length = 0;
  Offload offload = {};
  uint16_t vlanTci = 0;
  bool vlanTagged = false;  // the tag was taken out of the frame and is in vlanTci
  bool headroom = false;    // writable room for an Offload before `bytes`
  bool truncated = false;   // the slot was too small: `bytes` is not the whole frame
};

// The highest number of segments that a superframe is cut into; 0 for other frames.
[[nodiscard]] inline uint32_t segmentsOf(const Frame& frame) noexcept {
  const Offload& offload = frame.offload;
  return offload.gsoType == 0 || offload.gsoSize == 0 ? 0 : frame.length / offload.gsoSize + 1;
}

}  // namespace sluice
