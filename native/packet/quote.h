#pragma once

#include <cstdint>

#include "native/packet/packet-view.h"

namespace sluice {

// The packet that an ICMP or ICMPv6 error is about, as far as the error quotes it.
struct Quote {
  FlowKey key = {};
  IcmpRole icmpRole = IcmpRole::None;
  uint8_t icmpType = 0;
  uint32_t sequence = 0;  // TCP
};

// Reads the packet that an error message quotes.
//
// Shape:  `view` has been through parseTransport() and its icmpRole is Error. The quote may be cut
//         anywhere behind the first eight bytes of layer 4. Its header checksum is not looked at:
//         hosts and routers have changed the header before they quote it.
// Errors: RelatedTruncated when it is cut before that, broken, of another family, or a later
//         fragment, which has no ports.
// Source: RFC 792, RFC 1122 section 3.2.2, RFC 4443 section 2.4, RFC 5508 section 4.
[[nodiscard]] DropReason parseQuote(const PacketView& view, Quote* quote) noexcept;

}  // namespace sluice
