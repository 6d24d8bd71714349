#include "native/packet/quote.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr uint32_t ICMP_HEADER_BYTES = 8;
constexpr uint32_t TRANSPORT_BYTES_MIN = 8;

DropReason readTransport(const uint8_t* l4, uint32_t bytes, Quote* quote) {
  const uint8_t protocol = quote->key.protocol;
  const bool icmp = protocol == (quote->key.family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  const bool ported =
      protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
  if (!icmp && !ported) return DropReason::None;
  if (bytes < TRANSPORT_BYTES_MIN) return DropReason::RelatedTruncated;
  if (ported) {
    quote->key.sourcePort = load16(l4);
    quote->key.destinationPort = load16(l4 + 2);
    quote->sequence = load32(l4 + 4);
    return DropReason::None;
  }
  quote->icmpType = l4[0];
  quote->icmpRole = icmpRoleOf(quote->key.family, l4[0]);
  if (quote->icmpRole == IcmpRole::Request || quote->icmpRole == IcmpRole::Reply) {
    quote->key.sourcePort = load16(l4 + 4);
    quote->key.destinationPort = quote->key.sourcePort;
  }
  return DropReason::None;
}

DropReason readIpv4(const uint8_t* ip, uint32_t bytes, Quote* quote) {
  if (bytes < 20 || ip[0] >> 4 != 4) return DropReason::RelatedTruncated;
  const uint32_t headerBytes = (ip[0] & 0x0f) * 4u;
  const bool later = (load16(ip + 6) & 0x1fff) != 0;
  if (headerBytes < 20 || headerBytes > bytes || later) return DropReason::RelatedTruncated;
  quote->key.family = 4;
  quote->key.protocol = ip[9];
  std::copy_n(ip + 12, 4, quote->key.source.begin());
  std::copy_n(ip + 16, 4, quote->key.destination.begin());
  return readTransport(ip + headerBytes, bytes - headerBytes, quote);
}

DropReason readIpv6(const uint8_t* ip, uint32_t bytes, Quote* quote) {
  constexpr uint8_t FRAGMENT = 44;
  if (bytes < 40 || ip[0] >> 4 != 6) return DropReason::RelatedTruncated;
  quote->key.family = 6;
  std::copy_n(ip + 8, 16, quote->key.source.begin());
  std::copy_n(ip + 24, 16, quote->key.destination.begin());
  uint8_t next = ip[6];
  uint32_t at = 40;
  for (uint32_t headers = 0; headers < EXTENSION_HEADERS_MAX; ++headers) {
    // Hop-by-hop, routing, fragment, destination options; the others end the chain.
    if (next != 0 && next != 43 && next != FRAGMENT && next != 60) {
      quote->key.protocol = next;
      return readTransport(ip + at, bytes - at, quote);
    }
    if (bytes - at < 8) return DropReason::RelatedTruncated;
    const bool later = next == FRAGMENT && (load16(ip + at + 2) & 0xfff8) != 0;
    const uint32_t headerBytes = next == FRAGMENT ? 8 : (ip[at + 1] + 1u) * 8;
    if (later || bytes - at < headerBytes) return DropReason::RelatedTruncated;
    next = ip[at];
    at += headerBytes;
  }
  return DropReason::RelatedTruncated;
}

}  // namespace

DropReason parseQuote(const PacketView& view, Quote* quote) noexcept {
  *quote = Quote{};
  const uint8_t* ip = view.l4() + ICMP_HEADER_BYTES;
  const uint32_t bytes = view.l4Bytes - ICMP_HEADER_BYTES;
  return view.key.family == 4 ? readIpv4(ip, bytes, quote) : readIpv6(ip, bytes, quote);
}

}  // namespace sluice
