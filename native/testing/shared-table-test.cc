// Goal:   what is tracked stands in the memory that eBPF programs read, where the layout says;
// memory
//         that is too small is refused.
// Method: the table's maps are read as the kernel reads them, by one system call for each entry.
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "native/bpf/call.h"
#include "native/bpf/map.h"
#include "native/conntrack/tcp-track.h"
#include "native/testing/one-pod.h"
#include "native/testing/shared-memory.h"
#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};

ConnName nameOf(uint32_t number) {
  FlowKey key;
  key.family = 4;
  key.protocol = PROTOCOL_TCP;
  key.source = {10, 0, 0, 1};
  key.destination = {10, static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 8),
                     static_cast<uint8_t>(number)};
  key.sourcePort = 40'000;
  key.destinationPort = 8'080;
  return connNameOf(key, IcmpRole::None, 0, 0);
}

ConnEntry* openAt(ConnTable& table, uint32_t number, uint64_t nowUs) {
  const ConnName name = nameOf(number);
  DropReason reason;
  ConnEntry* const entry = table.insert(name, table.hintOf(name), {}, nowUs, &reason);
  if (entry == nullptr) return nullptr;
  TcpSegment syn;
  syn.flags = TCP_SYN;
  syn.sequence = 100 * number;
  syn.window = 1'000;
  openTcp(*entry, name.sender, syn);
  entry->count(name.sender, 60 + number);
  entry->expiresUs = nowUs + 1'000'000;
  return entry;
}

// How many slots of the map's buckets name each entry.
std::vector<uint32_t> slotsOf(int map, uint32_t entriesMax) {
  std::vector<uint32_t> slots(entriesMax);
  for (uint32_t number = 0; number < ConnTable::bucketsFor(entriesMax); ++number) {
    SluiceConnBucket bucket = {};
    CHECK(readFromMap(map, &number, &bucket).ok());
    for (size_t slot = 0; slot < SLUICE_CONN_SLOTS; ++slot) {
      if (bucket.tags[slot] != 0 && bucket.entries[slot] < entriesMax) {
        ++slots[bucket.entries[slot]];
      }
    }
  }
  return slots;
}

// Reads an entry as the kernel has it.
bool readEntry(const ConnRooms& rooms, uint32_t place, SluiceConn* entry) {
  const uint32_t number = place >> rooms.placesShift();
  const uint32_t within = place & ((1u << rooms.placesShift()) - 1);
  bpf_attr attributes = noAttributes();
  if (!readFromMap(rooms.map(), &number, &attributes.map_id).ok()) return false;
  const Descriptor map(callBpf(BPF_MAP_GET_FD_BY_ID, &attributes));
  return map.valid() && readFromMap(map.get(), &within, entry).ok();
}

}  // namespace

TEST("shared table: the kernel sees each connection, what it has sent, and its removal") {
  constexpr uint32_t SIZE = 512;
  const SharedMemory memory(SIZE);
  REQUIRE(memory.valid());
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table, 0, &memory.descriptors()).ok());
  for (uint32_t number = 0; number < SIZE; ++number) {
    REQUIRE(openAt(table, number, 1) != nullptr);
  }
  if (!memory.isMapped()) return;

  const ConnMemory& maps = memory.descriptors();
  const auto once = slotsOf(maps.buckets, SIZE);
  CHECK(std::ranges::all_of(once, [](uint32_t slots) { return slots == 1; }));
  const ConnEntry* const first = table.at(0);
  for (uint32_t number = 0; number < SIZE; ++number) {
    const ConnName name = nameOf(number);
    ConnEntry* const entry = table.find(name, table.hintOf(name), 2);
    REQUIRE(entry != nullptr);
    const auto place = static_cast<uint32_t>(entry - first);
    SluiceConn seen = {};
    REQUIRE(readEntry(memory.rooms(), place, &seen));
    CHECK(seen.key == name.key && seen.state == ConnState::SynSent);
    const SluiceConnEnd& end = seen.ends[name.sender];
    CHECK(end.tcp.sentEnd == 100 * number + 1 && end.tcp.windowMax == 1'000);
    CHECK(end.packets == 1 && end.bytes == 60 + number);
    CHECK(seen.ends[1 - name.sender].packets == 0);
    if (number % 2 == 0) table.remove(*entry);
  }
  const auto half = slotsOf(maps.buckets, SIZE);
  CHECK(std::ranges::count(half, 1u) == SIZE / 2 && std::ranges::count(half, 0u) == SIZE / 2);
}

TEST("shared table: memory that is too small, or none, is refused") {
  const SharedMemory memory(64);
  REQUIRE(memory.valid());
  ConnTable table;
  const ConnMemory none;
  CHECK(ConnTable::create(64, SECRET, &table, 0, &none).code == StatusCode::Limit);
  if (!memory.isMapped()) return;
  CHECK(ConnTable::create(100'000, SECRET, &table, 0, &memory.descriptors()).code ==
        StatusCode::Limit);
}

TEST("shared table: memory comes as the table fills, ahead of need or when it is needed") {
  constexpr uint32_t SIZE = 100'000;
  const SharedMemory memory(SIZE);
  REQUIRE(memory.valid());
  if (!memory.isMapped()) return;
  ConnRoom& room = *memory.rooms().room(0);
  const uint32_t each = 1u << memory.rooms().placesShift();
  CHECK(room.places() == each && each < SIZE / 4);
  ConnTable table;
  REQUIRE(ConnTable::create(SIZE, SECRET, &table, 0, &memory.descriptors()).ok());
  for (uint32_t number = 0; number < SIZE; ++number) {
    REQUIRE(openAt(table, number, 1) != nullptr);
  }
  CHECK(table.size() == SIZE && room.places() >= SIZE && room.places() < SIZE + each);
  const ConnEntry* const first = table.at(0);
  for (uint32_t number = 0; number < SIZE; number += 999) {
    const ConnName name = nameOf(number);
    const ConnEntry* const entry = table.find(name, table.hintOf(name), 2);
    REQUIRE(entry != nullptr);
    SluiceConn seen = {};
    REQUIRE(readEntry(memory.rooms(), static_cast<uint32_t>(entry - first), &seen));
    CHECK(seen.key == name.key);
  }
  CHECK(!room.grow(UINT32_MAX));
  // Ahead of need, by a thread that nobody waits for.
  const SharedMemory other(SIZE);
  REQUIRE(other.isMapped());
  other.rooms().room(0)->prepare(each - 1);
  while (other.rooms().room(0)->places() == each) sched_yield();
}

// A child of fork() has the room, and no thread that makes memory for it. Whoever waits looks again
// and again, and sleeps between: its switches show it, whatever the machine's load.
TEST("shared table: whoever waits for memory that nobody makes gives up, and does not wait again") {
  const SharedMemory memory(100'000);
  REQUIRE(memory.valid());
  if (!memory.isMapped()) return;
  ConnRoom& room = *memory.rooms().room(0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    const auto waits = [] {
      rusage usage = {};
      getrusage(RUSAGE_SELF, &usage);
      return usage.ru_nvcsw;
    };
    bool grown = room.grow(room.places() + 1);
    const auto before = waits();
    // Nor after a time in which the kernel's refusal would be forgotten.
    sleep(2);
    grown = room.grow(room.places() + 1) || grown;
    _exit(grown ? 1 : waits() - before > 5 ? 2 : 0);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace sluice::testing
