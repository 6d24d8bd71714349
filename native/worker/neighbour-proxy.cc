#include "native/worker/neighbour-proxy.h"

#include <algorithm>
#include <cstring>

#include "native/packet/finish-offload.h"
#include "native/packet/packet-view.h"

namespace sluice {
namespace {

constexpr uint16_t ETHERTYPE_ARP = 0x0806;
constexpr uint16_t ETHERTYPE_IPV6 = 0x86dd;
constexpr uint32_t ARP_BYTES = 28;
constexpr uint8_t ARP_REQUEST = 1;
constexpr uint8_t ARP_REPLY = 2;

constexpr uint32_t IPV6_HEADER_BYTES = 40;
constexpr uint32_t ICMPV6_OFFSET = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES;
constexpr uint32_t NEIGHBOUR_MESSAGE_BYTES = 24;  // without options
constexpr uint8_t NEIGHBOUR_SOLICITATION = 135;
constexpr uint8_t NEIGHBOUR_ADVERTISEMENT = 136;
constexpr uint8_t ADVERTISED_ROUTER_SOLICITED_OVERRIDE = 0xe0;
constexpr uint8_t OPTION_TARGET_LINK_ADDRESS = 2;

bool allZero(const uint8_t* bytes, size_t count) noexcept {
  return std::all_of(bytes, bytes + count, [](uint8_t each) { return each == 0; });
}

}  // namespace

bool readNeighbourQuestion(const Frame& frame, NeighbourQuestion* question) noexcept {
  const auto* bytes = reinterpret_cast<const uint8_t*>(frame.bytes);
  if (frame.length < ETHERNET_HEADER_BYTES + ARP_BYTES) return false;
  const uint16_t type = load16(bytes + 12);
  if (type == ETHERTYPE_ARP) {
    const uint8_t* arp = bytes + ETHERNET_HEADER_BYTES;
    if (arp[7] != ARP_REQUEST || allZero(arp + 14, 4)) return false;
    question->target = {};
    question->family = 4;
    std::memcpy(question->target.data(), arp + 24, 4);
    return true;
  }
  if (type != ETHERTYPE_IPV6 || frame.length < ICMPV6_OFFSET + NEIGHBOUR_MESSAGE_BYTES)
    return false;
  const uint8_t* ip = bytes + ETHERNET_HEADER_BYTES;
  const uint8_t* message = bytes + ICMPV6_OFFSET;
  if (ip[6] != PROTOCOL_ICMPV6 || message[0] != NEIGHBOUR_SOLICITATION || allZero(ip + 8, 16)) {
    return false;
  }
  question->family = 6;
  std::memcpy(question->target.data(), message + 8, 16);
  return true;
}

void writeNeighbourAnswer(const Frame& asked, const NeighbourQuestion& question,
                          const MacAddress& mac, std::span<std::byte> into,
                          Frame* answer) noexcept {
  const auto* from = reinterpret_cast<const uint8_t*>(asked.bytes);
  auto* to = reinterpret_cast<uint8_t*>(into.data());
  std::memcpy(to, from + 6, 6);
  std::memcpy(to + 6, mac.data(), 6);
  std::memcpy(to + 12, from + 12, 2);
  *answer = {};
  answer->bytes = into.data();
  if (question.family == 4) {
    const uint8_t* request = from + ETHERNET_HEADER_BYTES;
    uint8_t* reply = to + ETHERNET_HEADER_BYTES;
    std::memcpy(reply, request, 8);
    reply[7] = ARP_REPLY;
    std::memcpy(reply + 8, mac.data(), 6);
    std::memcpy(reply + 14, question.target.data(), 4);
    std::memcpy(reply + 18, request + 8, 10);  // the asker's addresses, MAC and IP
    answer->length = ETHERNET_HEADER_BYTES + ARP_BYTES;
    return;
  }
  constexpr uint32_t payload = NEIGHBOUR_MESSAGE_BYTES + 8;
  uint8_t* ip = to + ETHERNET_HEADER_BYTES;
  std::memset(ip, 0, IPV6_HEADER_BYTES + payload);
  ip[0] = 0x60;
  ip[5] = payload;
  ip[6] = PROTOCOL_ICMPV6;
  ip[7] = 255;
  std::memcpy(ip + 8, question.target.data(), 16);
  std::memcpy(ip + 24, from + ETHERNET_HEADER_BYTES + 8, 16);
  uint8_t* message = to + ICMPV6_OFFSET;
  message[0] = NEIGHBOUR_ADVERTISEMENT;
  message[4] = ADVERTISED_ROUTER_SOLICITED_OVERRIDE;
  std::memcpy(message + 8, question.target.data(), 16);
  message[24] = OPTION_TARGET_LINK_ADDRESS;
  message[25] = 1;
  std::memcpy(message + 26, mac.data(), 6);
  answer->length = ICMPV6_OFFSET + payload;
  const uint16_t checksum = transportChecksum(ip, 6, PROTOCOL_ICMPV6, message, payload);
  std::memcpy(message + 2, &checksum, sizeof checksum);
}

}  // namespace sluice
