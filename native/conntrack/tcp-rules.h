#pragma once

#include "native/conntrack/shared-table.h"
#include "native/layout/dialect.h"

// The rules for a TCP segment of a tracked connection: the one source for the addon's tracker and
// for eBPF programs, which pass what moves a connection on as it should and leave all else to the
// tracker.
//
// Source: van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001; Linux's
//         nf_conntrack_proto_tcp, with tcp_loose and tcp_be_liberal off; RFC 9293, RFC 7323.

// How many bytes an acknowledgement, or a quoted packet, may lag behind when windows are small.
#define SLUICE_STALE_BYTES_MIN 66000u
// A window scale that was not offered.
#define SLUICE_SCALE_ABSENT 255u

// The kinds of segment that the state machine distinguishes.
#define SLUICE_TCP_SYN 0u
#define SLUICE_TCP_SYN_ACK 1u
#define SLUICE_TCP_FIN 2u
#define SLUICE_TCP_ACK 3u
#define SLUICE_TCP_RST 4u

// Results of a step that are no state.
#define SLUICE_STEP_INVALID 14u
#define SLUICE_STEP_IGNORE 15u

// The states by their short names, for the rows below.
enum {
  SLUICE_NO = SLUICE_ConnState_None,
  SLUICE_SS = SLUICE_ConnState_SynSent,
  SLUICE_SR = SLUICE_ConnState_SynReceived,
  SLUICE_ES = SLUICE_ConnState_Established,
  SLUICE_FW = SLUICE_ConnState_FinWait,
  SLUICE_CW = SLUICE_ConnState_CloseWait,
  SLUICE_LA = SLUICE_ConnState_LastAck,
  SLUICE_TW = SLUICE_ConnState_TimeWait,
  SLUICE_CL = SLUICE_ConnState_Close,
  SLUICE_S2 = SLUICE_ConnState_SynSent2,
  SLUICE_IV = SLUICE_STEP_INVALID,
  SLUICE_IG = SLUICE_STEP_IGNORE,
};

// A row of steps by state, four bits each: an eBPF program has no constants but those in its
// instructions.
#define SLUICE_STEPS(no, ss, sr, es, fw, cw, la, tw, cl, s2)                                    \
  ((SluiceU64)SLUICE_##no | (SluiceU64)SLUICE_##ss << 4 | (SluiceU64)SLUICE_##sr << 8 |         \
   (SluiceU64)SLUICE_##es << 12 | (SluiceU64)SLUICE_##fw << 16 | (SluiceU64)SLUICE_##cw << 20 | \
   (SluiceU64)SLUICE_##la << 24 | (SluiceU64)SLUICE_##tw << 28 | (SluiceU64)SLUICE_##cl << 32 | \
   (SluiceU64)SLUICE_##s2 << 36)

// clang-format off
#define SLUICE_STEPS_OPENER_SYN     SLUICE_STEPS(SS, SS, IG, IG, IG, IG, IG, SS, SS, S2)
#define SLUICE_STEPS_OPENER_SYN_ACK SLUICE_STEPS(IV, IV, SR, IV, IV, IV, IV, IV, IV, SR)
#define SLUICE_STEPS_OPENER_FIN     SLUICE_STEPS(IV, IV, FW, FW, LA, LA, LA, TW, CL, IV)
#define SLUICE_STEPS_OPENER_ACK     SLUICE_STEPS(IV, IV, ES, ES, CW, CW, TW, TW, CL, IV)
#define SLUICE_STEPS_OPENER_RST     SLUICE_STEPS(IV, CL, CL, CL, CL, CL, CL, CL, CL, CL)
#define SLUICE_STEPS_OTHER_SYN      SLUICE_STEPS(IV, S2, IV, IV, IV, IV, IV, SS, IV, S2)
#define SLUICE_STEPS_OTHER_SYN_ACK  SLUICE_STEPS(IV, SR, IG, IG, IG, IG, IG, IG, IG, SR)
#define SLUICE_STEPS_OTHER_FIN      SLUICE_STEPS(IV, IV, FW, FW, LA, LA, LA, TW, CL, IV)
#define SLUICE_STEPS_OTHER_ACK      SLUICE_STEPS(IV, IG, SR, ES, CW, CW, TW, TW, CL, IG)
#define SLUICE_STEPS_OTHER_RST      SLUICE_STEPS(IV, CL, CL, CL, CL, CL, CL, CL, CL, CL)
// clang-format on

// The steps of an event, by state; see SLUICE_STEPS.
SLUICE_CONSTEXPR SluiceU64 sluiceTcpSteps(SluiceBool opener, SluiceU32 event) {
  switch (event) {
    case SLUICE_TCP_SYN:
      return opener ? SLUICE_STEPS_OPENER_SYN : SLUICE_STEPS_OTHER_SYN;
    case SLUICE_TCP_SYN_ACK:
      return opener ? SLUICE_STEPS_OPENER_SYN_ACK : SLUICE_STEPS_OTHER_SYN_ACK;
    case SLUICE_TCP_FIN:
      return opener ? SLUICE_STEPS_OPENER_FIN : SLUICE_STEPS_OTHER_FIN;
    case SLUICE_TCP_ACK:
      return opener ? SLUICE_STEPS_OPENER_ACK : SLUICE_STEPS_OTHER_ACK;
    default:
      return opener ? SLUICE_STEPS_OPENER_RST : SLUICE_STEPS_OTHER_RST;
  }
}

SLUICE_CONSTEXPR SluiceU32 sluiceStepOf(SluiceU64 steps, SluiceU32 state) {
  return (SluiceU32)(steps >> (state * 4)) & 15;
}

// Sequence numbers wrap: `a` is before `b` when the distance from `a` forward to `b` is the shorter
// one.
SLUICE_CONSTEXPR SluiceBool sluiceBefore(SluiceU32 a, SluiceU32 b) {
  return (__INT32_TYPE__)(a - b) < 0;
}

// A segment's window, as its sender's scale makes it. Scaling is not settled if the connection was
// reset before it was answered.
SLUICE_INLINE SluiceU32 sluiceWindow(SluiceU32 window, SluiceU32 scale, SluiceBool isSyn) {
  return !isSyn && scale != SLUICE_SCALE_ABSENT ? window << scale : window;
}

// Whether the answer to a SYN acknowledges just that SYN.
SLUICE_INLINE SluiceBool sluiceAcknowledgesSyn(const SluiceTcpEnd* from, const SluiceTcpEnd* opener,
                                               SluiceU32 acknowledgement) {
  return !sluiceBefore(acknowledgement, from->peerLimit) &&
         !sluiceBefore(opener->sentEnd, acknowledgement);
}

SLUICE_INLINE SluiceBool sluiceSequenceFits(const SluiceTcpEnd* from, const SluiceTcpEnd* to,
                                            SluiceU32 sequence, SluiceU32 end) {
  return !sluiceBefore(to->peerLimit + 1, sequence) &&
         !sluiceBefore(end, from->sentEnd - to->windowMax - 1);
}

SLUICE_INLINE SluiceBool sluiceAcknowledgementFits(const SluiceTcpEnd* from, const SluiceTcpEnd* to,
                                                   SluiceU32 acknowledgement) {
  const SluiceU32 stale =
      from->windowMax > SLUICE_STALE_BYTES_MIN ? from->windowMax : SLUICE_STALE_BYTES_MIN;
  return !sluiceBefore(to->sentEnd, acknowledgement) &&
         !sluiceBefore(acknowledgement, to->sentEnd - stale - 1);
}
