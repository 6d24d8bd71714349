#pragma once

#include <cstdint>

#include "native/conntrack/conn-entry.h"
#include "native/layout/layout.gen.h"
#include "native/packet/packet-view.h"

namespace sluice {

// The kinds of segment that the state machine distinguishes.
enum class TcpEvent : uint8_t { Syn, SynAck, Fin, Ack, Rst };
inline constexpr size_t TCP_EVENT_COUNT = 5;
inline constexpr size_t TCP_STATE_COUNT = 10;  // None to SynSent2

// The state machine's result for a segment, without its sequence numbers.
struct TcpStep {
  enum class Kind : uint8_t { Enter, Ignore, Invalid };
  Kind kind;
  ConnState state;  // Enter: the new one
};

// Looks a step up: `opener` says whether the segment comes from the end that opened.
//
// Source: Linux's nf_conntrack_proto_tcp, with tcp_loose and tcp_be_liberal off; RFC 9293.
[[nodiscard]] TcpStep tcpStep(bool opener, TcpEvent event, ConnState state) noexcept;

[[nodiscard]] TcpEvent tcpEventOf(uint8_t flags) noexcept;

// The result for a segment of a tracked connection.
enum class TcpFate : uint8_t {
  Accepted,  // it moved the connection on
  Ignored,   // it passes; the connection and its timer do not change
  Reopens,   // a SYN for a connection that is over: to be judged as a new one; nothing has changed
  Dropped,   // `reason` says why; nothing has changed
};

struct TcpOutcome {
  TcpFate fate = TcpFate::Accepted;
  DropReason reason = DropReason::None;
};

// Starts tracking with a connection's first segment, sent by end `sender`. If it is no SYN (loose
// start), the windows stay unknown.
void openTcp(ConnEntry& entry, uint8_t sender, const TcpSegment& segment) noexcept;

// Takes a segment of end `sender` through the state machine and the window checks.
//
// Errors: InvalidTcpState, OutOfWindow.
// Source: van Rooij 2001 (windows); RFC 5961 section 3.2 (a reset ends the connection only at the
//         exact sequence number); RFC 7323 section 2 (scaling).
[[nodiscard]] TcpOutcome trackTcp(ConnEntry& entry, uint8_t sender,
                                  const TcpSegment& segment) noexcept;

// Whether the numbers of both ends are there, as far as the state tells of them.
[[nodiscard]] bool isHeard(const ConnEntry& entry) noexcept;

// The same for an entry that programs may write to meanwhile: on a copy, whose numbers are raised
// into place. `*restarts` is set, and nothing is changed, when the segment would set numbers back:
// only an entry that is the worker's alone can take it.
//
// Shape: `entry` was isHeard() when it was admitted.
[[nodiscard]] TcpOutcome trackSharedTcp(ConnEntry& entry, uint8_t sender, const TcpSegment& segment,
                                        bool* restarts) noexcept;

// The class of a TCP connection. Linux drops a connection early once one end has closed; here it
// may finish first.
[[nodiscard]] ConnClass tcpClassOf(const ConnEntry& entry) noexcept;

// Whether end `sender` can have sent this sequence number recently, as an ICMP error claims.
//
// Source: RFC 5927 section 4.1.
[[nodiscard]] bool quotedSequenceFits(const ConnEntry& entry, uint8_t sender,
                                      uint32_t sequence) noexcept;

}  // namespace sluice
