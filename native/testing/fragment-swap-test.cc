// Goal: no fragment passes that completes, at whoever receives it, a datagram that the table in
// force denies: whatever has been forgotten here, in any order of fragments and swaps.
// Method: all short sequences and many long ones, beside a receiver that keeps every start it has
// had for as long as it may, and has missed whatever would have completed it.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "native/conntrack/address-hash.h"
#include "native/conntrack/forgotten-datagrams.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr uint64_t SECOND = 1'000'000;
constexpr uint16_t ALLOWED = 53;  // by the usual policy
constexpr uint16_t DENIED = 54;   // by that, and not by the one that allows all

constexpr uint8_t FRIEND = 11;  // any port is allowed
constexpr uint8_t SERVER = 12;

// A part of a UDP datagram from the pod.
std::vector<uint8_t> part(uint8_t family, uint16_t id, uint32_t offset, bool more, uint16_t port,
                          uint8_t to = SERVER) {
  FrameBuilder frame(family, 10, to, PROTOCOL_UDP);
  frame.payload.assign(64, 0);
  if (offset == 0) {
    frame.payload[0] = 0x10;
    frame.payload[2] = static_cast<uint8_t>(port >> 8);
    frame.payload[3] = static_cast<uint8_t>(port);
    frame.payload[4] = 0x10;
  }
  const uint32_t units = offset / 8;
  if (family == 4) {
    frame.identification = id;
    frame.fragment = static_cast<uint16_t>(units | (more ? 0x2000 : 0));
  } else {
    frame.options = {PROTOCOL_UDP, 0};
    append16(frame.options, units << 3 | (more ? 1 : 0));
    append32(frame.options, id);
    frame.protocol = 44;
  }
  return frame.build();
}

// One datagram's name, everything that may happen around it, and what its receiver has.
class Play {
 public:
  static constexpr uint32_t ACTS = 10;
  static constexpr uint32_t START_DENIED = 1;

  explicit Play(uint8_t family, Established established)
      : pod_({.connectionsMax = 64, .fragmentsMax = 1, .established = established}),
        family_(family) {
    comeBack();
  }

  // From here on nobody has anything.
  void begin() {
    nowUs_ += 1'000 * SECOND;
    starts_.clear();
    if (!allowsAll_) swap();
  }

  // False: what must not pass has.
  bool act(uint32_t number) {
    switch (number) {
      case 0:
        return start(ALLOWED);
      case START_DENIED:
        return start(DENIED);
      case 2:
        return follow(64, true);
      case 3:
        return follow(128, true);
      case 4:
        return follow(64, false);
      case 5:
        return follow(128, false);
      case 6:
        // Another one takes the only place.
        (void)pod_.fromPod(part(family_, ++otherId_ | 0x8000, 0, true, ALLOWED), nowUs_);
        return true;
      case 7:
        swap();
        return true;
      case 8:
        // The wire goes and comes back.
        pod_.filter->detachOwner(0, nowUs_);
        comeBack();
        return true;
      default:
        nowUs_ += 20 * SECOND;
        return true;
    }
  }

 private:
  struct Start {
    uint16_t port;
    uint64_t untilUs;
  };

  // In another zone, as an attachment that is opened anew.
  void comeBack() {
    pod_.inside.owner = pod_.outside.owner = pod_.filter->attachOwner(0);
    pod_.outside.zone = ++pod_.inside.zone;
  }
  void swap() {
    allowsAll_ = !allowsAll_;
    pod_.publish(allowsAll_ ? OnePod::Policy::AllowAll : OnePod::Policy::Usual);
  }
  bool start(uint16_t port) {
    const bool passes = pod_.fromPod(part(family_, 1, 0, true, port), nowUs_).passes();
    if (passes) starts_.push_back({port, nowUs_ + (family_ == 4 ? 34 : 68) * SECOND});
    return !passes || isRight();
  }
  bool follow(uint32_t offset, bool more) {
    const bool passes = pod_.fromPod(part(family_, 1, offset, more, 0), nowUs_).passes();
    return !passes || (!starts_.empty() && isRight());
  }
  bool isRight() {
    std::erase_if(starts_, [this](const Start& each) { return each.untilUs <= nowUs_; });
    return std::ranges::all_of(
        starts_, [this](const Start& each) { return allowsAll_ || each.port == ALLOWED; });
  }

  OnePod pod_;
  uint8_t family_;
  uint64_t nowUs_ = 0;
  uint16_t otherId_ = 0;
  bool allowsAll_ = false;
  std::vector<Start> starts_;
};

constexpr std::array FAMILIES = {uint8_t{4}, uint8_t{6}};

// A secret by which notes about friend and server are in one place, and in one group or not.
HashSecret secretOf(bool oneGroup) {
  const auto spotOf = [](const HashSecret& secret, uint8_t last) {
    const AddressBytes address = {10, 10, 0, last};
    std::array<uint64_t, 2> words = {};
    std::memcpy(words.data(), address.data(), sizeof words);
    const uint64_t remote = AddressHash(secret).ofAddress(words[0], words[1]);
    return ForgottenDatagrams::spotOf(0, remote, true);
  };
  for (HashSecret secret = {1, 1};; ++secret[0]) {
    const auto one = spotOf(secret, FRIEND);
    const auto other = spotOf(secret, SERVER);
    if (one.place == other.place && (one.group == other.group) == oneGroup) return secret;
  }
}

}  // namespace

