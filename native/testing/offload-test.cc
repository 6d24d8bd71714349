#include <cstdint>
#include <cstring>
#include <vector>

#include "native/packet/finish-offload.h"
#include "native/packet/packet-view.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

using testing::FrameBuilder;
using testing::tcpFrame;
using testing::udpFrame;

// RFC 1071 as the RFC has it, a 16-bit word at a time: zero over a message with a right checksum.
uint16_t onesComplement(const std::vector<uint8_t>& bytes) {
  uint32_t sum = 0;
  for (size_t at = 0; at < bytes.size(); at += 2) {
    sum += static_cast<uint32_t>(bytes[at] << 8) + (at + 1 < bytes.size() ? bytes[at + 1] : 0u);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(~sum);
}

uint32_t l4OffsetOf(uint8_t family) { return family == 4 ? 34 : 54; }

std::vector<uint8_t> pseudoHeader(const uint8_t* frame, uint8_t family, uint8_t protocol,
                                  uint32_t l4Bytes) {
  const uint8_t* addresses = frame + (family == 4 ? 26 : 22);
  std::vector<uint8_t> bytes(addresses, addresses + (family == 4 ? 8 : 32));
  testing::append32(bytes, l4Bytes);
  testing::append32(bytes, protocol);
  return bytes;
}

bool checksumsRight(const Frame& frame, uint8_t family, uint8_t protocol) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(frame.bytes);
  const uint32_t l4 = l4OffsetOf(family);
  std::vector<uint8_t> covered = pseudoHeader(bytes, family, protocol, frame.length - l4);
  covered.insert(covered.end(), bytes + l4, bytes + frame.length);
  const bool ip = family == 6 || onesComplement({bytes + 14, bytes + 34}) == 0;
  return ip && onesComplement(covered) == 0;
}

// Makes a frame as the kernel hands it over: the checksum field holds the pseudo header's sum.
Frame partial(std::vector<uint8_t>& bytes, uint8_t family, uint8_t protocol) {
  const uint32_t l4 = l4OffsetOf(family);
  const auto checksumOffset = static_cast<uint16_t>(protocol == PROTOCOL_TCP ? 16 : 6);
  const auto size = static_cast<uint32_t>(bytes.size());
  const uint16_t sum = static_cast<uint16_t>(
      ~onesComplement(pseudoHeader(bytes.data(), family, protocol, size - l4)));
  bytes[l4 + checksumOffset] = static_cast<uint8_t>(sum >> 8);
  bytes[l4 + checksumOffset + 1] = static_cast<uint8_t>(sum);
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = size;
  frame.offload.flags = OFFLOAD_NEEDS_CHECKSUM;
  frame.offload.checksumStart = static_cast<uint16_t>(l4);
  frame.offload.checksumOffset = checksumOffset;
  return frame;
}

// A frame of a protocol whose payload bytes all differ from their neighbours.
std::vector<uint8_t> patterned(uint8_t family, uint8_t protocol, size_t payloadBytes) {
  std::vector<uint8_t> bytes = protocol == PROTOCOL_TCP
                                   ? tcpFrame(family, 10, 40'000, 11, 8080,
                                              {.flags = TCP_ACK | TCP_PSH | TCP_FIN | 0x80,
                                               .sequence = 0xfffffff0,
                                               .options = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8},
                                               .payloadBytes = payloadBytes})
                                   : udpFrame(family, 10, 40'000, 11, 53, payloadBytes);
  for (size_t at = 0; at < payloadBytes; ++at) {
    bytes[bytes.size() - payloadBytes + at] = static_cast<uint8_t>(at * 7 + (at >> 8));
  }
  return bytes;
}

TEST("offload: a partial checksum is completed, for every length and family") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const uint8_t protocol : {PROTOCOL_TCP, PROTOCOL_UDP}) {
      for (size_t payload = 0; payload < 70; ++payload) {
        std::vector<uint8_t> bytes = patterned(family, protocol, payload);
        Frame frame = partial(bytes, family, protocol);
        REQUIRE(completeChecksum(&frame));
        CHECK(checksumsRight(frame, family, protocol));
        CHECK(frame.offload.flags == 0);
      }
    }
  }
}

TEST("offload: a UDP checksum of zero is sent as its other form") {
  std::vector<uint8_t> bytes = patterned(4, PROTOCOL_UDP, 2);
  // The payload is chosen so that the sum comes out as 0xffff, whose complement is zero.
  bytes[bytes.size() - 2] = bytes[bytes.size() - 1] = 0;
  std::vector<uint8_t> covered = pseudoHeader(bytes.data(), 4, PROTOCOL_UDP, 10);
  covered.insert(covered.end(), bytes.begin() + 34, bytes.end());
  const uint16_t rest = onesComplement(covered);
  bytes[bytes.size() - 2] = static_cast<uint8_t>(rest >> 8);
  bytes[bytes.size() - 1] = static_cast<uint8_t>(rest);
  Frame frame = partial(bytes, 4, PROTOCOL_UDP);
  REQUIRE(completeChecksum(&frame));
  CHECK(load16(&bytes[40]) == 0xffff);
}

