// Goal: when there is no room, the right connection gives way: by class, by owner, by remote
// prefix;
//       and nobody loses what is assured.
// Method: named cases, then random operations beside a model that keeps everything in one list.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "native/conntrack/conn-table.h"
#include "native/testing/one-pod.h"
#include "native/testing/shared-memory.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};
constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint8_t SERVER = 12;

// Connection `number` of a remote host to a pod; 250 connections of each host.
FlowKey flowOf(uint32_t number, uint8_t protocol = PROTOCOL_UDP, uint16_t host = 0) {
  FlowKey key;
  key.family = 4;
  key.protocol = protocol;
  key.source = {9, static_cast<uint8_t>(host >> 8), static_cast<uint8_t>(host),
                static_cast<uint8_t>(number % 250 + 1)};
  key.destination = {10, 0, 0, 1};
  key.sourcePort = static_cast<uint16_t>(number);
  key.destinationPort = 53;
  return key;
}

ConnName nameOf(const FlowKey& key) { return connNameOf(key, IcmpRole::None, 0, 0); }

ConnEntry* find(ConnTable& table, const FlowKey& key, uint64_t nowUs) {
  const ConnName name = nameOf(key);
  return table.find(name, table.hintOf(name), nowUs);
}

struct Opened {
  DropReason reason;
  ConnEntry* entry;
};

Opened open(ConnTable& table, const FlowKey& key, uint16_t owner, uint64_t nowUs) {
  const ConnName name = nameOf(key);
  DropReason reason = DropReason::None;
  const ConnCharge charge = {owner, name.sender};
  ConnEntry* entry = table.insert(name, table.hintOf(name), charge, nowUs, &reason);
  if (entry != nullptr) {
    entry->state = key.protocol == PROTOCOL_TCP ? ConnState::SynSent : ConnState::Unreplied;
    entry->noteOpening(nowUs);
    entry->expiresUs = nowUs + timeoutOf(*entry);
  }
  return {reason, entry};
}

// Brings a connection into a state of this class, at this time.
void become(ConnTable& table, ConnEntry& entry, ConnClass to, uint64_t nowUs) {
  if (entry.protocol() == PROTOCOL_TCP) {
    entry.state = to == ConnClass::Closing   ? ConnState::TimeWait
                  : to == ConnClass::Assured ? ConnState::Established
                                             : ConnState::SynReceived;
  } else {
    entry.state = to == ConnClass::Unanswered ? ConnState::Unreplied : ConnState::Replied;
  }
  table.settle(entry, to);
  entry.expiresUs = nowUs + timeoutOf(entry);
}

std::vector<uint8_t> tcp(uint16_t port, bool fromPod, uint8_t flags, uint32_t sequence,
                         uint32_t acknowledgement) {
  const TcpFields fields = {
      .flags = flags, .sequence = sequence, .acknowledgement = acknowledgement};
  return fromPod ? tcpFrame(4, POD, 8080, FRIEND, port, fields)
                 : tcpFrame(4, FRIEND, port, POD, 8080, fields);
}
bool begins(OnePod& pod, uint16_t port, uint64_t nowUs) {
  return pod.fromNet(tcp(port, false, TCP_SYN, 100, 0), nowUs).opened;
}
bool establishes(OnePod& pod, uint16_t port, uint64_t nowUs) {
  return begins(pod, port, nowUs) &&
         pod.fromPod(tcp(port, true, TCP_SYN | TCP_ACK, 500, 101), nowUs).passes() &&
         pod.fromNet(tcp(port, false, TCP_ACK, 101, 501), nowUs).passes();
}
bool goesOn(OnePod& pod, uint16_t port, uint64_t nowUs) {
  return pod.fromNet(tcp(port, false, TCP_ACK, 101, 501), nowUs).passes();
}
// The pod closes, then the friend.
bool closes(OnePod& pod, uint16_t port, uint64_t nowUs) {
  return pod.fromPod(tcp(port, true, TCP_FIN | TCP_ACK, 501, 101), nowUs).passes() &&
         pod.fromNet(tcp(port, false, TCP_FIN | TCP_ACK, 101, 502), nowUs).passes() &&
         pod.fromPod(tcp(port, true, TCP_ACK, 502, 102), nowUs).passes();
}

}  // namespace