TEST("fragments and swaps: nothing completes what is denied, in any short order") {
  constexpr uint32_t LENGTH = 4;
  for (const uint8_t family : FAMILIES) {
    Play play(family, Established::Recheck);
    uint32_t count = 1;
    for (uint32_t each = 0; each < LENGTH; ++each) count *= Play::ACTS;
    for (uint32_t order = 0; order < count; ++order) {
      // Before the first start there is nothing to complete.
      if (order % Play::ACTS > Play::START_DENIED) continue;
      play.begin();
      for (uint32_t left = order, at = 0; at < LENGTH; ++at, left /= Play::ACTS) {
        if (play.act(left % Play::ACTS)) continue;
        std::fprintf(stderr, "order %u of IPv%u, act %u\n", order, family, at);
        REQUIRE(false);
      }
    }
  }
}

TEST("fragments and swaps: nor in a long one") {
  uint64_t random = 1;
  for (const auto established : {Established::Recheck, Established::Cut}) {
    for (const uint8_t family : FAMILIES) {
      Play play(family, established);
      for (uint32_t round = 0; round < 250; ++round) {
        play.begin();
        for (uint32_t at = 0; at < 20; ++at) {
          random = random * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
          if (play.act(static_cast<uint32_t>(random >> 33) % Play::ACTS)) continue;
          std::fprintf(stderr, "round %u of IPv%u, act %u\n", round, family, at);
          REQUIRE(false);
        }
      }
    }
  }
}

TEST("fragments and swaps: one that gave way to others opens no other after a swap") {
  for (const uint8_t family : FAMILIES) {
    const uint64_t life = (family == 4 ? 34 : 68) * SECOND;
    OnePod pod({.fragmentsMax = 1});
    pod.publish(OnePod::Policy::AllowAll);
    CHECK(pod.fromPod(part(family, 1, 0, true, DENIED), 0).passes());
    CHECK(pod.fromPod(part(family, 2, 0, true, ALLOWED), 0).passes());
    CHECK(pod.fromPod(part(family, 1, 64, false, 0), 0).reason == DropReason::FragmentOrphan);
    pod.publish();
    CHECK(pod.fromPod(part(family, 1, 0, true, ALLOWED), 1).reason == DropReason::FragmentOverlap);
    CHECK(pod.fromPod(part(family, 1, 64, false, 0), 1).reason == DropReason::FragmentOrphan);
    CHECK(pod.fromPod(part(family, 1, 0, true, ALLOWED), life + SECOND).passes());
    CHECK(pod.fromPod(part(family, 1, 64, false, 0), life + SECOND).passes());
  }
}

TEST("fragments and swaps: nor does one that was whole here, and has begun anew before the swap") {
  for (const uint8_t family : FAMILIES) {
    OnePod pod;
    pod.publish(OnePod::Policy::AllowAll);
    CHECK(pod.fromPod(part(family, 1, 0, true, DENIED), 0).passes());
    CHECK(pod.fromPod(part(family, 1, 64, false, 0), 0).passes());
    CHECK(pod.fromPod(part(family, 1, 0, true, ALLOWED), 0).passes());
    pod.publish();
    CHECK(pod.fromPod(part(family, 1, 64, false, 0), 1).reason == DropReason::FragmentOverlap);
    CHECK(pod.fromPod(part(family, 1, 128, false, 0), 1).reason != DropReason::None);
  }
}

TEST("fragments and swaps: what a swap has denied stays shut when it has given way to others") {
  OnePod pod({.fragmentsMax = 1});
  pod.publish(OnePod::Policy::AllowAll);
  CHECK(pod.fromPod(part(4, 1, 0, true, DENIED), 0).passes());
  pod.publish();
  CHECK(pod.fromPod(part(4, 1, 64, true, 0), 1).reason == DropReason::PolicyEgress);
  CHECK(pod.fromPod(part(4, 2, 0, true, ALLOWED), 2).passes());
  pod.publish(OnePod::Policy::AllowAll);
  CHECK(pod.fromPod(part(4, 1, 0, true, ALLOWED), 3).reason == DropReason::FragmentOverlap);
  CHECK(pod.fromPod(part(4, 1, 0, true, ALLOWED), 35 * SECOND).passes());
}

