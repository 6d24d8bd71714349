#include "native/packet/finish-offload.h"

#include <algorithm>
#include <cstring>

#include "native/packet/bytes.h"
#include "native/packet/packet-view.h"

namespace sluice {
namespace {

constexpr uint8_t GSO_TCP_V4 = 1;
constexpr uint8_t GSO_TCP_V6 = 4;
constexpr uint8_t GSO_UDP = 5;
constexpr uint8_t GSO_ECN = 0x80;

constexpr uint32_t IPV4_HEADER_BYTES_MIN = 20;
constexpr uint32_t IPV6_HEADER_BYTES = 40;
constexpr uint32_t TCP_HEADER_BYTES_MIN = 20;
constexpr uint32_t UDP_HEADER_BYTES = 8;
constexpr uint32_t TCP_CHECKSUM_OFFSET = 16;
constexpr uint32_t UDP_CHECKSUM_OFFSET = 6;
constexpr uint8_t TCP_CWR = 0x80;

void store16(uint8_t* bytes, uint16_t value) noexcept {
  bytes[0] = static_cast<uint8_t>(value >> 8);
  bytes[1] = static_cast<uint8_t>(value);
}

void store32(uint8_t* bytes, uint32_t value) noexcept {
  store16(bytes, static_cast<uint16_t>(value >> 16));
  store16(bytes + 2, static_cast<uint16_t>(value));
}

// Adds bytes to a ones' complement sum, in the machine's byte order: the sum does not depend on it.
uint64_t addTo(uint64_t sum, const uint8_t* bytes, size_t count) noexcept {
  for (; count >= 4; count -= 4, bytes += 4) {
    uint32_t word = 0;
    std::memcpy(&word, bytes, 4);
    sum += word;
  }
  uint8_t rest[4] = {};
  std::memcpy(rest, bytes, count);
  uint32_t word = 0;
  std::memcpy(&word, rest, 4);
  return sum + word;
}

// Folds a sum and complements it. The result is stored without a byte swap.
uint16_t folded(uint64_t sum) noexcept {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void storeChecksum(uint8_t* field, uint16_t checksum) noexcept {
  std::memcpy(field, &checksum, sizeof checksum);
}

}  // namespace

uint16_t transportChecksum(const uint8_t* ip, uint8_t family, uint8_t protocol, const uint8_t* l4,
                           uint32_t l4Bytes) noexcept {
  const bool v4 = family == 4;
  uint8_t tail[8] = {};
  store32(tail, l4Bytes);
  tail[7] = protocol;
  const uint64_t pseudoHeader = addTo(addTo(0, ip + (v4 ? 12 : 8), v4 ? 8 : 32), tail, 8);
  return folded(addTo(pseudoHeader, l4, l4Bytes));
}

bool completeChecksum(Frame* frame) noexcept {
  const Offload& offload = frame->offload;
  if ((offload.flags & OFFLOAD_NEEDS_CHECKSUM) == 0) return true;
  const uint32_t start = offload.checksumStart;
  if (start + offload.checksumOffset + 2u > frame->length) return false;
  auto* bytes = reinterpret_cast<uint8_t*>(frame->bytes);
  // The field holds the sum of the pseudo header already.
  uint16_t checksum = folded(addTo(0, bytes + start, frame->length - start));
  // In UDP, zero means "no checksum"; 0xffff is the same number in ones' complement.
  if (checksum == 0 && offload.checksumOffset == UDP_CHECKSUM_OFFSET) checksum = 0xffff;
  storeChecksum(bytes + start + offload.checksumOffset, checksum);
  frame->offload = {};
  return true;
}

bool Segmenter::start(const Frame& frame) noexcept {
  const uint8_t type = frame.offload.gsoType & static_cast<uint8_t>(~GSO_ECN);
  if (type != GSO_TCP_V4 && type != GSO_TCP_V6 && type != GSO_UDP) return false;
  if (frame.offload.gsoSize == 0 || frame.length < ETHERNET_HEADER_BYTES + 1) return false;
  const auto* bytes = reinterpret_cast<const uint8_t*>(frame.bytes);
  const uint8_t version = bytes[ETHERNET_HEADER_BYTES] >> 4;
  if (version != (type == GSO_TCP_V4 ? 4 : type == GSO_TCP_V6 ? 6 : version)) return false;
  v4_ = version == 4;
  tcp_ = type != GSO_UDP;
  if (!v4_ && version != 6) return false;
  l4Offset_ = frame.offload.checksumStart;
  const uint32_t ipBytesMin = v4_ ? IPV4_HEADER_BYTES_MIN : IPV6_HEADER_BYTES;
  const uint32_t l4BytesMin = tcp_ ? TCP_HEADER_BYTES_MIN : UDP_HEADER_BYTES;
  if (l4Offset_ < ETHERNET_HEADER_BYTES + ipBytesMin) return false;
  if (l4Offset_ + l4BytesMin > frame.length) return false;
  const uint32_t l4HeaderBytes = tcp_ ? (bytes[l4Offset_ + 12] >> 4) * 4u : UDP_HEADER_BYTES;
  if (l4HeaderBytes < l4BytesMin) return false;
  headerBytes_ = l4Offset_ + l4HeaderBytes;
  if (headerBytes_ >= frame.length) return false;
  if (headerBytes_ + frame.offload.gsoSize > scratch_.size()) return false;
  whole_ = frame;
  done_ = 0;
  index_ = 0;
  used_ = 0;
  return true;
}

Segmenter::Step Segmenter::next(Frame* segment) noexcept {
  const uint32_t payload = whole_.length - headerBytes_;
  if (done_ == payload) return Step::Done;
  const uint32_t size = std::min<uint32_t>(whole_.offload.gsoSize, payload - done_);
  const uint32_t length = headerBytes_ + size;
  if (used_ + length > scratch_.size()) return Step::NoRoom;
  std::byte* const at = scratch_.data() + used_;
  std::memcpy(at, whole_.bytes, headerBytes_);
  std::memcpy(at + headerBytes_, whole_.bytes + headerBytes_ + done_, size);
  used_ += length;

  auto* const bytes = reinterpret_cast<uint8_t*>(at);
  uint8_t* const ip = bytes + ETHERNET_HEADER_BYTES;
  if (v4_) {
    store16(ip + 2, static_cast<uint16_t>(length - ETHERNET_HEADER_BYTES));
    store16(ip + 4, static_cast<uint16_t>(load16(ip + 4) + index_));
    storeChecksum(ip + 10, 0);
    storeChecksum(ip + 10, folded(addTo(0, ip, l4Offset_ - ETHERNET_HEADER_BYTES)));
  } else {
    store16(ip + 4, static_cast<uint16_t>(length - ETHERNET_HEADER_BYTES - IPV6_HEADER_BYTES));
  }
  uint8_t* const l4 = bytes + l4Offset_;
  const uint32_t l4Bytes = length - l4Offset_;
  if (tcp_) {
    const bool last = done_ + size == payload;
    store32(l4 + 4, load32(l4 + 4) + done_);
    if (!last) l4[13] &= static_cast<uint8_t>(~(TCP_FIN | TCP_PSH));
    if (index_ > 0) l4[13] &= static_cast<uint8_t>(~TCP_CWR);
  } else {
    store16(l4 + 4, static_cast<uint16_t>(l4Bytes));
  }
  uint8_t* const field = l4 + (tcp_ ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
  storeChecksum(field, 0);
  const uint8_t protocol = tcp_ ? PROTOCOL_TCP : PROTOCOL_UDP;
  uint16_t checksum = transportChecksum(ip, v4_ ? 4 : 6, protocol, l4, l4Bytes);
  if (checksum == 0 && !tcp_) checksum = 0xffff;
  storeChecksum(field, checksum);

  *segment = {};
  segment->bytes = at;
  segment->length = length;
  done_ += size;
  ++index_;
  return Step::Made;
}

}  // namespace sluice
