// Goal: fragments follow the first one's verdict, in bounded memory, and no overlap slips through.
// Method: datagrams cut at chosen places, through the whole filter.
#include <vector>

#include "native/testing/one-pod.h"
#include "native/testing/test.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr uint16_t MORE = 0x2000;
constexpr uint64_t SECOND = 1'000'000;

// A fragment of a UDP datagram from the pod to the server, port 53; `offset` in bytes.
std::vector<uint8_t> fragment(uint8_t family, uint16_t id, uint32_t offset, uint32_t bytes,
                              bool more, uint8_t destination = 12) {
  FrameBuilder frame(family, 10, destination, PROTOCOL_UDP);
  frame.payload.assign(bytes, 0);
  if (offset == 0) {
    frame.payload[0] = 0x10;
    frame.payload[3] = 53;
    frame.payload[4] = 0x10;
  }
  const auto units = static_cast<uint16_t>(offset / 8);
  if (family == 4) {
    frame.identification = id;
    frame.fragment = static_cast<uint16_t>(units | (more ? MORE : 0));
  } else {
    frame.options = {PROTOCOL_UDP, 0};
    append16(frame.options, static_cast<uint32_t>(units << 3 | (more ? 1 : 0)));
    append32(frame.options, id);
    frame.protocol = 44;
  }
  return frame.build();
}

}  // namespace

TEST("fragments: later ones follow an allowed first one, in any order, and end with it") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    OnePod pod;
    CHECK(pod.fromPod(fragment(family, 1, 8, 8, true), 0).reason == DropReason::FragmentOrphan);
    CHECK(pod.fromPod(fragment(family, 1, 0, 64, true), 0).passes());
    CHECK(pod.fromPod(fragment(family, 1, 128, 30, false), 0).passes());
    CHECK(pod.fromPod(fragment(family, 1, 64, 64, true), 0).passes());
    // The datagram is whole: nothing more of it is known.
    CHECK(pod.fromPod(fragment(family, 1, 64, 64, true), 0).reason == DropReason::FragmentOrphan);
    CHECK(pod.fromPod(fragment(family, 1, 0, 64, true), 0).passes());
  }
}

TEST("fragments: what follows a refused first one is refused") {
  OnePod pod;
  CHECK(pod.fromPod(fragment(4, 1, 0, 64, true, 13), 0).reason == DropReason::PolicyEgress);
  CHECK(pod.fromPod(fragment(4, 1, 64, 64, false, 13), 0).reason == DropReason::FragmentOrphan);
}

TEST("fragments: a datagram that a newer table denies gets no further") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const auto established : {Established::Recheck, Established::Keep, Established::Cut}) {
      OnePod pod({.established = established});
      CHECK(pod.fromPod(fragment(family, 1, 0, 64, true), 0).passes());
      pod.publish();
      CHECK(pod.fromPod(fragment(family, 1, 64, 64, true), 1).passes());
      pod.publish(OnePod::Policy::DenyAll);
      const Judgement late = pod.fromPod(fragment(family, 1, 128, 64, true), 2);
      if (established == Established::Keep) {
        CHECK(late.passes());
        continue;
      }
      CHECK(late.reason == DropReason::PolicyEgress && late.deniedBy == DENIED_BY_EGRESS);
      CHECK(pod.fromPod(fragment(family, 1, 192, 30, false), 3).reason == DropReason::PolicyEgress);
      // Not even when it is allowed again, nor behind another start: its receiver has the old one.
      pod.publish();
      CHECK(pod.fromPod(fragment(family, 1, 0, 72, true), 4).reason == DropReason::FragmentOverlap);
      CHECK(pod.fromPod(fragment(family, 1, 192, 30, false), 5).reason ==
            DropReason::FragmentOrphan);
    }
  }
}