TEST("eviction: closing, then unanswered, then unassured, each oldest first; assured never") {
  constexpr uint32_t EACH = 4;
  ConnTable table;
  REQUIRE(ConnTable::create(4 * EACH, SECRET, &table).ok());
  // The other way round than they give way.
  const std::array<ConnClass, 4> made = {ConnClass::Assured, ConnClass::Unassured,
                                         ConnClass::Unanswered, ConnClass::Closing};
  const auto keyOf = [](ConnClass each, uint32_t number) {
    const bool tcp = each == ConnClass::Assured || each == ConnClass::Closing;
    return flowOf(static_cast<uint32_t>(each) * 100 + number, tcp ? PROTOCOL_TCP : PROTOCOL_UDP);
  };
  for (const ConnClass each : made) {
    for (uint32_t number = 0; number < EACH; ++number) {
      const Opened opened = open(table, keyOf(each, number), ConnTable::NOBODY, 1 + number);
      REQUIRE(opened.entry != nullptr);
      become(table, *opened.entry, each, 1 + number);
    }
  }
  uint32_t next = 1'000;
  for (const ConnClass each : {ConnClass::Closing, ConnClass::Unanswered, ConnClass::Unassured}) {
    for (uint32_t number = 0; number < EACH; ++number) {
      CHECK(find(table, keyOf(each, number), 10) != nullptr);
      const Opened opened = open(table, flowOf(next++, PROTOCOL_TCP), ConnTable::NOBODY, 10);
      REQUIRE(opened.entry != nullptr);
      become(table, *opened.entry, ConnClass::Assured, 10);
      CHECK(find(table, keyOf(each, number), 10) == nullptr);
    }
    CHECK(table.evicted(each) == EACH);
  }
  CHECK(open(table, flowOf(next), ConnTable::NOBODY, 10).reason == DropReason::ConntrackFull);
  for (uint32_t number = 0; number < EACH; ++number) {
    CHECK(find(table, keyOf(ConnClass::Assured, number), 10) != nullptr);
  }
  CHECK(table.evicted(ConnClass::Assured) == 0);
}

