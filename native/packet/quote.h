#pragma once

#include <cstdint>

#include "native/packet/packet-view.h"

namespace sluice {

// The packet that an ICMP or ICMPv6 error reports, as far as the error quotes it.
struct Quote {
  FlowKey key = {};
  IcmpRole icmpRole = IcmpRole::None;
  uint8_t icmpType = 0;
  uint32_t sequence = 0;  // TCP
};

// Reads the packet that an error message quotes.
//
// Shape:  `view` has been through parseTransport() and its icmpRole is Error. The quote may end
//         anywhere after the first eight bytes of layer 4. Its header checksum is not checked:
//         hosts and routers change the header before they quote it.
// Errors: RelatedTruncated when the quote ends before that, is malformed, is of another family, or
//         is a later fragment, which has no ports.
// Source: RFC 792, RFC 1122 section 3.2.2, RFC 4443 section 2.4, RFC 5508 section 4.
[[nodiscard]] DropReason parseQuote(const PacketView& view, Quote* quote) noexcept;

}  // namespace sluice
