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

// Answers to what policy denies, so that its sender need not wait for a timeout.
//
// Source: RFC 9293 section 3.10.7.1 (resets), RFC 792 and RFC 1812 section 5.2.7.1 (code 13),
//         RFC 4443 section 3.1 (code 1).

// An ICMPv6 error may not exceed the smallest MTU.
inline constexpr uint32_t REJECT_BYTES_MAX = ETHERNET_HEADER_BYTES + 1'280;
inline constexpr uint32_t RESET_BYTES_MAX = ETHERNET_HEADER_BYTES + 40 + 20;

// Writes the answer to a denied frame, from the one it was for: a reset for TCP, else "prohibited
// by the administrator", which quotes as much of it as fits.
//
// Shape:  `into` has REJECT_BYTES_MAX bytes, and is what `answer` points to. The frame has been
//         judged; it is no fragment, no ICMP error and no reset.
// Errors: false when the frame cannot be read.
[[nodiscard]] bool writeReject(const Frame& denied, std::span<std::byte> into,
                               Frame* answer) noexcept;

// Writes what ends a connection that a segment belongs to: to its sender as the other end would
// answer if it knew of none, to its receiver as if the segment itself had been a reset.
//
// Shape:  the spans have RESET_BYTES_MAX bytes, and are what the frames point to. The frame is a
// TCP
//         segment that has been judged; it is no reset.
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

// How many answers may be sent: one each so often, and a number at once after a pause. Whoever
// floods us makes us no louder than this.
template <uint64_t EachUs, uint64_t AtOnce>
class AnswerLimit {
 public:
  static constexpr uint64_t EACH_US = EachUs;
  static constexpr uint64_t AT_ONCE = AtOnce;

  // Whether one more may be sent; that counts.
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
// After a restart every client of a busy server may have to hear it, and soon.
using ResetLimit = AnswerLimit<100, 4'096>;

}  // namespace sluice
