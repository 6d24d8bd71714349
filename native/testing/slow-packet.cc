#include "native/testing/slow-packet.h"

#include <algorithm>
#include <utility>

namespace sluice::testing {
namespace {

// Reads bytes by their place; a place outside spoils the reader, and gives zero.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint32_t one(size_t at) {
    if (at < bytes_.size()) return bytes_[at];
    bad_ = true;
    return 0;
  }
  uint32_t two(size_t at) { return one(at) << 8 | one(at + 1); }
  uint32_t four(size_t at) { return two(at) << 16 | two(at + 2); }
  AddressBytes address(size_t at, int family) {
    AddressBytes address = {};
    for (size_t byte = 0; byte < (family == 4 ? 4u : 16u); ++byte) {
      address[byte] = static_cast<uint8_t>(one(at + byte));
    }
    return address;
  }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  std::span<const uint8_t> bytes_;
  bool bad_ = false;
};

// The Internet checksum (RFC 1071): 0 when the sum includes a right checksum.
uint32_t internetChecksum(const std::vector<uint8_t>& bytes) {
  uint64_t sum = 0;
  for (size_t at = 0; at < bytes.size(); at += 2) {
    sum += static_cast<uint64_t>(bytes[at]) << 8;
    if (at + 1 < bytes.size()) sum += bytes[at + 1];
  }
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint32_t>(0xffff - sum);
}

std::optional<SlowPacket> readV4(std::span<const uint8_t> ip, bool cut) {
  Reader reader(ip);
  SlowPacket packet;
  packet.family = 4;
  const size_t header = (reader.one(0) & 15) * 4;
  const size_t total = reader.two(2);
  if (reader.one(0) >> 4 != 4 || header < 20 || header > ip.size()) return std::nullopt;
  if (!cut) {
    if (total < header || total > ip.size()) return std::nullopt;
    if (internetChecksum({ip.begin(), ip.begin() + static_cast<ptrdiff_t>(header)}) != 0) {
      return std::nullopt;
    }
  }
  packet.id = reader.two(4);
  packet.more = (reader.two(6) & 0x2000) != 0;
  packet.offset = size_t{reader.two(6) & 0x1fff} * 8;
  packet.hopLimit = static_cast<int>(reader.one(8));
  packet.protocol = static_cast<int>(reader.one(9));
  packet.source = reader.address(12, 4);
  packet.destination = reader.address(16, 4);
  packet.l4Offset = header;
  const size_t end = cut ? ip.size() : total;
  packet.trailing = ip.size() - end;
  packet.l4.assign(ip.begin() + static_cast<ptrdiff_t>(header),
                   ip.begin() + static_cast<ptrdiff_t>(end));
  return reader.bad() ? std::nullopt : std::optional(packet);
}

std::optional<SlowPacket> readV6(std::span<const uint8_t> ip, bool cut) {
  Reader reader(ip);
  SlowPacket packet;
  packet.family = 6;
  const size_t end = cut ? ip.size() : 40 + reader.two(4);
  if (reader.one(0) >> 4 != 6 || ip.size() < 40 || end > ip.size()) return std::nullopt;
  packet.hopLimit = static_cast<int>(reader.one(7));
  packet.source = reader.address(8, 6);
  packet.destination = reader.address(24, 6);
  uint32_t next = reader.one(6);
  size_t at = 40;
  while (packet.offset == 0 && (next == 0 || next == 43 || next == 44 || next == 60)) {
    packet.extensions = true;
    const uint32_t type = next;
    next = reader.one(at);
    if (type == 44) {
      packet.fragmentHeader = true;
      packet.offset = reader.two(at + 2) & 0xfff8;
      packet.more = (reader.two(at + 2) & 1) != 0;
      packet.id = reader.four(at + 4);
      at += 8;
    } else {
      at += (reader.one(at + 1) + 1) * 8;
    }
    if (reader.bad() || at > end) return std::nullopt;
  }
  packet.protocol = static_cast<int>(next);
  packet.l4Offset = at;
  packet.trailing = ip.size() - end;
  packet.l4.assign(ip.begin() + static_cast<ptrdiff_t>(at),
                   ip.begin() + static_cast<ptrdiff_t>(end));
  return packet;
}

}  // namespace

