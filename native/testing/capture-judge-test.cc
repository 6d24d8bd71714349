// Goal: captured frames are judged as a worker's filter judges them, from one call to the next;
//       frames of a watched interface are reported by policy, however little memory there is.
#include "native/worker/capture-judge.h"

#include <cstdlib>
#include <memory>
#include <vector>

#include "native/testing/one-pod.h"
#include "native/testing/test.h"

namespace sluice {
namespace {

using testing::OnePod;
using testing::tcpFrame;

constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint32_t ROOM = 64;  // connections

// Watches an interface by the policy of OnePod.
struct Watch {
  Watch() {
    const auto blob = testing::onePodBlob();
    CaptureJudgeOptions options;
    options.blob = blob.bytes();
    options.connectionsMax = ROOM;
    if (!CaptureJudge::create(options, &judge).ok()) std::abort();
  }

  JudgedFrame see(std::vector<uint8_t> bytes) {
    CapturedFrame frame = {};
    frame.frameBytes = static_cast<uint32_t>(bytes.size());
    frame.timeUs = ++timeUs;
    JudgedFrame judged = {};
    CHECK(judge->judge(std::as_writable_bytes(std::span(bytes)), {&frame, 1}, {&judged, 1}).ok());
    return judged;
  }

  // The first segments of a connection of the friend's with a port of the pod.
  JudgedFrame connect(uint16_t from, uint16_t to) {
    (void)see(tcpFrame(4, FRIEND, from, POD, to, {.flags = TCP_SYN, .sequence = 9}));
    (void)see(tcpFrame(4, POD, to, FRIEND, from,
                       {.flags = TCP_SYN | TCP_ACK, .sequence = 50, .acknowledgement = 10}));
    return see(tcpFrame(4, FRIEND, from, POD, to,
                        {.flags = TCP_ACK, .sequence = 10, .acknowledgement = 51}));
  }

  std::unique_ptr<CaptureJudge> judge;
  uint64_t timeUs = 0;
};

constexpr auto PASSES = static_cast<uint8_t>(DropReason::None);
constexpr auto DENIED = static_cast<uint8_t>(DropReason::PolicyIngress);

TEST("capture judge: denied connections give way to others, and are denied while they are there") {
  Watch watch;
  for (uint16_t port = 1'000; port < 1'000 + 10 * ROOM; ++port) {
    CHECK(watch.see(tcpFrame(4, FRIEND, port, POD, 80, {.flags = TCP_SYN})).reason == DENIED);
  }
  CHECK(watch.connect(1, 8080).reason == PASSES);
  CHECK(watch.connect(2, 81).reason == DENIED);
}

TEST("capture judge: what cannot be remembered is told as policy says all the same") {
  Watch watch;
  for (uint16_t port = 1'000; port < 1'000 + ROOM; ++port) {
    CHECK(watch.connect(port, 8080).reason == PASSES);
  }
  CHECK(watch.connect(1, 8080).reason == PASSES);
  CHECK(watch.connect(2, 80).reason == DENIED);
}

}  // namespace
}  // namespace sluice
