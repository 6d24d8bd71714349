#include "native/conntrack/tcp-track.h"

#include <algorithm>
#include <array>

namespace sluice {
namespace {

// How many bytes an acknowledgement, or a quoted packet, may lag behind when windows are small.
constexpr uint32_t STALE_BYTES_MIN = 66'000;

constexpr uint8_t NO = static_cast<uint8_t>(ConnState::None);
constexpr uint8_t SS = static_cast<uint8_t>(ConnState::SynSent);
constexpr uint8_t SR = static_cast<uint8_t>(ConnState::SynReceived);
constexpr uint8_t ES = static_cast<uint8_t>(ConnState::Established);
constexpr uint8_t FW = static_cast<uint8_t>(ConnState::FinWait);
constexpr uint8_t CW = static_cast<uint8_t>(ConnState::CloseWait);
constexpr uint8_t LA = static_cast<uint8_t>(ConnState::LastAck);
constexpr uint8_t TW = static_cast<uint8_t>(ConnState::TimeWait);
constexpr uint8_t CL = static_cast<uint8_t>(ConnState::Close);
constexpr uint8_t S2 = static_cast<uint8_t>(ConnState::SynSent2);
constexpr uint8_t IV = 0xfe;  // invalid: drop
constexpr uint8_t IG = 0xff;  // pass, keep the state
static_assert(NO == 0 && S2 + 1 == TCP_STATE_COUNT);

using StepTable = std::array<std::array<uint8_t, TCP_STATE_COUNT>, TCP_EVENT_COUNT>;

// clang-format off
constexpr StepTable FROM_OPENER = {{
    //  NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
    {{  SS, SS, IG, IG, IG, IG, IG, SS, SS, S2 }},  // SYN
    {{  IV, IV, SR, IV, IV, IV, IV, IV, IV, SR }},  // SYN, ACK
    {{  IV, IV, FW, FW, LA, LA, LA, TW, CL, IV }},  // FIN
    {{  IV, IV, ES, ES, CW, CW, TW, TW, CL, IV }},  // ACK
    {{  IV, CL, CL, CL, CL, CL, CL, CL, CL, CL }},  // RST
}};
constexpr StepTable FROM_OTHER = {{
    //  NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
    {{  IV, S2, IV, IV, IV, IV, IV, SS, IV, S2 }},  // SYN
    {{  IV, SR, IG, IG, IG, IG, IG, IG, IG, SR }},  // SYN, ACK
    {{  IV, IV, FW, FW, LA, LA, LA, TW, CL, IV }},  // FIN
    {{  IV, IG, SR, ES, CW, CW, TW, TW, CL, IG }},  // ACK
    {{  IV, CL, CL, CL, CL, CL, CL, CL, CL, CL }},  // RST
}};
// clang-format on

// Sequence numbers wrap: `a` is before `b` when the distance from `a` forward to `b` is the shorter
// one.
bool before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
bool after(uint32_t a, uint32_t b) { return before(b, a); }

bool has(const TcpSegment& segment, uint8_t flag) { return (segment.flags & flag) != 0; }

uint8_t ackSeenFlag(uint8_t end) {
  return end == 0 ? ConnEntry::ACK_SEEN_LOWER : ConnEntry::ACK_SEEN_HIGHER;
}

uint32_t endOf(const TcpSegment& segment) {
  return segment.sequence + segment.payloadBytes + (has(segment, TCP_SYN) ? 1 : 0) +
         (has(segment, TCP_FIN) ? 1 : 0);
}

uint32_t windowOf(const ConnEntry& entry, uint8_t sender, const TcpSegment& segment) {
  // Scaling is not settled if the connection was reset before it was answered.
  const uint8_t scale = entry.windowScale[sender];
  const bool scaled = !has(segment, TCP_SYN) && scale != WINDOW_SCALE_ABSENT;
  return scaled ? uint32_t{segment.window} << scale : segment.window;
}

// Records an end's first SYN. `peerWindow` is the window that the other end has offered. When it is
// 0, unknown, only the SYN itself may be acknowledged so far.
void startEnd(ConnEntry& entry, uint8_t sender, const TcpSegment& segment, uint32_t peerWindow) {
  TcpEnd& end = entry.ends[sender].tcp;
  end.sentEnd = endOf(segment);
  entry.ends[1 - sender].tcp.peerLimit = segment.sequence + 1 + peerWindow;
  end.windowMax = std::max<uint32_t>(segment.window, 1);
  entry.windowScale[sender] = segment.windowScale;
}

// Settles window scaling once both SYNs are seen: it is used only when both ends offered it.
void settleScale(ConnEntry& entry) {
  uint8_t* const scale = entry.windowScale;
  if (scale[0] == WINDOW_SCALE_ABSENT || scale[1] == WINDOW_SCALE_ABSENT) scale[0] = scale[1] = 0;
}

bool acknowledgesSyn(const TcpEnd& from, const TcpEnd& opener, uint32_t acknowledgement) {
  return !before(acknowledgement, from.peerLimit) && !after(acknowledgement, opener.sentEnd);
}

bool sequenceFits(const TcpEnd& from, const TcpEnd& to, uint32_t sequence, uint32_t end) {
  return !after(sequence, to.peerLimit + 1) && !before(end, from.sentEnd - to.windowMax - 1);
}

bool acknowledgementFits(const TcpEnd& from, const TcpEnd& to, uint32_t acknowledgement) {
  const uint32_t stale = std::max(from.windowMax, STALE_BYTES_MIN);
  return !after(acknowledgement, to.sentEnd) && !before(acknowledgement, to.sentEnd - stale - 1);
}

// Updates both ends from a segment that passed the window checks.
void advance(ConnEntry& entry, uint8_t sender, const TcpSegment& segment) {
  TcpEnd& from = entry.ends[sender].tcp;
  TcpEnd& to = entry.ends[1 - sender].tcp;
  const uint32_t end =
      segment.partial ? std::max(endOf(segment), to.peerLimit, before) : endOf(segment);
  const uint32_t window = windowOf(entry, sender, segment);
  from.windowMax = std::max(from.windowMax, window);
  if (after(end, from.sentEnd)) from.sentEnd = end;
  if (after(end, to.peerLimit)) to.windowMax += end - to.peerLimit;
  if (!has(segment, TCP_ACK)) return;

  const uint8_t seen = ackSeenFlag(sender);
  if ((entry.flags & seen) == 0 || after(segment.acknowledgement, from.ackMax)) {
    from.ackMax = segment.acknowledgement;
    entry.flags |= seen;
  }
  // A closed window still lets one byte pass, as a window probe.
  const uint32_t limit = segment.acknowledgement + std::max<uint32_t>(window, 1);
  if (after(limit, from.peerLimit)) from.peerLimit = limit;
}

TcpOutcome dropped(DropReason reason) { return {TcpFate::Dropped, reason}; }

TcpOutcome reset(ConnEntry& entry, uint8_t sender, const TcpSegment& segment) {
  const TcpEnd& from = entry.ends[sender].tcp;
  const TcpEnd& to = entry.ends[1 - sender].tcp;
  bool exact = true;
  if ((entry.flags & ConnEntry::NO_WINDOW) == 0) {
    if (from.windowMax == 0) {
      // A refused connection: the reset's sequence number means nothing, so it must acknowledge the
      // SYN.
      if (!has(segment, TCP_ACK) || !acknowledgesSyn(from, to, segment.acknowledgement)) {
        return dropped(DropReason::OutOfWindow);
      }
    } else {
      if (!sequenceFits(from, to, segment.sequence, segment.sequence)) {
        return dropped(DropReason::OutOfWindow);
      }
      const bool acknowledged = (entry.flags & ackSeenFlag(1 - sender)) != 0;
      exact = segment.sequence == from.sentEnd || (acknowledged && segment.sequence == to.ackMax);
    }
  }
  if (!exact) return {TcpFate::Ignored};  // the receiver answers with a challenge ACK
  entry.state = ConnState::Close;
  return {};
}

// Handles segments that pass without changing the connection's state. An opener that has lost its
// state starts again with a SYN. If the other end has lost its state too, it answers that SYN; only
// this answer proves that the old connection is gone.
TcpOutcome ignore(ConnEntry& entry, uint8_t sender, TcpEvent event, const TcpSegment& segment) {
  const uint8_t opener = entry.opener();
  if (event == TcpEvent::Syn && sender == opener) {
    entry.flags |= ConnEntry::SYN_IGNORED;
    SluiceConnEnd& end = entry.ends[opener];
    end.ignoredSynEnd = endOf(segment);
    end.ignoredSynWindow = segment.window;
    end.ignoredSynScale = segment.windowScale;
    return {TcpFate::Ignored};
  }
  const bool answers = event == TcpEvent::SynAck && sender != opener &&
                       (entry.flags & ConnEntry::SYN_IGNORED) != 0 &&
                       segment.acknowledgement == entry.ends[opener].ignoredSynEnd;
  if (!answers) return {TcpFate::Ignored};

  TcpSegment syn;
  const SluiceConnEnd& end = entry.ends[opener];
  syn.sequence = end.ignoredSynEnd - 1;
  syn.window = end.ignoredSynWindow;
  syn.windowScale = end.ignoredSynScale;
  syn.flags = TCP_SYN;
  openTcp(entry, opener, syn);
  return trackTcp(entry, sender, segment);
}

}  // namespace

TcpEvent tcpEventOf(uint8_t flags) noexcept {
  if ((flags & TCP_RST) != 0) return TcpEvent::Rst;
  if ((flags & TCP_SYN) != 0) return (flags & TCP_ACK) != 0 ? TcpEvent::SynAck : TcpEvent::Syn;
  return (flags & TCP_FIN) != 0 ? TcpEvent::Fin : TcpEvent::Ack;
}

TcpStep tcpStep(bool opener, TcpEvent event, ConnState state) noexcept {
  const StepTable& table = opener ? FROM_OPENER : FROM_OTHER;
  const uint8_t step = table[static_cast<size_t>(event)][static_cast<size_t>(state)];
  if (step == IV) return {TcpStep::Kind::Invalid, state};
  if (step == IG) return {TcpStep::Kind::Ignore, state};
  return {TcpStep::Kind::Enter, static_cast<ConnState>(step)};
}

void openTcp(ConnEntry& entry, uint8_t sender, const TcpSegment& segment) noexcept {
  constexpr uint8_t KEPT = ConnEntry::ORIGINAL_FROM_HIGHER | ConnEntry::UNREPLIED |
                           ConnEntry::AUDIT_UNREPORTED | ConnEntry::ASSURED;
  entry.flags &= KEPT;
  for (size_t end = 0; end < 2; ++end) {
    entry.ends[end].tcp = {};
    entry.windowScale[end] = WINDOW_SCALE_ABSENT;
  }
  if (tcpEventOf(segment.flags) == TcpEvent::Syn) {
    startEnd(entry, sender, segment, 0);
    entry.state = ConnState::SynSent;
  } else {
    entry.flags |= ConnEntry::NO_WINDOW;
    entry.state = ConnState::Established;
  }
}

TcpOutcome trackTcp(ConnEntry& entry, uint8_t sender, const TcpSegment& segment) noexcept {
  const bool fromOpener = sender == entry.opener();
  const TcpEvent event = tcpEventOf(segment.flags);
  const TcpStep step = tcpStep(fromOpener, event, entry.state);
  if (step.kind == TcpStep::Kind::Invalid) return dropped(DropReason::InvalidTcpState);
  if (step.kind == TcpStep::Kind::Ignore) return ignore(entry, sender, event, segment);
  if (event == TcpEvent::Rst) return reset(entry, sender, segment);
  if (step.state == ConnState::SynSent) {
    if (entry.state != ConnState::SynSent) return {TcpFate::Reopens};
    openTcp(entry, sender, segment);  // sent again, perhaps with another sequence number
    return {};
  }
  if ((entry.flags & ConnEntry::NO_WINDOW) != 0) {
    entry.state = step.state;
    return {};
  }

  TcpEnd& from = entry.ends[sender].tcp;
  const TcpEnd& to = entry.ends[1 - sender].tcp;
  if (from.windowMax == 0) {
    // The other end's first segment: the answer to the SYN, or a SYN that crosses it.
    if (event == TcpEvent::SynAck && !acknowledgesSyn(from, to, segment.acknowledgement)) {
      return dropped(DropReason::OutOfWindow);
    }
    startEnd(entry, sender, segment, to.windowMax);
    settleScale(entry);
  } else {
    const bool fits =
        sequenceFits(from, to, segment.sequence, endOf(segment)) &&
        (!has(segment, TCP_ACK) || acknowledgementFits(from, to, segment.acknowledgement));
    if (!fits) return dropped(DropReason::OutOfWindow);
  }
  advance(entry, sender, segment);
  entry.state = step.state;
  return {};
}

ConnClass tcpClassOf(const ConnEntry& entry) noexcept {
  switch (entry.state) {
    case ConnState::Established:
      return (entry.flags & ConnEntry::UNREPLIED) != 0 ? ConnClass::Unanswered : ConnClass::Assured;
    case ConnState::FinWait:
    case ConnState::CloseWait:
    case ConnState::LastAck:
      return ConnClass::Unassured;
    case ConnState::TimeWait:
    case ConnState::Close:
      return ConnClass::Closing;
    default:
      return ConnClass::Unanswered;
  }
}

bool quotedSequenceFits(const ConnEntry& entry, uint8_t sender, uint32_t sequence) noexcept {
  if ((entry.flags & ConnEntry::NO_WINDOW) != 0) return true;
  const TcpEnd& from = entry.ends[sender].tcp;
  const TcpEnd& to = entry.ends[1 - sender].tcp;
  const uint32_t stale = std::max(to.windowMax, STALE_BYTES_MIN);
  return from.windowMax != 0 && !after(sequence, from.sentEnd) &&
         !before(sequence, from.sentEnd - stale - 1);
}

}  // namespace sluice