std::optional<SlowPacket> readSlowIp(std::span<const uint8_t> ip, int family, bool cut) {
  return family == 4 ? readV4(ip, cut) : readV6(ip, cut);
}

std::optional<SlowPacket> readSlowly(std::span<const uint8_t> frame) {
  Reader reader(frame);
  const uint32_t type = reader.two(12);
  if (reader.bad() || (reader.one(6) & 1) != 0) return std::nullopt;
  if (type == 0x0806) {
    SlowPacket packet;
    packet.arp = true;
    packet.family = 4;
    packet.source = reader.address(28, 4);
    packet.destination = reader.address(38, 4);
    packet.l4.assign(frame.begin() + 14, frame.end());
    const bool ethernet =
        reader.two(14) == 1 && reader.two(16) == 0x0800 && reader.two(18) == 0x0604;
    return reader.bad() || !ethernet ? std::nullopt : std::optional(packet);
  }
  if (type != 0x0800 && type != 0x86dd) return std::nullopt;
  auto packet = readSlowIp(frame.subspan(14), type == 0x0800 ? 4 : 6, false);
  if (packet) packet->l4Offset += 14;
  return packet;
}

SlowFlow SlowFlow::reverse() const {
  SlowFlow flow = *this;
  std::swap(flow.source, flow.destination);
  if (query < 0) std::swap(flow.sourcePort, flow.destinationPort);
  return flow;
}

std::optional<SlowFlow> flowOf(const SlowPacket& packet, SlowRole* role) {
  Reader l4(packet.l4);
  SlowFlow flow;
  flow.family = packet.family;
  flow.source = packet.source;
  flow.destination = packet.destination;
  flow.protocol = packet.protocol;
  *role = SlowRole::Opens;
  if (packet.protocol == 6 || packet.protocol == 17 || packet.protocol == 132) {
    flow.sourcePort = static_cast<int>(l4.two(0));
    flow.destinationPort = static_cast<int>(l4.two(2));
    if (packet.protocol == 6) {
      const uint32_t flags = l4.one(13) & 0x17;  // ACK, RST, SYN, FIN
      if (flags != 2) *role = SlowRole::Goes;
    }
  } else if (packet.protocol == (packet.family == 4 ? 1 : 58)) {
    const int type = static_cast<int>(l4.one(0));
    constexpr std::pair<int, int> QUERIES_V4[] = {{8, 0}, {13, 14}, {15, 16}, {17, 18}};
    constexpr std::pair<int, int> QUERIES_V6[] = {{128, 129}};
    const std::span<const std::pair<int, int>> queries =
        packet.family == 4 ? std::span<const std::pair<int, int>>(QUERIES_V4)
                           : std::span<const std::pair<int, int>>(QUERIES_V6);
    const bool error = packet.family == 6
                           ? type < 128
                           : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    *role = error ? SlowRole::Error : SlowRole::Single;
    for (const auto& [asks, answers] : queries) {
      if (type != asks && type != answers) continue;
      *role = type == asks ? SlowRole::Opens : SlowRole::Goes;
      flow.query = asks;
      flow.sourcePort = flow.destinationPort = static_cast<int>(l4.two(4));
    }
  }
  return l4.bad() ? std::nullopt : std::optional(flow);
}

bool transportChecksumFits(const SlowPacket& packet) {
  std::vector<uint8_t> sum;
  const ptrdiff_t bytes = packet.family == 4 ? 4 : 16;
  sum.insert(sum.end(), packet.source.begin(), packet.source.begin() + bytes);
  sum.insert(sum.end(), packet.destination.begin(), packet.destination.begin() + bytes);
  const auto length = static_cast<uint32_t>(packet.l4.size());
  for (int shift = 24; shift >= 0; shift -= 8) sum.push_back(static_cast<uint8_t>(length >> shift));
  for (const int byte : {0, 0, 0, packet.protocol}) sum.push_back(static_cast<uint8_t>(byte));
  sum.insert(sum.end(), packet.l4.begin(), packet.l4.end());
  return internetChecksum(sum) == 0;
}

}  // namespace sluice::testing
