#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/packet/bytes.h"
#include "native/packet/flow-key.h"
#include "native/packet/frame.h"
#include "native/packet/packet-view.h"

namespace sluice {

// Answers to packets that policy denies, so that the sender need not wait for a timeout.
//
// Source: RFC 9293 section 3.10.7.1 (resets), RFC 792 and RFC 1812 section 5.2.7.1 (code 13), RFC
//         4443 section 3.1 (code 1).

// An ICMPv6 error may not exceed the smallest MTU.
inline constexpr uint32_t REJECT_BYTES_MAX = ETHERNET_HEADER_BYTES + 1'280;
inline constexpr uint32_t RESET_BYTES_MAX = ETHERNET_HEADER_BYTES + 40 + 20;

// Whether the sender of a denied packet may get an answer. No answer goes to an ICMP error or a
// reset, to a fragment, or to a packet for a group, which its caller has to know as well: it would
// do harm (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
[[nodiscard]] inline bool isAnswerable(const PacketView& view) noexcept {
  return (view.bytes[0] & 1) == 0 && !view.fragmented && view.icmpRole != IcmpRole::Error &&
         (view.tcp.flags & TCP_RST) == 0;
}

// Writes the checksum of an IPv4 header into it. Shape: as long as the header says.
void storeHeaderChecksum(uint8_t* ip, uint32_t headerBytes) noexcept;

// Writes the answer to a denied frame, with the frame's destination as the sender: a reset for TCP,
// otherwise ICMP "administratively prohibited", which quotes as much of the frame as fits.
//
// Shape:  `into` has REJECT_BYTES_MAX bytes, and is what `answer` points to. The frame has been
//         judged, and isAnswerable().
// Errors: false when the frame cannot be read.
[[nodiscard]] bool writeReject(const Frame& denied, std::span<std::byte> into,
                               Frame* answer) noexcept;

// Writes two resets that end the connection of a segment. The one to the sender is what the other
// end would answer if it did not know the connection. The one to the receiver is the segment
// itself, as a reset.
//
// Shape:  the spans have RESET_BYTES_MAX bytes, and are what the frames point to. The frame is a
//         TCP segment that has been judged and is no reset.
// Errors: false when the frame cannot be read.
[[nodiscard]] bool writeResets(const Frame& segment, std::span<std::byte> intoToSender,
                               std::span<std::byte> intoToReceiver, Frame* toSender,
                               Frame* toReceiver) noexcept;

// A segment that ends a connection.
struct Reset {
  MacAddress sourceMac = {};
  MacAddress destinationMac = {};
  FlowKey key = {};  // whose protocol is TCP
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  bool acknowledges = false;
};

// Shape: `into` has RESET_BYTES_MAX bytes, and is what `segment` points to.
void writeReset(const Reset& reset, std::span<std::byte> into, Frame* segment) noexcept;

// A rate limit for answers, a token bucket: one answer each EACH_US, and up to AT_ONCE in a row
// after a pause. A flood gets no more answers than this.
template <uint64_t EachUs, uint64_t AtOnce>
class AnswerLimit {
 public:
  static constexpr uint64_t EACH_US = EachUs;
  static constexpr uint64_t AT_ONCE = AtOnce;

  // Whether one more may be sent; if so, counts it.
  [[nodiscard]] bool take(uint64_t nowUs) noexcept {
    // The time at which the bucket would be full again.
    const uint64_t fullUs = fullUs_ > nowUs ? fullUs_ : nowUs;
    if (fullUs - nowUs > (AT_ONCE - 1) * EACH_US) return false;
    fullUs_ = fullUs + EACH_US;
    return true;
  }

 private:
  uint64_t fullUs_ = 0;
};

using RejectLimit = AnswerLimit<1'000, 256>;
// Higher: after a restart every client of a busy server may need a reset soon.
using ResetLimit = AnswerLimit<100, 4'096>;

}  // namespace sluice
