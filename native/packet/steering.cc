#include "native/packet/steering.h"

#include "native/packet/bytes.h"
#include "native/packet/neighbor.h"
#include "native/packet/packet-view.h"
#include "native/packet/quote.h"

namespace sluice {
namespace {

constexpr uint32_t IPV4_BYTES_MIN = 20;
constexpr uint32_t IPV6_BYTES = 40;
constexpr uint32_t IPV4_ADDRESSES = 12;
constexpr uint32_t IPV6_ADDRESSES = 8;

uint32_t foldWords(const uint8_t* bytes, uint32_t count) noexcept {
  uint32_t folded = 0;
  for (uint32_t at = 0; at < count; at += 4) folded ^= load32(bytes + at);
  return folded;
}

// The addresses of a key are 16 bytes each; an IPv4 address is in the first four, then zeros.
uint32_t foldKey(const FlowKey& key) noexcept {
  return foldWords(key.source.data(), 16) ^ foldWords(key.destination.data(), 16);
}

// Whether an IPv6 packet of `bytes` bytes is a neighbour or listener message in the form that
// policy does not judge: right after the fixed header, or after one extension header of eight
// bytes.
bool isLinkMessage(const uint8_t* ip, uint32_t bytes) noexcept {
  uint32_t at = IPV6_BYTES;
  uint8_t next = ip[6];
  if (next == 0 && bytes > at + 8 && ip[at + 1] == 0) {
    next = ip[at];
    at += 8;
  }
  return next == PROTOCOL_ICMPV6 && bytes > at && isLinkType(ip[at]);
}

}  // namespace

uint32_t Steering::workerOf(const Frame& frame, uint32_t own) const noexcept {
  const auto* bytes = reinterpret_cast<const uint8_t*>(frame.bytes);
  if (frame.length < ETHERNET_HEADER_BYTES + IPV4_BYTES_MIN) return own;
  const uint8_t* const ip = bytes + ETHERNET_HEADER_BYTES;
  const uint16_t etherType = load16(bytes + 12);
  if (etherType == 0x0806) return 0;
  uint32_t folded = 0;
  bool maybeError = false;
  if (etherType == 0x0800) {
    folded = foldWords(ip + IPV4_ADDRESSES, 8);
    maybeError = ip[9] == PROTOCOL_ICMP;
  } else if (etherType == 0x86dd && frame.length >= ETHERNET_HEADER_BYTES + IPV6_BYTES) {
    folded = foldWords(ip + IPV6_ADDRESSES, 32);
    // ICMPv6 may follow extension headers, too.
    maybeError = ip[6] != PROTOCOL_TCP && ip[6] != PROTOCOL_UDP;
    if (maybeError && isLinkMessage(ip, frame.length - ETHERNET_HEADER_BYTES)) return 0;
  } else {
    return own;
  }
  if (maybeError) {
    PacketView view;
    Quote quote;
    if (parsePacket(frame, &view) == DropReason::None && !view.fragmented &&
        parseTransport(&view) == DropReason::None && view.icmpRole == IcmpRole::Error &&
        parseQuote(view, &quote) == DropReason::None) {
      folded = foldKey(quote.key);
    }
  }
  return workerOfPair(folded);
}

uint32_t Steering::workerOfKey(const FlowKey& key) const noexcept {
  return workerOfPair(foldKey(key));
}

}  // namespace sluice