TEST("fragments and swaps: what is still allowed goes on, with one port and with a few") {
  OnePod pod;
  const auto whole = [&pod](uint16_t id, uint16_t port, uint64_t nowUs) {
    return pod.fromPod(part(4, id, 0, true, port), nowUs).passes() &&
           pod.fromPod(part(4, id, 64, false, 0), nowUs).passes();
  };
  // Others come and go meanwhile.
  uint64_t nowUs = 0;
  for (uint16_t round = 0; round < 20; ++round, nowUs += 20 * SECOND) {
    pod.publish(OnePod::Policy::AllowAll);
    for (uint16_t id = 0; id < 100; ++id) {
      CHECK(whole(id, static_cast<uint16_t>(50 + id % 2), nowUs));
    }
    CHECK(whole(100, static_cast<uint16_t>(100 + round), nowUs));
  }
  // From the fifth on a newer table's answer is taken to be no, until what it is about is over.
  for (uint16_t port = 200; port < 210; ++port) CHECK(whole(1, port, nowUs));
  pod.publish(OnePod::Policy::AllowAll);
  CHECK(!whole(1, 50, nowUs));
  CHECK(whole(1, 50, nowUs + 35 * SECOND));
}

TEST("fragments and swaps: one peer's notes concern another for as long as they are old at most") {
  for (const bool oneGroup : {false, true}) {
    OnePod pod({.hashSecret = secretOf(oneGroup)});
    const auto whole = [&pod](uint16_t port, uint8_t to, uint64_t nowUs) {
      return pod.fromPod(part(4, 1, 0, true, port, to), nowUs).passes() &&
             pod.fromPod(part(4, 1, 64, false, 0, to), nowUs).passes();
    };
    pod.publish(OnePod::Policy::AllowAll);
    CHECK(whole(DENIED, FRIEND, 0));
    pod.publish();
    for (uint64_t nowUs = 0; nowUs < 200 * SECOND; nowUs += 10 * SECOND) {
      CHECK(whole(DENIED, FRIEND, nowUs));
      CHECK(whole(ALLOWED, SERVER, nowUs) == (!oneGroup || nowUs >= 35 * SECOND));
    }
  }
}

// Goal: a note is lost to no other, and counts for no longer than it has to.
// Method: random notes, beside a list of all of them.
TEST("forgotten datagrams: random notes; what is denied is refused, and what is over is not") {
  constexpr uint16_t PORTS = 6;  // of which a table allows some: one bit each
  struct Noted {
    ForgottenDatagrams::Spot spot;
    FragmentVerdict verdict;
    uint64_t untilUs;
  };
  ForgottenDatagrams notes;
  REQUIRE(notes.create());
  std::vector<Noted> all;
  uint64_t random = 1;
  const auto below = [&random](uint32_t bound) {
    random = random * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    return static_cast<uint32_t>((random >> 33) % bound);
  };
  uint32_t generation = 1;
  uint32_t allowed = 0;
  uint32_t passed = 0;
  uint32_t refused = 0;
  uint64_t nowUs = 0;
  for (uint32_t step = 0; step < 100'000; ++step) {
    nowUs += below(4) * SECOND;
    if (below(20) == 0) {
      ++generation;
      allowed = below(1u << PORTS);
    }
    std::erase_if(all, [nowUs](const Noted& each) { return each.untilUs + SECOND <= nowUs; });
    const auto spot = ForgottenDatagrams::spotOf(0, uint64_t{below(16)} << 57, true);
    const auto isOld = [&](const Noted& each) {
      return each.spot.place == spot.place && each.verdict.generation != generation;
    };
    const bool denied = std::ranges::any_of(all, [&](const Noted& each) {
      return isOld(each) && each.untilUs > nowUs &&
             (each.verdict.once ||
              (each.spot.group == spot.group && (allowed >> each.verdict.question.port & 1) == 0));
    });
    const bool passes =
        notes.allAllowed(spot, generation, nowUs, [allowed](const FragmentQuestion& question) {
          return (allowed >> question.port & 1) != 0;
        });
    CHECK(!(passes && denied));
    CHECK(passes || std::ranges::any_of(all, isOld));
    ++(passes ? passed : refused);
    if (!passes) continue;
    // Some are older than the table in force, or cannot be asked again.
    const uint32_t age = below(4) == 0 ? below(std::min(generation, 3u)) : 0;
    const FragmentVerdict verdict = {
        .generation = generation - age,
        .question = {.port = static_cast<uint16_t>(below(PORTS)), .protocol = PROTOCOL_UDP},
        .once = below(50) == 0};
    const uint64_t untilUs = nowUs + (1 + below(34)) * SECOND;
    notes.note(spot, verdict, untilUs, nowUs);
    all.push_back({spot, verdict, untilUs});
  }
  CHECK(passed > 10'000 && refused > 10'000);
}

TEST("fragments and swaps: where connections are kept, so is what followed one of theirs") {
  OnePod pod({.fragmentsMax = 1, .established = Established::Keep});
  pod.publish(OnePod::Policy::AllowAll);
  CHECK(pod.fromPod(part(4, 1, 0, true, DENIED), 0).passes());
  CHECK(pod.fromPod(part(4, 2, 0, true, ALLOWED), 0).passes());
  pod.publish();
  CHECK(pod.fromPod(part(4, 1, 0, true, ALLOWED), 1).passes());
  CHECK(pod.fromPod(part(4, 1, 64, false, 0), 1).passes());
}

}  // namespace sluice::testing