TEST("eviction: short connections keep their places only as long as nobody wants them") {
  constexpr uint32_t SIZE = 64;
  OnePod pod({.connectionsMax = SIZE});
  REQUIRE(establishes(pod, 1, 0));
  for (uint16_t port = 2; port < 2'000; ++port) {
    CHECK(establishes(pod, port, port));
    CHECK(closes(pod, port, port));
  }
  CHECK(goesOn(pod, 1, 2'000));
  CHECK(pod.filter->connectionCount() == SIZE);
  CHECK(pod.filter->evicted(ConnClass::Closing) == 1'999 - SIZE);
  CHECK(pod.filter->evicted(ConnClass::Unanswered) == 0);
}

TEST("eviction: echo requests that are answered keep no TCP connection from beginning") {
  constexpr uint32_t SIZE = 64;
  constexpr uint64_t PERIOD_US = 250;
  OnePod pod({.connectionsMax = SIZE});
  REQUIRE(establishes(pod, 1, 0));
  uint64_t nowUs = 0;
  const auto echo = [&](uint16_t identifier) {
    nowUs += PERIOD_US;
    CHECK(pod.fromPod(echoFrame(4, POD, FRIEND, false, identifier), nowUs).opened);
    CHECK(pod.fromNet(echoFrame(4, FRIEND, POD, true, identifier), nowUs).passes());
  };
  uint16_t identifier = 0;
  uint16_t client = 100;
  for (uint32_t round = 0; round < 50; ++round, ++client) {
    for (uint32_t each = 0; each < SIZE; ++each) echo(identifier++);
    // As many come in during the handshake as a third of the table holds.
    CHECK(begins(pod, client, nowUs));
    for (uint32_t each = 0; each < SIZE / 3; ++each) echo(identifier++);
    CHECK(pod.fromPod(tcp(client, true, TCP_SYN | TCP_ACK, 500, 101), nowUs).passes());
    CHECK(pod.fromNet(tcp(client, false, TCP_ACK, 101, 501), nowUs).passes());
    CHECK(closes(pod, client, nowUs));
  }
  CHECK(goesOn(pod, 1, nowUs));
}

TEST("eviction: what one end has closed goes on until the other has, also in a flood") {
  constexpr uint32_t SIZE = 64;
  OnePod pod({.connectionsMax = SIZE});
  uint64_t nowUs = 0;
  uint16_t identifier = 0;
  const auto flood = [&](uint32_t count) {
    for (uint32_t each = 0; each < count; ++each, nowUs += 250) {
      CHECK(pod.fromPod(echoFrame(4, POD, FRIEND, false, ++identifier), nowUs).opened);
      CHECK(pod.fromNet(echoFrame(4, FRIEND, POD, true, identifier), nowUs).passes());
    }
  };
  for (uint16_t client = 100; client < 150; ++client) {
    flood(2 * SIZE);
    CHECK(establishes(pod, client, nowUs));
    CHECK(pod.fromNet(tcp(client, false, TCP_FIN | TCP_ACK, 101, 501), nowUs).passes());
    flood(SIZE / 3);
    CHECK(pod.fromPod(tcp(client, true, TCP_ACK, 501, 102), nowUs).passes());
    flood(SIZE / 3);
    CHECK(pod.fromPod(tcp(client, true, TCP_FIN | TCP_ACK, 501, 102), nowUs).passes());
    CHECK(pod.fromNet(tcp(client, false, TCP_ACK, 102, 502), nowUs).passes());
    // Now nobody needs it any more.
    flood(SIZE / 3);
    CHECK(!goesOn(pod, client, nowUs));
  }
}

TEST("eviction: UDP is assured when it is answered and has gone on for two seconds") {
  OnePod pod({.connectionsMax = 2});
  constexpr uint64_t SECOND = 1'000'000;
  CHECK(pod.fromPod(udpFrame(4, POD, 1, SERVER, 53), 0).opened);
  CHECK(pod.fromPod(udpFrame(4, POD, 1, SERVER, 53), 3 * SECOND).passes());
  CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, 1), 3 * SECOND).passes());
  CHECK(pod.fromPod(udpFrame(4, POD, 1, SERVER, 53), 4 * SECOND).passes());
  // One that is answered and short gives way; that one does not.
  for (uint16_t port = 2; port < 10; ++port) {
    CHECK(pod.fromPod(udpFrame(4, POD, port, SERVER, 53), 5 * SECOND).opened);
    CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, port), 5 * SECOND).passes());
  }
  CHECK(pod.fromNet(udpFrame(4, SERVER, 53, POD, 1), 100 * SECOND).passes());
}