TEST("fragments: an answer's are judged again by what its connection was allowed for") {
  OnePod pod;
  const auto answer = [](uint32_t offset, bool more) {
    FrameBuilder frame(4, 12, 10, PROTOCOL_UDP);
    frame.identification = 7;
    frame.fragment = static_cast<uint16_t>(offset / 8 | (more ? MORE : 0));
    frame.payload.assign(64, 0);
    if (offset == 0) {
      frame.payload.assign(64, 0);
      frame.payload[1] = 53;
      frame.payload[2] = 0x10;
      frame.payload[4] = 0x10;
    }
    return frame.build();
  };
  CHECK(pod.fromPod(udpFrame(4, 10, 0x1000, 12, 53), 0).opened);
  CHECK(pod.fromNet(answer(0, true), 1).passes());
  pod.publish();
  CHECK(pod.fromNet(answer(64, true), 2).passes());
  pod.publish(OnePod::Policy::DenyAll);
  CHECK(pod.fromNet(answer(128, false), 3).reason == DropReason::PolicyEgress);
}

TEST("fragments: an overlap spoils the datagram, a copy does not") {
  struct Piece {
    uint32_t offset;
    uint32_t bytes;
    bool more;
  };
  const std::vector<Piece> overlaps = {{56, 64, true}, {0, 72, true},   {64, 128, true},
                                       {72, 8, true},  {120, 16, true}, {64, 30, false}};
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const auto& [offset, bytes, more] : overlaps) {
      OnePod pod;
      CHECK(pod.fromPod(fragment(family, 1, 0, 64, true), 0).passes());
      CHECK(pod.fromPod(fragment(family, 1, 64, 64, true), 0).passes());
      CHECK(pod.fromPod(fragment(family, 1, 0, 64, true), 0).reason == DropReason::FragmentOverlap);
      CHECK(pod.fromPod(fragment(family, 1, 64, 64, true), 0).reason ==
            DropReason::FragmentOverlap);
      CHECK(pod.fromPod(fragment(family, 1, 128, 8, true), 0).passes());
      CHECK(pod.fromPod(fragment(family, 1, offset, bytes, more), 0).reason ==
            DropReason::FragmentOverlap);
      CHECK(pod.fromPod(fragment(family, 1, 136, 8, false), 0).reason ==
            DropReason::FragmentOverlap);
    }
  }
}

TEST("fragments: the last one fixes the length") {
  OnePod pod;
  CHECK(pod.fromPod(fragment(4, 1, 0, 64, true), 0).passes());
  CHECK(pod.fromPod(fragment(4, 1, 256, 20, false), 0).passes());
  CHECK(pod.fromPod(fragment(4, 1, 280, 8, true), 0).reason == DropReason::FragmentOverlap);
  CHECK(pod.fromPod(fragment(4, 2, 0, 64, true), 0).passes());
  CHECK(pod.fromPod(fragment(4, 2, 256, 16, true), 0).passes());
  CHECK(pod.fromPod(fragment(4, 2, 128, 8, false), 0).reason == DropReason::FragmentOverlap);
}

TEST("fragments: a datagram is forgotten after 34 s, of IPv6 after 68 s") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    OnePod pod;
    const uint64_t life = (family == 4 ? 34 : 68) * SECOND;
    CHECK(pod.fromPod(fragment(family, 1, 0, 64, true), 5).passes());
    CHECK(pod.fromPod(fragment(family, 1, 64, 64, true), 4 + life).passes());
    CHECK(pod.fromPod(fragment(family, 1, 128, 64, true), 5 + life).reason ==
          DropReason::FragmentOrphan);
  }
}

TEST("fragments: gaps are bounded") {
  OnePod pod;
  CHECK(pod.fromPod(fragment(4, 1, 0, 16, true), 0).passes());
  uint32_t passed = 0;
  for (uint32_t each = 1; each < 20; ++each) {
    const Judgement judgement = pod.fromPod(fragment(4, 1, each * 32, 16, true), 0);
    if (judgement.passes()) ++passed;
    CHECK(judgement.passes() || judgement.reason == DropReason::FragmentFull);
  }
  CHECK(passed == 7);
  // Filling a gap makes room.
  CHECK(pod.fromPod(fragment(4, 1, 16, 16, true), 0).passes());
}
