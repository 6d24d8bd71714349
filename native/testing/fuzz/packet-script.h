#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/packet/frame.h"
#include "native/worker/filter.h"

namespace sluice::testing {

// An input of the packet target, taken apart. Any bytes are one.
//
// Shape: a byte of options (1 loose, 2 keep, 4 switch, 8 small tables, 48 the first policy, 64 cut
//        unless keep, 128 the first table audits); then records, each a byte of kind and what it
//        needs: a frame its flags, its length in two bytes (low first), its offload header and its
//        bytes; a pause its two bytes.
struct PacketRecord {
  enum class Kind : uint8_t { Frame, Time, Swap, Maintain };
  Kind kind = Kind::Frame;
  uint32_t link = 0;
  bool mendChecksum = false;  // of IPv4, before the frame is judged
  bool mendLength = false;    // of the IP header
  bool hasOffload = false;
  bool vlanTagged = false;
  bool truncated = false;
  Offload offload = {};
  std::vector<uint8_t> bytes;
  uint16_t pause = 0;
  bool seconds = false;  // what `pause` counts; else milliseconds
  [[nodiscard]] uint64_t pauseUs() const { return uint64_t{pause} * (seconds ? 1'000'000 : 1'000); }
  uint32_t policy = 0;
  bool audited = false;  // the table put into force audits too
};

struct PacketScript {
  bool loose = false;
  Established established = Established::Recheck;
  bool isSwitch = false;
  bool small = false;
  uint32_t policy = 0;
  bool audited = false;
  std::vector<PacketRecord> records;
};

// Reads a script and mends what its frames want mended.
[[nodiscard]] PacketScript readPacketScript(std::span<const uint8_t> input);
// The same without mending, to be changed and written.
[[nodiscard]] PacketScript parsePacketScript(std::span<const uint8_t> input);
[[nodiscard]] std::vector<uint8_t> writePacketScript(const PacketScript& script);

}  // namespace sluice::testing