TEST("quota: an owner at its quota takes places of its own, then is refused; others are not") {
  constexpr uint32_t SIZE = 64;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  const uint16_t greedy = table.attach();
  const uint16_t other = table.attach();
  CHECK(table.quota() == SIZE / 2);
  uint32_t next = 0;
  for (; next < 2 * SIZE; ++next) {
    const Opened opened = open(table, flowOf(next, PROTOCOL_TCP), greedy, next);
    const bool fits = next < SIZE / 2;
    CHECK(opened.reason == (fits ? DropReason::None : DropReason::ConnectionQuota));
    if (opened.entry != nullptr) become(table, *opened.entry, ConnClass::Assured, next);
  }
  CHECK(table.use(greedy).connections == SIZE / 2);
  CHECK(table.use(greedy).refused == SIZE + SIZE / 2);
  // One of its own that is closing makes room, one of the other's never.
  CHECK(open(table, flowOf(5'000), other, next).entry != nullptr);
  CHECK(open(table, flowOf(next, PROTOCOL_TCP), greedy, next).reason ==
        DropReason::ConnectionQuota);
  become(table, *find(table, flowOf(3, PROTOCOL_TCP), next), ConnClass::Closing, next);
  CHECK(open(table, flowOf(next, PROTOCOL_TCP), greedy, next).entry != nullptr);
  CHECK(find(table, flowOf(3, PROTOCOL_TCP), next) == nullptr);
  CHECK(table.use(greedy).evicted == 1 && table.use(other).evicted == 0);
  for (uint32_t each = 1; each < SIZE / 2; ++each) {
    CHECK(open(table, flowOf(5'000 + each), other, next).entry != nullptr);
  }
  CHECK(table.size() == SIZE && table.use(other).connections == SIZE / 2);
}

TEST("quota: when quotas are more than the table holds, who has less takes from who has more") {
  constexpr uint32_t SIZE = 60;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table, 50).ok());
  const uint16_t many = table.attach();
  const uint16_t few = table.attach();
  const uint16_t none = table.attach();
  CHECK(table.quota() == 50);
  uint32_t next = 0;
  for (uint32_t each = 0; each < 50; ++each) {
    const Opened opened = open(table, flowOf(next++, PROTOCOL_TCP), many, 1);
    REQUIRE(opened.entry != nullptr);
    // A fifth is assured.
    if (each % 5 == 0) become(table, *opened.entry, ConnClass::Assured, 1);
  }
  for (uint32_t each = 0; each < 10; ++each) {
    REQUIRE(open(table, flowOf(next++, PROTOCOL_TCP), few, 1).entry != nullptr);
  }
  // To its share, at the cost of who has more than that.
  for (uint32_t each = 0; each < 20; ++each) {
    CHECK(open(table, flowOf(next++, PROTOCOL_TCP), none, 2).entry != nullptr);
  }
  CHECK(table.use(many).connections == 30 && table.use(few).connections == 10);
  CHECK(table.use(none).connections == 20);
  // From there on at its own.
  CHECK(open(table, flowOf(next++, PROTOCOL_TCP), none, 2).entry != nullptr);
  CHECK(table.use(many).connections == 30 && table.use(none).connections == 20);
  CHECK(table.use(many).evicted == 20 && table.use(none).evicted == 1);
  // All of it assured: who is not at its quota yet is refused since the table is full.
  for (uint32_t each = 0; each < next; ++each) {
    ConnEntry* const entry = find(table, flowOf(each, PROTOCOL_TCP), 2);
    if (entry != nullptr) become(table, *entry, ConnClass::Assured, 2);
  }
  CHECK(open(table, flowOf(next, PROTOCOL_TCP), none, 2).reason == DropReason::ConntrackFull);
  CHECK(table.use(none).refused == 0);
  for (uint32_t each = 0; each < 50; each += 5) {
    CHECK(find(table, flowOf(each, PROTOCOL_TCP), 2) != nullptr);
  }
}

TEST("quota: who filled the table before others came gives back what is above its new quota") {
  constexpr uint32_t SIZE = 64;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  const uint16_t first = table.attach();
  for (uint32_t each = 0; each < SIZE; ++each) {
    const Opened opened = open(table, flowOf(each, PROTOCOL_TCP), first, 1);
    REQUIRE(opened.entry != nullptr);
    become(table, *opened.entry, ConnClass::Assured, 1);
  }
  const uint16_t second = table.attach();
  for (uint32_t each = 0; each < SIZE / 2; ++each) {
    const Opened opened = open(table, flowOf(1'000 + each, PROTOCOL_TCP), second, 2);
    REQUIRE(opened.entry != nullptr);
    become(table, *opened.entry, ConnClass::Assured, 2);
  }
  CHECK(table.use(first).connections == SIZE / 2);
  // Now both have theirs, and keep it.
  CHECK(open(table, flowOf(2'000), second, 2).reason == DropReason::ConnectionQuota);
  CHECK(open(table, flowOf(2'000), first, 2).reason == DropReason::ConnectionQuota);
}

TEST("quota: what an owner leaves behind is removed, and its place in the list is free again") {
  constexpr uint32_t SIZE = 64;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  const uint16_t gone = table.attach();
  const uint16_t stays = table.attach();
  for (uint32_t each = 0; each < SIZE / 2; ++each) {
    const Opened opened = open(table, flowOf(each, PROTOCOL_TCP), gone, 1);
    REQUIRE(opened.entry != nullptr);
    become(table, *opened.entry, ConnClass::Assured, 1);
    REQUIRE(open(table, flowOf(1'000 + each, PROTOCOL_TCP), stays, 1).entry != nullptr);
  }
  table.detach(gone);
  CHECK(table.quota() == SIZE);
  const uint16_t next = table.attach();
  CHECK(next != gone && next != stays && next != ConnTable::NOBODY);
  CHECK(open(table, flowOf(2'000, PROTOCOL_TCP), next, 2).entry != nullptr);
  CHECK(table.use(gone).connections < SIZE / 2 && table.use(stays).connections == SIZE / 2);
  (void)table.expire(2, SIZE);
  CHECK(table.use(gone).connections == 0 && table.size() == SIZE / 2 + 1);
  CHECK(table.attach() == gone);
}

TEST("eviction: one remote network's flood takes its own places") {
  constexpr uint32_t SIZE = 1'024;
  constexpr uint16_t STRANGER = 7;
  constexpr uint32_t OTHERS = 100;
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table).ok());
  const uint16_t pod = table.attach();
  // Handshakes of others, all the time under way, each from another network.
  for (uint32_t each = 0; each < OTHERS; ++each) {
    REQUIRE(
        open(table, flowOf(each, PROTOCOL_TCP, static_cast<uint16_t>(100 + each)), pod, 1).entry !=
        nullptr);
  }
  for (uint32_t each = 0; each < 20 * SIZE; ++each) {
    CHECK(open(table, flowOf(each, PROTOCOL_TCP, STRANGER), pod, 2 + each).entry != nullptr);
  }
  uint32_t left = 0;
  for (uint32_t each = 0; each < OTHERS; ++each) {
    const FlowKey key = flowOf(each, PROTOCOL_TCP, static_cast<uint16_t>(100 + each));
    left += find(table, key, 20 * SIZE) != nullptr ? 1 : 0;
  }
  // All but those whose networks fall together with the stranger's.
  CHECK(left >= OTHERS - 5);
}

namespace {

// The rules for peers of one network, with one list and no index.
struct Model {
  struct Conn {
    uint32_t number;
    uint16_t owner;
    ConnClass klass;
    uint64_t activeUs;
    uint64_t expiresUs;
  };

  std::vector<Conn> conns;  // in the order in which each came into its class
  uint32_t quota = 0;

  [[nodiscard]] uint32_t countOf(uint16_t owner) const {
    return static_cast<uint32_t>(
        std::ranges::count_if(conns, [&](const Conn& each) { return each.owner == owner; }));
  }
  [[nodiscard]] Conn* oldest(uint16_t owner, ConnClass klass) {
    const auto found = std::ranges::find_if(
        conns, [&](const Conn& each) { return each.owner == owner && each.klass == klass; });
    return found == conns.end() ? nullptr : &*found;
  }
  // Who gives way where an owner is at its quota; nullptr: it is refused.
  [[nodiscard]] Conn* firstToGo(uint16_t owner, uint64_t nowUs) {
    Conn* const closing = oldest(owner, ConnClass::Closing);
    Conn* const unanswered = oldest(owner, ConnClass::Unanswered);
    Conn* const answered = oldest(owner, ConnClass::Unassured);
    if (closing != nullptr) return closing;
    if (unanswered == nullptr || answered == nullptr)
      return unanswered != nullptr ? unanswered : answered;
    if (unanswered->expiresUs <= nowUs) return unanswered;
    return nowUs - answered->activeUs > 2 * (nowUs - unanswered->activeUs) ? answered : unanswered;
  }
  void erase(uint32_t number) {
    std::erase_if(conns, [&](const Conn& each) { return each.number == number; });
  }
};

constexpr uint32_t MODEL_SIZE = 48;

void followModel(const ConnMemory* shared) {
  constexpr uint32_t SIZE = MODEL_SIZE;
  constexpr uint32_t OWNERS = 3;
  constexpr uint32_t NUMBERS = 150;
  uint64_t random = 0x9e3779b97f4a7c15;
  const auto below = [&random](uint32_t limit) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return static_cast<uint32_t>((random >> 33) % limit);
  };
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table, 0, shared).ok());
  std::array<uint16_t, OWNERS> owners;
  for (uint16_t& owner : owners) owner = table.attach();
  Model model;
  model.quota = SIZE / OWNERS;
  const auto keyOf = [](uint32_t number) {
    return flowOf(number, number % 2 == 0 ? PROTOCOL_TCP : PROTOCOL_UDP);
  };
  uint64_t nowUs = 1;
  std::array<uint64_t, CONN_CLASS_COUNT> evicted = {};
  uint64_t refused = 0;
  for (uint32_t step = 0; step < 60'000; ++step) {
    nowUs += below(300'000);
    const uint32_t number = below(NUMBERS);
    ConnEntry* entry = find(table, keyOf(number), nowUs);
    const auto known = std::ranges::find_if(
        model.conns, [&](const Model::Conn& each) { return each.number == number; });
    const bool lives = known != model.conns.end() && known->expiresUs > nowUs;
    REQUIRE((entry != nullptr) == lives);
    if (!lives) {
      model.erase(number);  // find() has removed it, if it was there
      const uint16_t owner = owners[number % OWNERS];
      std::optional<Model::Conn> gone;
      const bool full = model.countOf(owner) >= model.quota;
      if (full) {
        if (const Model::Conn* first = model.firstToGo(owner, nowUs); first != nullptr) {
          gone = *first;
        }
      }
      const Opened opened = open(table, keyOf(number), owner, nowUs);
      if (full && !gone.has_value()) {
        // Only where a sweep finds an assured one whose time is over is there room after all.
        const auto over = std::ranges::find_if(model.conns, [&](const Model::Conn& each) {
          return each.owner == owner && each.expiresUs <= nowUs;
        });
        if (over != model.conns.end() && opened.entry != nullptr) {
          std::erase_if(model.conns, [&](const Model::Conn& each) {
            return each.owner == owner && each.expiresUs <= nowUs &&
                   find(table, keyOf(each.number), nowUs) == nullptr;
          });
        } else {
          REQUIRE(opened.reason == DropReason::ConnectionQuota);
          ++refused;
          continue;
        }
      }
      REQUIRE(opened.entry != nullptr);
      if (gone.has_value()) {
        if (gone->expiresUs > nowUs) ++evicted[static_cast<size_t>(gone->klass)];
        model.erase(gone->number);
      }
      model.conns.push_back({number, owner, ConnClass::Unanswered, nowUs, opened.entry->expiresUs});
      continue;
    }
    // At times nearly all are assured, and new ones are refused.
    const bool settled = step / 2'000 % 2 == 0;
    if (!settled && below(8) == 0) {
      table.remove(*entry);
      model.erase(number);
      continue;
    }
    const bool tcp = entry->protocol() == PROTOCOL_TCP;
    const std::array<ConnClass, 4> classes = {ConnClass::Unanswered,
                                              tcp ? ConnClass::Closing : ConnClass::Unassured,
                                              ConnClass::Unanswered, ConnClass::Assured};
    const ConnClass to = settled && below(10) > 0 ? ConnClass::Assured : classes[below(4)];
    Model::Conn moved = *known;
    become(table, *entry, to, nowUs);
    moved.activeUs = nowUs;
    moved.expiresUs = entry->expiresUs;
    if (moved.klass == to) {
      *known = moved;
    } else {
      moved.klass = to;
      model.erase(number);
      model.conns.push_back(moved);
    }
    table.forgetClosed();
    if (below(50) == 0) {
      (void)table.expire(nowUs, SIZE);
      std::erase_if(model.conns, [&](const Model::Conn& each) { return each.expiresUs <= nowUs; });
      REQUIRE(table.size() == model.conns.size());
    }
    for (const uint16_t owner : owners) CHECK(table.use(owner).connections == model.countOf(owner));
  }
  for (const ConnClass each : {ConnClass::Closing, ConnClass::Unanswered, ConnClass::Unassured}) {
    CHECK(table.evicted(each) == evicted[static_cast<size_t>(each)]);
    CHECK(evicted[static_cast<size_t>(each)] > 100);
  }
  CHECK(table.evicted(ConnClass::Assured) == 0 && refused > 100);
}

}  // namespace

TEST("eviction: whatever comes after whatever, the table does as a list without an index does") {
  followModel(nullptr);
}

TEST("eviction: the table does the same in memory that eBPF programs read") {
  const SharedMemory memory(MODEL_SIZE);
  REQUIRE(memory.valid());
  followModel(&memory.descriptors());
}

}  // namespace sluice::testing
