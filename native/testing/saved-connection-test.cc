// Goal:   a connection that is saved and loaded in another process continues unchanged; a
//         connection that no table of that process has judged is judged before it passes; any bytes
//         may be loaded.
// Method: conversations begun in one filter and ended in another with other secrets; then bytes at
//         random, and saved connections with bytes changed, followed by packets, under sanitizers.
#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "native/conntrack/saved-connection.h"
#include "native/testing/one-pod.h"
#include "native/testing/test.h"
#include "native/worker/dataplane.h"

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint8_t SERVER = 12;
constexpr uint8_t STRANGER = 13;
constexpr FilterOptions OTHER_SECRET = {.hashSecret = {77, 99}};

Judgement fromServer(OnePod& pod, uint64_t nowUs, uint8_t family, const TcpFields& fields) {
  return pod.fromNet(tcpFrame(family, SERVER, 5432, POD, 40'000, fields), nowUs);
}

Judgement toServer(OnePod& pod, uint64_t nowUs, uint8_t family, const TcpFields& fields) {
  return pod.fromPod(tcpFrame(family, POD, 40'000, SERVER, 5432, fields), nowUs);
}

void handshake(OnePod& pod, uint64_t nowUs, uint8_t family) {
  CHECK(toServer(pod, nowUs, family, {.flags = TCP_SYN, .sequence = 100}).opened);
  CHECK(fromServer(pod, nowUs, family,
                   {.flags = TCP_SYN | TCP_ACK, .sequence = 900, .acknowledgement = 101})
            .passes());
  CHECK(toServer(pod, nowUs, family, {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 901})
            .passes());
}

std::vector<SavedConnection> saveAll(OnePod& pod, uint64_t nowUs) {
  std::vector<SavedConnection> all;
  std::array<SavedConnection, 2> few;
  uint32_t place = 0;
  while (const size_t count = pod.filter->save(Saved::All, nowUs, SIZE_MAX, few, &place)) {
    all.insert(all.end(), few.begin(), few.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return all;
}

size_t loadAll(OnePod& pod, const std::vector<SavedConnection>& saved, uint32_t generationMax,
               uint64_t nowUs) {
  size_t count = 0;
  for (const SavedConnection& each : saved) {
    if (pod.filter->load(each, generationMax, nowUs)) ++count;
  }
  return count;
}

// Conversations of every kind, some answered.
void converse(OnePod& pod, uint64_t nowUs) {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    handshake(pod, nowUs, family);
    CHECK(pod.fromPod(udpFrame(family, POD, 4'000, SERVER, 53), nowUs).opened);
    CHECK(pod.fromPod(udpFrame(family, POD, 4'001, SERVER, 53), nowUs).opened);
    CHECK(pod.fromNet(udpFrame(family, SERVER, 53, POD, 4'001), nowUs).passes());
    CHECK(pod.fromPod(echoFrame(family, POD, FRIEND, false, 7), nowUs).opened);
    CHECK(
        pod.fromNet(tcpFrame(family, FRIEND, 50'000, POD, 8080, {.flags = TCP_SYN, .sequence = 5}),
                    nowUs)
            .opened);
  }
}

}  // namespace

TEST("saved connections: conversations go on in another process, windows and all") {
  OnePod before;
  converse(before, 1'000);
  const std::vector<SavedConnection> saved = saveAll(before, 2'000);
  CHECK(saved.size() == 10);

  OnePod after(OTHER_SECRET);
  after.slot.continueFrom(before.table->generation);
  after.publish();
  CHECK(after.table->generation == before.table->generation + 1);
  // Another clock.
  const uint64_t nowUs = 50'000'000'000;
  CHECK(loadAll(after, saved, before.table->generation, nowUs) == 10);
  CHECK(loadAll(after, saved, before.table->generation, nowUs) == 0);  // all names are taken
  CHECK(after.filter->connectionCount() == 10);
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    CHECK(
        fromServer(after, nowUs, family,
                   {.flags = TCP_ACK, .sequence = 901, .acknowledgement = 101, .payloadBytes = 500})
            .passes());
    CHECK(fromServer(after, nowUs, family, {.flags = TCP_RST, .sequence = 5'000'000}).reason ==
          DropReason::OutOfWindow);
    CHECK(toServer(after, nowUs, family,
                   {.flags = TCP_ACK, .sequence = 101, .acknowledgement = 1'401})
              .passes());
    CHECK(after.fromNet(udpFrame(family, SERVER, 53, POD, 4'000), nowUs).passes());
    CHECK(after.fromNet(udpFrame(family, SERVER, 53, POD, 4'001), nowUs).passes());
    CHECK(after.fromNet(echoFrame(family, FRIEND, POD, true, 7), nowUs).passes());
    const auto answer = tcpFrame(family, POD, 8080, FRIEND, 50'000,
                                 {.flags = TCP_SYN | TCP_ACK, .sequence = 7, .acknowledgement = 6});
    CHECK(after.fromPod(answer, nowUs).passes());
  }
  CHECK(after.filter->counters().opened.read() == 0);
}

TEST("saved connections: they die when they would have died") {
  OnePod before;
  CHECK(before.fromPod(udpFrame(4, POD, 4'000, SERVER, 53), 0).opened);
  const std::vector<SavedConnection> saved = saveAll(before, 10'000'000);
  CHECK(saveAll(before, 31'000'000).empty());
  OnePod after(OTHER_SECRET);
  CHECK(loadAll(after, saved, 0, 1'000) == 1);
  const auto answer = udpFrame(4, SERVER, 53, POD, 4'000);
  CHECK(after.fromNet(answer, 20'001'001).reason == DropReason::PolicyIngress);
}

TEST("saved connections: the table in force judges them, unless they are kept and were judged") {
  for (const Established established : {Established::Recheck, Established::Keep}) {
    for (const uint32_t generationMax : {0u, 1u}) {
      OnePod before;
      handshake(before, 0, 4);
      const std::vector<SavedConnection> saved = saveAll(before, 1);
      OnePod after({.established = established, .hashSecret = {1, 2}});
      after.slot.continueFrom(generationMax);
      after.publish(OnePod::Policy::DenyAll);
      CHECK(loadAll(after, saved, generationMax, 1) == 1);
      const Judgement next =
          fromServer(after, 2, 4, {.flags = TCP_ACK, .sequence = 901, .acknowledgement = 101});
      const bool kept = established == Established::Keep && generationMax == 1;
      CHECK(next.passes() == kept);
      CHECK(next.cut == !kept);
    }
  }
}

TEST(
    "saved connections: what only audit lets through is told from the rest in the next process "
    "too") {
  OnePod before;
  before.publish(OnePod::Policy::Audited);
  CHECK(before.fromPod(udpFrame(4, POD, 4'000, STRANGER, 53), 0).auditedBy == DENIED_BY_EGRESS);
  const std::vector<SavedConnection> saved = saveAll(before, 1);
  OnePod after({.hashSecret = {1, 2}});
  after.slot.continueFrom(2);
  after.publish(OnePod::Policy::Audited);
  CHECK(loadAll(after, saved, 2, 1) == 1);
  CHECK(after.fromPod(udpFrame(4, POD, 4'000, STRANGER, 53), 2).auditedBy == 0);
  after.filter->expire(1'000'000'000, 262'144);
  REQUIRE(after.filter->closed().size() == 1);
  CHECK(after.filter->closed()[0].auditedBy == DENIED_BY_EGRESS);
}

TEST("saved connections: a full table takes no more, and answered ones go first") {
  OnePod before;
  for (uint16_t port = 1; port <= 40; ++port) {
    CHECK(before.fromPod(udpFrame(4, POD, port, SERVER, 53), 0).opened);
    if (port % 4 == 0) CHECK(before.fromNet(udpFrame(4, SERVER, 53, POD, port), 0).passes());
  }
  OnePod after({.connectionsMax = 10, .hashSecret = {1, 2}});
  CHECK(loadAll(after, saveAll(before, 1), 1, 1) >= 10);
  for (uint16_t port = 4; port <= 40; port += 4) {
    CHECK(after.fromNet(udpFrame(4, SERVER, 53, POD, port), 2).passes());
  }
}

TEST("saved connections: any bytes are safe, and never more than a connection") {
  std::mt19937 random(1);
  OnePod before;
  converse(before, 1'000);
  const std::vector<SavedConnection> good = saveAll(before, 1'000);
  std::unique_ptr<OnePod> after;
  size_t taken = 0;
  for (int round = 0; round < 20'000; ++round) {
    if (round % 20 == 0) {
      after = std::make_unique<OnePod>(FilterOptions{.connectionsMax = 64, .hashSecret = {3, 4}});
    }
    SavedConnection saved = good[random() % good.size()];
    auto* const bytes = reinterpret_cast<uint8_t*>(&saved);
    if (round % 4 == 0) {
      for (size_t at = 0; at < sizeof saved; ++at) bytes[at] = static_cast<uint8_t>(random());
    }
    for (uint32_t changes = random() % 4; changes > 0; --changes) {
      bytes[random() % sizeof saved] = static_cast<uint8_t>(random());
    }
    const uint64_t nowUs = 1'000'000 + static_cast<uint64_t>(round);
    if (!after->filter->load(saved, 0, nowUs)) continue;
    ++taken;
    for (const uint8_t flags : {TCP_ACK, TCP_SYN, TCP_RST, TCP_FIN}) {
      const auto at = static_cast<uint32_t>(random());
      (void)fromServer(*after, nowUs, 4, {.flags = flags, .sequence = at, .acknowledgement = at});
      (void)toServer(*after, nowUs, 6, {.flags = flags, .sequence = at, .acknowledgement = at});
    }
    std::array<SavedConnection, 64> again;
    uint32_t place = 0;
    CHECK(after->filter->save(Saved::All, nowUs, SIZE_MAX, again, &place) <= 64);
  }
  CHECK(taken > 1'000);
}

TEST("saved connections: what cannot be a connection is refused") {
  OnePod before;
  handshake(before, 0, 4);
  const SavedConnection good = saveAll(before, 1)[0];
  const auto refused = [&good](auto change) {
    SavedConnection saved = good;
    change(saved);
    OnePod after(OTHER_SECRET);
    return !after.filter->load(saved, 1, 1);
  };
  CHECK(!refused([](SavedConnection&) {}));
  CHECK(refused([](SavedConnection& saved) { saved.family = 5; }));
  CHECK(refused([](SavedConnection& saved) { saved.source[15] = 1; }));
  CHECK(refused([](SavedConnection& saved) { saved.state = 0; }));
  CHECK(refused([](SavedConnection& saved) { saved.state = 10; }));
  CHECK(refused([](SavedConnection& saved) { saved.protocol = PROTOCOL_UDP; }));
  CHECK(refused([](SavedConnection& saved) { saved.icmpKind = 8; }));
  CHECK(refused([](SavedConnection& saved) { saved.flags = 0x80; }));
  CHECK(refused([](SavedConnection& saved) { saved.windowScale[1] = 15; }));
  CHECK(refused([](SavedConnection& saved) { saved.zone = 256; }));
  CHECK(refused([](SavedConnection& saved) { saved.remainingUs = 0; }));
}

TEST("saved connections: another number of workers takes up every one") {
  constexpr uint32_t COUNT = 3'000;
  std::vector<SavedConnection> saved(COUNT);
  for (uint32_t each = 0; each < COUNT; ++each) {
    SavedConnection& one = saved[each];
    one.family = 4;
    one.protocol = PROTOCOL_UDP;
    one.state = static_cast<uint8_t>(ConnState::Replied);
    // Long enough for all that follows on a machine that others keep busy.
    one.remainingUs = 100 * SECOND_US;
    one.source[0] = 10;
    std::memcpy(&one.source[1], &each, 3);
    one.destination[0] = 11;
    one.sourcePort = static_cast<uint16_t>(each);
    one.generation = 7;
  }
  for (const uint32_t workers : {1u, 3u, 2u}) {
    std::unique_ptr<Dataplane> dataplane;
    DataplaneOptions options;
    options.workers = workers;
    options.filter.connectionsMax = 4 * COUNT;
    REQUIRE(Dataplane::create(options, &dataplane).ok());
    REQUIRE(dataplane->continueFrom(7).ok());
    size_t count = 0;
    REQUIRE(dataplane->loadConnections(saved, &count).ok());
    CHECK(count == COUNT);
    CHECK(dataplane->connectionCount() == COUNT);
    saved.assign(COUNT, {});
    Dataplane::SavePlace place;
    size_t written = 0;
    while (written < COUNT) {
      const size_t room = std::min<size_t>(700, COUNT - written);
      REQUIRE(dataplane->saveConnections(Saved::All, {saved.data() + written, room}, &place, &count)
                  .ok());
      REQUIRE(count > 0);
      written += count;
    }
    CHECK(saved[COUNT - 1].generation == 7);
  }
}
