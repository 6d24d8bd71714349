#include "native/conntrack/tcp-track.h"

#include <algorithm>
#include <array>
#include <functional>

#include "native/conntrack/tcp-rules.h"

namespace sluice {
namespace {

using StepRows = std::array<SluiceU64, TCP_EVENT_COUNT>;
static_assert(static_cast<uint32_t>(TcpEvent::Syn) == SLUICE_TCP_SYN &&
              static_cast<uint32_t>(TcpEvent::SynAck) == SLUICE_TCP_SYN_ACK &&
              static_cast<uint32_t>(TcpEvent::Fin) == SLUICE_TCP_FIN &&
              static_cast<uint32_t>(TcpEvent::Ack) == SLUICE_TCP_ACK &&
              static_cast<uint32_t>(TcpEvent::Rst) == SLUICE_TCP_RST);
static_assert(SLUICE_S2 + 1 == TCP_STATE_COUNT && SLUICE_SCALE_ABSENT == WINDOW_SCALE_ABSENT);

constexpr StepRows stepsOf(bool opener) {
  StepRows rows = {};
  for (uint32_t event = 0; event < rows.size(); ++event)
    rows[event] = sluiceTcpSteps(opener, event);
  return rows;
}
constexpr StepRows FROM_OPENER = stepsOf(true);
constexpr StepRows FROM_OTHER = stepsOf(false);

bool before(uint32_t a, uint32_t b) { return sluiceBefore(a, b); }
bool after(uint32_t a, uint32_t b) { return sluiceBefore(b, a); }

bool has(const TcpSegment& segment, uint8_t flag) { return (segment.flags & flag) != 0; }

uint8_t ackSeenFlag(uint8_t end) {
  return end == 0 ? ConnEntry::ACK_SEEN_LOWER : ConnEntry::ACK_SEEN_HIGHER;
}

uint32_t endOf(const TcpSegment& segment) {
  return segment.sequence + segment.payloadBytes + (has(segment, TCP_SYN) ? 1 : 0) +
         (has(segment, TCP_FIN) ? 1 : 0);
}

uint32_t windowOf(const ConnEntry& entry, uint8_t sender, const TcpSegment& segment) {
  return sluiceWindow(segment.window, entry.windowScale[sender], has(segment, TCP_SYN));
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
      if (!has(segment, TCP_ACK) || !sluiceAcknowledgesSyn(&from, &to, segment.acknowledgement)) {
        return dropped(DropReason::OutOfWindow);
      }
    } else {
      if (!sluiceSequenceFits(&from, &to, segment.sequence, segment.sequence)) {
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

void load(const TcpEnd& from, TcpEnd* copy) {
  copy->sentEnd = __atomic_load_n(&from.sentEnd, __ATOMIC_RELAXED);
  copy->peerLimit = __atomic_load_n(&from.peerLimit, __ATOMIC_RELAXED);
  copy->windowMax = __atomic_load_n(&from.windowMax, __ATOMIC_RELAXED);
  copy->ackMax = __atomic_load_n(&from.ackMax, __ATOMIC_RELAXED);
}

void store(const TcpEnd& from, TcpEnd* into) {
  __atomic_store_n(&into->sentEnd, from.sentEnd, __ATOMIC_RELAXED);
  __atomic_store_n(&into->peerLimit, from.peerLimit, __ATOMIC_RELAXED);
  __atomic_store_n(&into->ackMax, from.ackMax, __ATOMIC_RELAXED);
  // Last: it says that the end has been heard of.
  __atomic_store_n(&into->windowMax, from.windowMax, __ATOMIC_RELEASE);
}

template <typename IsLess>
void raise(uint32_t* number, uint32_t was, uint32_t to, IsLess isLess) {
  uint32_t have = __atomic_load_n(number, __ATOMIC_RELAXED);
  while (
      to != was && isLess(have, to) &&
      !__atomic_compare_exchange_n(number, &have, to, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    continue;
  }
}

void raise(const TcpEnd& was, const TcpEnd& to, TcpEnd* into) {
  raise(&into->windowMax, was.windowMax, to.windowMax, std::less<uint32_t>());
  raise(&into->sentEnd, was.sentEnd, to.sentEnd, before);
  raise(&into->ackMax, was.ackMax, to.ackMax, before);
  raise(&into->peerLimit, was.peerLimit, to.peerLimit, before);
}

bool isSame(const TcpEnd& one, const TcpEnd& other) {
  return one.sentEnd == other.sentEnd && one.peerLimit == other.peerLimit &&
         one.windowMax == other.windowMax && one.ackMax == other.ackMax;
}

// Whether a segment that a copy took has begun the connection anew, with other numbers.
bool isRestarted(const ConnEntry& copy, const ConnEntry& before) {
  const bool opened = copy.state == ConnState::SynSent ||
                      (before.flags & ~copy.flags & ConnEntry::SYN_IGNORED) != 0;
  return opened && !(copy.state == before.state && copy.windowScale[0] == before.windowScale[0] &&
                     copy.windowScale[1] == before.windowScale[1] &&
                     isSame(copy.ends[0].tcp, before.ends[0].tcp) &&
                     isSame(copy.ends[1].tcp, before.ends[1].tcp));
}

// Reads the word and then the numbers, which are no older.
void loadShared(const ConnEntry& entry, uint32_t word, ConnEntry* copy) {
  copy->key = entry.key;
  copy->state = static_cast<ConnState>(word & 255);
  copy->flags = static_cast<uint8_t>(word >> 8);
  copy->windowScale[0] = static_cast<uint8_t>(word >> 16);
  copy->windowScale[1] = static_cast<uint8_t>(word >> 24);
  for (size_t end = 0; end < 2; ++end) {
    copy->ends[end].ignoredSynEnd = entry.ends[end].ignoredSynEnd;
    copy->ends[end].ignoredSynWindow = entry.ends[end].ignoredSynWindow;
    copy->ends[end].ignoredSynScale = entry.ends[end].ignoredSynScale;
    load(entry.ends[end].tcp, &copy->ends[end].tcp);
  }
}

}  // namespace

TcpEvent tcpEventOf(uint8_t flags) noexcept {
  if ((flags & TCP_RST) != 0) return TcpEvent::Rst;
  if ((flags & TCP_SYN) != 0) return (flags & TCP_ACK) != 0 ? TcpEvent::SynAck : TcpEvent::Syn;
  return (flags & TCP_FIN) != 0 ? TcpEvent::Fin : TcpEvent::Ack;
}

TcpStep tcpStep(bool opener, TcpEvent event, ConnState state) noexcept {
  const StepRows& rows = opener ? FROM_OPENER : FROM_OTHER;
  const uint32_t step =
      sluiceStepOf(rows[static_cast<size_t>(event)], static_cast<uint32_t>(state));
  if (step == SLUICE_STEP_INVALID) return {TcpStep::Kind::Invalid, state};
  if (step == SLUICE_STEP_IGNORE) return {TcpStep::Kind::Ignore, state};
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
    if (event == TcpEvent::SynAck && !sluiceAcknowledgesSyn(&from, &to, segment.acknowledgement)) {
      return dropped(DropReason::OutOfWindow);
    }
    startEnd(entry, sender, segment, to.windowMax);
    settleScale(entry);
  } else {
    const bool fits =
        sluiceSequenceFits(&from, &to, segment.sequence, endOf(segment)) &&
        (!has(segment, TCP_ACK) || sluiceAcknowledgementFits(&from, &to, segment.acknowledgement));
    if (!fits) return dropped(DropReason::OutOfWindow);
  }
  advance(entry, sender, segment);
  entry.state = step.state;
  return {};
}

bool isHeard(const ConnEntry& entry) noexcept {
  return (entry.flags & ConnEntry::NO_WINDOW) != 0 || entry.state == ConnState::SynSent ||
         entry.state == ConnState::Close ||
         (entry.ends[0].tcp.windowMax != 0 && entry.ends[1].tcp.windowMax != 0);
}

TcpOutcome trackSharedTcp(ConnEntry& entry, uint8_t sender, const TcpSegment& segment,
                          bool* restarts) noexcept {
  *restarts = false;
  uint32_t word = entry.word();
  for (;;) {
    ConnEntry was;
    loadShared(entry, word, &was);
    // A program has replaced the word, and not stored the numbers of that end's first segment yet.
    if (!isHeard(was)) {
      word = entry.word();
      continue;
    }
    ConnEntry copy = was;
    const TcpOutcome outcome = trackTcp(copy, sender, segment);
    if (outcome.fate == TcpFate::Dropped || outcome.fate == TcpFate::Reopens) return outcome;
    if (isRestarted(copy, was)) {
      *restarts = true;
      return outcome;
    }
    SluiceConnEnd& own = entry.ends[sender];
    SluiceConnEnd& other = entry.ends[1 - sender];
    own.ignoredSynEnd = copy.ends[sender].ignoredSynEnd;
    own.ignoredSynWindow = copy.ends[sender].ignoredSynWindow;
    own.ignoredSynScale = copy.ends[sender].ignoredSynScale;
    const bool isFirst = was.ends[sender].tcp.windowMax == 0;
    const bool seesAck = ((copy.flags & ~was.flags) & ackSeenFlag(sender)) != 0;
    // Not told as seen yet, so nobody has read it.
    if (seesAck) __atomic_store_n(&own.tcp.ackMax, copy.ends[sender].tcp.ackMax, __ATOMIC_RELAXED);
    const uint32_t next = static_cast<uint32_t>(copy.state) | uint32_t{copy.flags} << 8 |
                          uint32_t{copy.windowScale[0]} << 16 | uint32_t{copy.windowScale[1]} << 24;
    if (next != word && !entry.replaceWord(&word, next)) continue;
    if (isFirst) {
      store(copy.ends[1 - sender].tcp, &other.tcp);
      store(copy.ends[sender].tcp, &own.tcp);
    } else {
      raise(was.ends[1 - sender].tcp, copy.ends[1 - sender].tcp, &other.tcp);
      raise(was.ends[sender].tcp, copy.ends[sender].tcp, &own.tcp);
    }
    return outcome;
  }
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
  const uint32_t stale = std::max(to.windowMax, SLUICE_STALE_BYTES_MIN);
  return from.windowMax != 0 && !after(sequence, from.sentEnd) &&
         !before(sequence, from.sentEnd - stale - 1);
}

}  // namespace sluice
