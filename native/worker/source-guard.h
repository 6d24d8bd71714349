#pragma once

#include "native/layout/layout.gen.h"
#include "native/packet/packet-view.h"
#include "native/table/table-slot.h"
#include "native/worker/filter.h"

namespace sluice {

// Whether a local endpoint is on this side of an uplink: behind its wire, or on any link of a
// switch. Endpoints of other wires count as remote: their packets arrive by the uplink like any
// other host's.
[[nodiscard]] bool isHere(uint32_t endpoint, const LinkContext& from,
                          const TableInForce& table) noexcept;

// Checks the Ethernet source against the MAC behind the link.
//
// Errors: SpoofedMac.
[[nodiscard]] DropReason guardEthernet(const PacketView& view, const LinkContext& from) noexcept;

// Whether a frame from an uplink is for a host other than the one behind the wire, or combines a
// unicast IP destination with a group Ethernet destination.
//
// Source: RFC 1122 section 3.3.6.
[[nodiscard]] bool isMisdirected(const PacketView& view, const LinkContext& from) noexcept;

// Checks that an ARP packet claims no address and no MAC of the other side, and carries no other
// MAC than it needs.
//
// Errors: SpoofedArp, MalformedArp.
// Source: RFC 5227 section 2.
[[nodiscard]] DropReason guardArp(const PacketView& view, const LinkContext& from,
                                  const TableInForce& table) noexcept;

// Checks an IP source address: an endpoint sends from its own address, an uplink never from a local
// endpoint's.
//
// Shape:  `endpoint` is the local endpoint that owns `source`, or NONE.
// Errors: SpoofedSource, MartianSource.
// Source: RFC 2827, RFC 6890.
[[nodiscard]] DropReason guardSource(const AddressBytes& source, uint8_t family, uint32_t endpoint,
                                     const LinkContext& from, const TableInForce& table) noexcept;

// Checks a neighbour discovery or multicast listener message. Sets `*exempt` when the message has
// the form that is exempt from policy: the usual destination of its type, and no more content than
// its type needs. Policy judges other forms as any ICMPv6.
//
// Errors: MalformedNdp, SpoofedNdp, SpoofedSource, MartianSource, RouterAdvertisement,
//         PolicyEgress.
// Source: RFC 4861, RFC 6105, RFC 6980, RFC 7527, RFC 4890 section 4.4.1, RFC 3810 section 5.
[[nodiscard]] DropReason guardNeighbor(const Frame& frame, const PacketView& view,
                                       const LinkContext& from, const TableInForce& table,
                                       ExemptKind* exempt) noexcept;

}  // namespace sluice