TEST("offload: a checksum outside the frame changes nothing") {
  std::vector<uint8_t> bytes = patterned(4, PROTOCOL_UDP, 4);
  for (const uint16_t start : {uint16_t{45}, uint16_t{0xffff}}) {
    Frame frame = partial(bytes, 4, PROTOCOL_UDP);
    frame.offload.checksumStart = start;
    const std::vector<uint8_t> before = bytes;
    CHECK(!completeChecksum(&frame));
    CHECK(bytes == before);
  }
}

// Goal: the segments of a superframe are what its sender would have sent one by one.
// Method: cut, then check sizes, checksums, numbers and flags of each, and that the payloads joined
// are the payload; with scratch room for a few only, so that reuse() is needed.
TEST("offload: a superframe is cut into right segments") {
  struct Case {
    uint8_t family;
    uint8_t protocol;
    uint8_t gsoType;
  };
  const Case cases[] = {{4, PROTOCOL_TCP, 1},
                        {4, PROTOCOL_TCP, 0x81},
                        {6, PROTOCOL_TCP, 4},
                        {4, PROTOCOL_UDP, 5},
                        {6, PROTOCOL_UDP, 5}};
  for (const Case& each : cases) {
    const uint32_t headerBytes = l4OffsetOf(each.family) + (each.protocol == PROTOCOL_TCP ? 32 : 8);
    const uint32_t payloadBytes = 60'001;
    const uint16_t gsoSize = 1'400;
    std::vector<uint8_t> bytes = patterned(each.family, each.protocol, payloadBytes);
    Frame whole = partial(bytes, each.family, each.protocol);
    whole.offload.gsoType = each.gsoType;
    whole.offload.gsoSize = gsoSize;
    std::vector<std::byte> scratch(5 * (headerBytes + gsoSize));
    Segmenter segmenter(scratch);
    REQUIRE(segmenter.start(whole));
    uint32_t done = 0;
    uint32_t count = 0;
    Frame segment;
    for (;;) {
      const Segmenter::Step step = segmenter.next(&segment);
      if (step == Segmenter::Step::Done) break;
      if (step == Segmenter::Step::NoRoom) {
        segmenter.reuse();
        continue;
      }
      const auto* at = reinterpret_cast<const uint8_t*>(segment.bytes);
      const uint32_t size = segment.length - headerBytes;
      const bool last = done + size == payloadBytes;
      CHECK(last || size == gsoSize);
      CHECK(segment.offload.flags == 0 && segment.offload.gsoType == 0);
      CHECK(checksumsRight(segment, each.family, each.protocol));
      CHECK(std::memcmp(at + headerBytes, &bytes[headerBytes + done], size) == 0);
      const uint8_t* l4 = at + l4OffsetOf(each.family);
      if (each.protocol == PROTOCOL_TCP) {
        CHECK(load32(l4 + 4) == 0xfffffff0 + done);
        CHECK(((l4[13] & (TCP_FIN | TCP_PSH)) != 0) == last);
        CHECK(((l4[13] & 0x80) != 0) == (count == 0));
      } else {
        CHECK(load16(l4 + 4) == 8 + size);
      }
      if (each.family == 4) {
        CHECK(load16(at + 16) == segment.length - 14);
        CHECK(load16(at + 18) == count);
      } else {
        CHECK(load16(at + 18) == segment.length - 54);
      }
      done += size;
      ++count;
    }
    CHECK(done == payloadBytes);
    CHECK(count == 43);
  }
}

TEST("offload: a superframe whose headers do not fit is not cut") {
  std::vector<uint8_t> bytes = patterned(4, PROTOCOL_TCP, 3'000);
  Frame good = partial(bytes, 4, PROTOCOL_TCP);
  good.offload.gsoType = 1;
  good.offload.gsoSize = 1'400;
  std::vector<std::byte> scratch(4'000);
  Segmenter segmenter(scratch);
  CHECK(segmenter.start(good));
  const auto refuses = [&](auto&& spoil) {
    Frame frame = good;
    spoil(frame);
    return !segmenter.start(frame);
  };
  CHECK(refuses([](Frame& frame) { frame.offload.gsoType = 3; }));
  CHECK(refuses([](Frame& frame) { frame.offload.gsoType = 4; }));
  CHECK(refuses([](Frame& frame) { frame.offload.gsoSize = 0; }));
  CHECK(refuses([](Frame& frame) { frame.offload.gsoSize = 3'990; }));
  CHECK(refuses([](Frame& frame) { frame.offload.checksumStart = 20; }));
  CHECK(refuses([](Frame& frame) { frame.offload.checksumStart = 60'000; }));
  CHECK(refuses([](Frame& frame) { frame.length = 60; }));
  CHECK(refuses([](Frame& frame) { frame.length = 14; }));
}

}  // namespace
}  // namespace sluice
