#include "native/packet/neighbor.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr uint8_t HOP_LIMIT_ON_LINK = 255;

bool isIcmpV6(const PacketView& view) {
  return view.key.family == 6 && view.key.protocol == PROTOCOL_ICMPV6 && view.l4Bytes > 0;
}

bool isNeighborType(uint8_t type) {
  return type >= ICMPV6_ROUTER_SOLICITATION && type <= ICMPV6_REDIRECT;
}

bool isListenerType(uint8_t type) {
  return (type >= ICMPV6_LISTENER_QUERY && type <= ICMPV6_LISTENER_DONE) ||
         type == ICMPV6_LISTENER_REPORT_2;
}

uint32_t fixedBytes(uint8_t type) {
  switch (type) {
    case ICMPV6_ROUTER_SOLICITATION:
      return 8;
    case ICMPV6_ROUTER_ADVERTISEMENT:
      return 16;
    case ICMPV6_REDIRECT:
      return 40;
    default:
      return 24;
  }
}

// Reads the option with the link-layer address that belongs to a message of this type.
DropReason readOptions(const uint8_t* options, uint32_t bytes, NeighborMessage* message) {
  constexpr uint8_t SOURCE_LINK_ADDRESS = 1;
  constexpr uint8_t TARGET_LINK_ADDRESS = 2;
  const bool advertises =
      message->type == ICMPV6_NEIGHBOR_ADVERTISEMENT || message->type == ICMPV6_REDIRECT;
  const uint8_t wanted = advertises ? TARGET_LINK_ADDRESS : SOURCE_LINK_ADDRESS;
  for (uint32_t at = 0; at < bytes;) {
    const uint32_t left = bytes - at;
    if (left < 2 || options[at + 1] == 0 || options[at + 1] * 8u > left) {
      return DropReason::MalformedNdp;
    }
    if (options[at] == wanted) {
      // A second option could name another MAC than the checked one.
      if (message->hasLinkAddress) return DropReason::MalformedNdp;
      message->hasLinkAddress = true;
      std::copy_n(options + at + 2, 6, message->linkAddress.begin());
    }
    at += options[at + 1] * 8u;
  }
  return DropReason::None;
}

bool addressesFit(const PacketView& view, const NeighborMessage& message, const uint8_t* icmp) {
  const FlowKey& key = view.key;
  const bool unspecified = isUnspecified(key.source);
  switch (message.type) {
    case ICMPV6_ROUTER_SOLICITATION:
      return !unspecified || !message.hasLinkAddress;
    case ICMPV6_ROUTER_ADVERTISEMENT:
      return isLinkLocal(key.source);
    case ICMPV6_NEIGHBOR_SOLICITATION:
      if (message.target[0] == 0xff) return false;
      return !unspecified ||
             (!message.hasLinkAddress && key.destination == solicitedNodeOf(message.target));
    case ICMPV6_NEIGHBOR_ADVERTISEMENT: {
      const bool solicited = (icmp[4] & 0x40) != 0;
      return message.target[0] != 0xff && !unspecified &&
             !(solicited && key.destination[0] == 0xff);
    }
    default:  // a redirect
      return isLinkLocal(key.source) && icmp[24] != 0xff;
  }
}

}  // namespace

ArpMessage readArp(const PacketView& view) noexcept {
  const uint8_t* arp = view.bytes + ETHERNET_HEADER_BYTES;
  ArpMessage message;
  message.reply = load16(arp + 6) == 2;
  std::copy_n(arp + 8, 6, message.senderMac.begin());
  std::copy_n(arp + 18, 6, message.targetMac.begin());
  message.senderAddress = view.key.source;
  message.targetAddress = view.key.destination;
  return message;
}

bool isLinkType(uint8_t type) noexcept { return isNeighborType(type) || isListenerType(type); }

bool isNeighborDiscovery(const PacketView& view) noexcept {
  return isIcmpV6(view) && isNeighborType(view.l4()[0]);
}

bool isListenerMessage(const PacketView& view) noexcept {
  return isIcmpV6(view) && isListenerType(view.l4()[0]);
}

DropReason parseNeighbor(const PacketView& view, NeighborMessage* message) noexcept {
  *message = NeighborMessage{};
  const uint8_t* icmp = view.l4();
  const uint32_t fixed = fixedBytes(icmp[0]);
  if (view.hopLimit != HOP_LIMIT_ON_LINK || view.hasFragmentHeader || view.l4Bytes < fixed ||
      icmp[1] != 0) {
    return DropReason::MalformedNdp;
  }
  message->type = icmp[0];
  message->hasTarget = message->type >= ICMPV6_NEIGHBOR_SOLICITATION;
  if (message->hasTarget) std::copy_n(icmp + 8, 16, message->target.begin());
  message->router = message->type == ICMPV6_NEIGHBOR_ADVERTISEMENT && (icmp[4] & 0x80) != 0;
  const DropReason reason = readOptions(icmp + fixed, view.l4Bytes - fixed, message);
  if (reason != DropReason::None) return reason;
  return addressesFit(view, *message, icmp) ? DropReason::None : DropReason::MalformedNdp;
}

AddressBytes solicitedNodeOf(const AddressBytes& address) noexcept {
  return {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff, address[13], address[14], address[15]};
}

AddressBytes linkGroup(uint8_t last) noexcept {
  return {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
}

AddressBytes linkLocalOf(const MacAddress& mac) noexcept {
  return {0xfe,   0x80,   0,    0,    0,      0,      0,     0, static_cast<uint8_t>(mac[0] ^ 2),
          mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
}

}  // namespace sluice
