#include "native/testing/fuzz/packet-script.h"

#include <algorithm>
#include <cstring>

namespace sluice::testing {
namespace {

constexpr uint8_t LOOSE = 1;
constexpr uint8_t KEEP = 2;
constexpr uint8_t SWITCH = 4;
constexpr uint8_t SMALL = 8;
constexpr uint32_t POLICY_SHIFT = 4;
constexpr uint8_t CUT = 64;
constexpr uint8_t AUDITED = 128;

constexpr uint8_t KIND = 7;  // 0 to 4: a frame of that link
constexpr uint8_t KIND_TIME = 5;
constexpr uint8_t KIND_SWAP = 6;
constexpr uint8_t KIND_MAINTAIN = 7;
constexpr uint8_t MEND_CHECKSUM = 8;
constexpr uint8_t HAS_OFFLOAD = 16;
constexpr uint8_t TRUNCATED = 32;
constexpr uint8_t VLAN_TAGGED = 64;
constexpr uint8_t MEND_LENGTH = 128;
constexpr uint8_t SECONDS = 8;  // a pause in seconds, not milliseconds
constexpr uint8_t SWAP_AUDITED = 32;

constexpr size_t RECORDS_MAX = 64;
constexpr size_t SCRIPT_BYTES_MAX = 64 * 1024;

void mend(PacketRecord& record) {
  std::vector<uint8_t>& bytes = record.bytes;
  if (bytes.size() < 34) return;
  const size_t l3 = bytes.size() - 14;
  const bool v4 = bytes[12] == 0x08 && bytes[13] == 0x00;
  if (record.mendLength && v4) {
    bytes[16] = static_cast<uint8_t>(l3 >> 8);
    bytes[17] = static_cast<uint8_t>(l3);
  } else if (record.mendLength && bytes[12] == 0x86 && l3 >= 40) {
    bytes[18] = static_cast<uint8_t>((l3 - 40) >> 8);
    bytes[19] = static_cast<uint8_t>(l3 - 40);
  }
  const size_t header = (bytes[14] & 15) * 4u;
  if (!record.mendChecksum || !v4 || header < 20 || header > l3) return;
  bytes[24] = bytes[25] = 0;
  uint32_t sum = 0;
  for (size_t at = 0; at < header; at += 2) sum += bytes[14 + at] << 8 | bytes[15 + at];
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  bytes[24] = static_cast<uint8_t>(~sum >> 8);
  bytes[25] = static_cast<uint8_t>(~sum);
}

}  // namespace

PacketScript parsePacketScript(std::span<const uint8_t> input) {
  PacketScript script;
  input = input.first(std::min(input.size(), SCRIPT_BYTES_MAX));
  if (input.empty()) return script;
  const auto take = [&input](size_t count) {
    const auto taken = input.first(std::min(count, input.size()));
    input = input.subspan(taken.size());
    return taken;
  };
  const uint8_t options = take(1)[0];
  script.loose = (options & LOOSE) != 0;
  script.established = (options & KEEP) != 0  ? Established::Keep
                       : (options & CUT) != 0 ? Established::Cut
                                              : Established::Recheck;
  script.audited = (options & AUDITED) != 0;
  script.isSwitch = (options & SWITCH) != 0;
  script.small = (options & SMALL) != 0;
  script.policy = options >> POLICY_SHIFT & 3;
  while (!input.empty() && script.records.size() < RECORDS_MAX) {
    PacketRecord& record = script.records.emplace_back();
    const uint8_t head = take(1)[0];
    const auto takeNumber = [&] {
      uint16_t number = 0;
      const auto bytes = take(2);
      if (!bytes.empty()) std::memcpy(&number, bytes.data(), bytes.size());
      return number;
    };
    if ((head & KIND) == KIND_TIME) {
      record.kind = PacketRecord::Kind::Time;
      record.pause = takeNumber();
      record.seconds = (head & SECONDS) != 0;
    } else if ((head & KIND) == KIND_SWAP) {
      record.kind = PacketRecord::Kind::Swap;
      record.policy = head >> 3 & 3;
      record.audited = (head & SWAP_AUDITED) != 0;
    } else if ((head & KIND) == KIND_MAINTAIN) {
      record.kind = PacketRecord::Kind::Maintain;
    } else {
      record.link = head & KIND;
      record.mendChecksum = (head & MEND_CHECKSUM) != 0;
      record.hasOffload = (head & HAS_OFFLOAD) != 0;
      record.truncated = (head & TRUNCATED) != 0;
      record.vlanTagged = (head & VLAN_TAGGED) != 0;
      record.mendLength = (head & MEND_LENGTH) != 0;
      const size_t length = takeNumber();
      if (record.hasOffload) {
        const auto bytes = take(sizeof record.offload);
        if (!bytes.empty()) std::memcpy(&record.offload, bytes.data(), bytes.size());
      }
      const auto bytes = take(length);
      record.bytes.assign(bytes.begin(), bytes.end());
    }
  }
  return script;
}

PacketScript readPacketScript(std::span<const uint8_t> input) {
  PacketScript script = parsePacketScript(input);
  for (PacketRecord& record : script.records) mend(record);
  return script;
}

std::vector<uint8_t> writePacketScript(const PacketScript& script) {
  std::vector<uint8_t> bytes;
  const uint8_t established = script.established == Established::Keep  ? KEEP
                              : script.established == Established::Cut ? CUT
                                                                       : 0;
  bytes.push_back(static_cast<uint8_t>(
      (script.loose ? LOOSE : 0) | established | (script.isSwitch ? SWITCH : 0) |
      (script.small ? SMALL : 0) | script.policy << POLICY_SHIFT | (script.audited ? AUDITED : 0)));
  const auto put16 = [&bytes](size_t value) {
    bytes.push_back(static_cast<uint8_t>(value));
    bytes.push_back(static_cast<uint8_t>(value >> 8));
  };
  for (const PacketRecord& record : script.records) {
    switch (record.kind) {
      case PacketRecord::Kind::Time:
        bytes.push_back(static_cast<uint8_t>(KIND_TIME | (record.seconds ? SECONDS : 0)));
        put16(record.pause);
        break;
      case PacketRecord::Kind::Swap:
        bytes.push_back(static_cast<uint8_t>(KIND_SWAP | record.policy << 3 |
                                             (record.audited ? SWAP_AUDITED : 0)));
        break;
      case PacketRecord::Kind::Maintain:
        bytes.push_back(KIND_MAINTAIN);
        break;
      case PacketRecord::Kind::Frame: {
        bytes.push_back(static_cast<uint8_t>(
            record.link | (record.mendChecksum ? MEND_CHECKSUM : 0) |
            (record.hasOffload ? HAS_OFFLOAD : 0) | (record.truncated ? TRUNCATED : 0) |
            (record.vlanTagged ? VLAN_TAGGED : 0) | (record.mendLength ? MEND_LENGTH : 0)));
        put16(record.bytes.size());
        if (record.hasOffload) {
          const auto* offload = reinterpret_cast<const uint8_t*>(&record.offload);
          bytes.insert(bytes.end(), offload, offload + sizeof record.offload);
        }
        bytes.insert(bytes.end(), record.bytes.begin(), record.bytes.end());
        break;
      }
    }
  }
  return bytes;
}

}  // namespace sluice::testing
