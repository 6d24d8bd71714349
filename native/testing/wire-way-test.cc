// Goal:   on interfaces, what the program of a wire leaves to userspace comes up whole in the TAP
// of
//         its side, what userspace writes there leaves by that side, and a frame whose checksum or
//         whose segments would be made elsewhere than its headers say never passes in the kernel.
// Method: a wire between two veths in a namespace, packet sockets at their far ends, and an
// admitted
//         connection. After each frame, all three places where it may come out are read.
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "native/attach/tap.h"
#include "native/bpf/link.h"
#include "native/conntrack/tcp-track.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"
#include "native/testing/one-pod.h"
#include "native/testing/shared-memory.h"
#include "native/testing/test.h"
#include "native/testing/wire-programs.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {1, 2};
constexpr uint32_t SIZE = 64;
constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint16_t POD_PORT = 40'000;
constexpr uint16_t FRIEND_PORT = 8'080;
constexpr uint8_t GSO_TCP_V4 = 1;
constexpr uint8_t GSO_UDP_FRAGMENTS = 3;
constexpr uint8_t GSO_TCP_V6 = 4;
constexpr uint8_t GSO_UDP_SEGMENTS = 5;
constexpr int WAIT_MS = 2'000;

struct Received {
  Offload offload;
  std::vector<uint8_t> bytes;
};

// Where frames come out: at the far ends of the wire, or in userspace.
enum class Place : uint8_t { Pod, Net, UpFromPod, UpFromNet };
constexpr size_t PLACES = 4;

// A namespace with a wire, which goes with it.
class LiveWire {
 public:
  explicit LiveWire(bool hasCast = true) : hasCast_(hasCast) {}

  // False where this process may make none.
  bool make() {
    int fd = -1;
    const Status made = createNamespace(&fd);
    space_.reset(fd);
    if (!made.ok() || !memory_.isMapped()) {
      CHECK(made.ok() || made.error == EPERM);
      std::printf("# skipped: no CAP_SYS_ADMIN for a namespace, or no CAP_BPF\n");
      return false;
    }
    CHECK(setSysctl(fd, "ipv6/conf/default/disable_ipv6", "1").ok());
    CHECK(createVethPair(fd, "pod", fd, "inside").ok());
    CHECK(createVethPair(fd, "net", fd, "outside").ok());
    CHECK(ConnTable::create(SIZE, SECRET, &table, 0, &memory_.descriptors()).ok());
    CHECK(programs.load({&memory_, SIZE, SECRET, 1, false, !hasCast_}).ok());
    programs.control().generation = 1;
    taps_[0] = openWay("up-inside", "inside", "outside", 0);
    taps_[1] = openWay("up-outside", "outside", "inside", 1);
    CHECK(inNamespace(fd, [this] {
            far_[0] = openFar("pod");
            far_[1] = openFar("net");
            return Status{};
          }).ok());
    for (const Place from : {Place::Pod, Place::Net, Place::UpFromPod, Place::UpFromNet}) {
      if (!carries(from)) return false;
    }
    return true;
  }

  // Sends a frame from a far end, or into a TAP.
  void send(Place from, const std::vector<uint8_t>& frame, const Offload& offload = {}) {
    CHECK(trySend(from, frame, offload));
  }
  // False when the kernel refuses the frame.
  bool trySend(Place from, const std::vector<uint8_t>& frame, const Offload& offload) {
    iovec parts[] = {{const_cast<Offload*>(&offload), sizeof offload},
                     {const_cast<uint8_t*>(frame.data()), frame.size()}};
    const auto whole = static_cast<ssize_t>(sizeof offload + frame.size());
    return writev(descriptorOf(from), parts, 2) == whole;
  }

  // The next frame that comes out, and where; those of carries() do not count.
  std::optional<Received> next(Place* place) {
    for (;;) {
      const auto received = readNext(place, WAIT_MS);
      if (!received.has_value() || received->bytes != probe_) return received;
    }
  }

  ConnTable table;
  WirePrograms programs;

 private:
  // Sends until a frame comes out that is sent from here: a new interface loses them for a moment.
  bool carries(Place from) {
    for (int tries = 0; tries < 1'000; ++tries) {
      (void)trySend(from, probe_, {});
      Place place = from;
      if (readNext(&place, 10).has_value()) return true;
    }
    CHECK(!"a frame comes out");
    return false;
  }

  std::optional<Received> readNext(Place* place, int waitMs) {
    pollfd waiting[PLACES];
    for (size_t at = 0; at < PLACES; ++at) {
      waiting[at] = {descriptorOf(static_cast<Place>(at)), POLLIN, 0};
    }
    if (poll(waiting, PLACES, waitMs) <= 0) return {};
    for (size_t at = 0; at < PLACES; ++at) {
      if ((waiting[at].revents & POLLIN) == 0) continue;
      *place = static_cast<Place>(at);
      std::vector<uint8_t> room(sizeof(Offload) + FRAME_BYTES_MAX);
      const ssize_t got = read(waiting[at].fd, room.data(), room.size());
      if (got < static_cast<ssize_t>(sizeof(Offload))) return {};
      Received received;
      std::memcpy(&received.offload, room.data(), sizeof received.offload);
      received.bytes.assign(room.begin() + sizeof received.offload, room.begin() + got);
      // The worker is done with it.
      for (uint32_t side = 0; side < 2; ++side) programs.way(side).done = programs.way(side).sent;
      return received;
    }
    return {};
  }

  [[nodiscard]] int descriptorOf(Place place) const {
    switch (place) {
      case Place::Pod:
        return far_[0].get();
      case Place::Net:
        return far_[1].get();
      case Place::UpFromPod:
        return taps_[0].get();
      default:
        return taps_[1].get();
    }
  }

  uint32_t indexOf(const char* name) {
    uint32_t index = 0;
    CHECK(inNamespace(space_.get(), [&] { return interfaceIndex(name, &index); }).ok());
    return index;
  }

  Descriptor openWay(const char* tap, const char* name, const char* partner, uint32_t number) {
    std::vector<Descriptor> queues;
    TapOptions options;
    options.name = tap;
    options.mac = {2, 0, 0, 0, 9, static_cast<uint8_t>(number)};
    CHECK(openTap(space_.get(), options, {}, &queues).ok());
    const uint32_t up = indexOf(tap);
    const uint32_t own = indexOf(name);
    SluiceWireSide side = {};
    side.partner = indexOf(partner);
    side.up = up;
    side.number = number;
    std::memcpy(side.mac, OnePod::POD_MAC.data(), sizeof side.mac);
    side.hasMac = 1;
    side.isOutside = static_cast<uint8_t>(number);
    programs.putSide(own, side);
    programs.putDown(up, own);
    CHECK(inNamespace(space_.get(), [&]() -> Status {
            const auto ingress = BpfHook::TcxIngress;
            Status status = attachProgram(programs.wire(), own, ingress, 0, &links_[number * 2]);
            if (!status.ok()) return status;
            status = attachProgram(programs.wireDown(), up, ingress, 0, &links_[number * 2 + 1]);
            if (status.ok()) status = setInterfaceUp(up, true);
            return status.ok() ? setInterfaceUp(own, true) : status;
          }).ok());
    return queues.empty() ? Descriptor() : std::move(queues[0]);
  }

  static Descriptor openFar(const char* name) {
    uint32_t index = 0;
    if (!interfaceIndex(name, &index).ok() || !setInterfaceUp(index, true).ok()) return {};
    Descriptor far(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    const int on = 1;
    CHECK(setsockopt(far.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) == 0);
    CHECK(setsockopt(far.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) == 0);
    sockaddr_ll own = {};
    own.sll_family = AF_PACKET;
    own.sll_protocol = htons(ETH_P_ALL);
    own.sll_ifindex = static_cast<int>(index);
    CHECK(bind(far.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) == 0);
    return far;
  }

  static uint16_t htons(uint16_t value) { return __builtin_bswap16(value); }

  const std::vector<uint8_t> probe_ = udpFrame(4, 1, 1, 2, 2);
  bool hasCast_;
  SharedMemory memory_{SIZE};
  Descriptor space_;
  Descriptor links_[4];
  Descriptor taps_[2];
  Descriptor far_[2];
};

PacketView viewOf(std::vector<uint8_t>& bytes) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  PacketView view;
  CHECK(parsePacket(frame, &view) == DropReason::None);
  CHECK(parseTransport(&view) == DropReason::None);
  return view;
}

// Opens a connection of the pod to its friend, and admits it; TCP is established, with windows that
// hold any of these tests' segments.
void admit(LiveWire& wire, std::vector<uint8_t> first, std::vector<std::vector<uint8_t>> onwards) {
  const PacketView view = viewOf(first);
  const ConnName name = connNameOf(view.key, view.icmpRole, view.icmpType, 0);
  DropReason reason;
  ConnEntry* const entry = wire.table.insert(name, wire.table.hintOf(name), {}, 1, &reason);
  REQUIRE(entry != nullptr);
  entry->state = ConnState::Replied;
  if (view.key.protocol == PROTOCOL_TCP) openTcp(*entry, name.sender, view.tcp);
  for (std::vector<uint8_t>& bytes : onwards) {
    const PacketView each = viewOf(bytes);
    const ConnName named = connNameOf(each.key, each.icmpRole, each.icmpType, 0);
    CHECK(trackTcp(*entry, named.sender, each.tcp).fate == TcpFate::Accepted);
  }
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  for (uint32_t end = 0; end < 2; ++end) {
    entry->ends[end].isOutside = end == name.sender ? 0 : 1;
    entry->ends[end].seenUs = static_cast<uint64_t>(now.tv_sec) * 1'000'000;
    __atomic_store_n(&entry->ends[end].admitted, 1, __ATOMIC_RELEASE);
  }
}

void admitTcp(LiveWire& wire, uint8_t family) {
  const auto from = [family](bool pod, const TcpFields& fields) {
    return pod ? tcpFrame(family, POD, POD_PORT, FRIEND, FRIEND_PORT, fields)
               : tcpFrame(family, FRIEND, FRIEND_PORT, POD, POD_PORT, fields);
  };
  const std::vector<uint8_t> scale = {1, 3, 3, 7};
  admit(
      wire, from(true, {.flags = TCP_SYN, .sequence = 99, .options = scale}),
      {from(
           false,
           {.flags = TCP_SYN | TCP_ACK, .sequence = 199, .acknowledgement = 100, .options = scale}),
       from(true, {.flags = TCP_ACK, .sequence = 100, .acknowledgement = 200}),
       from(false, {.flags = TCP_ACK, .sequence = 200, .acknowledgement = 100})});
}

std::vector<uint8_t> segment(uint8_t family, size_t payloadBytes) {
  return tcpFrame(
      family, POD, POD_PORT, FRIEND, FRIEND_PORT,
      {.flags = TCP_ACK, .sequence = 100, .acknowledgement = 200, .payloadBytes = payloadBytes});
}

// Where the TCP or UDP header starts.
constexpr uint16_t headerAt(uint8_t family) { return family == 4 ? 34 : 54; }

Offload partial(uint8_t family, uint16_t field) {
  Offload offload = {};
  offload.flags = OFFLOAD_NEEDS_CHECKSUM;
  offload.checksumStart = headerAt(family);
  offload.checksumOffset = field;
  return offload;
}

Offload superframe(uint8_t family, uint16_t segmentBytes) {
  Offload offload = partial(family, 16);
  offload.gsoType = family == 4 ? GSO_TCP_V4 : GSO_TCP_V6;
  offload.headerBytes = static_cast<uint16_t>(headerAt(family) + 20);
  offload.gsoSize = segmentBytes;
  return offload;
}

// Whether a frame came out at a place, as it was.
bool comesOut(LiveWire& wire, Place wanted, const std::vector<uint8_t>& frame) {
  Place place = wanted;
  const auto received = wire.next(&place);
  if (!received.has_value()) return false;
  return place == wanted && received->bytes == frame;
}

}  // namespace

TEST(
    "wire way: what is not admitted comes up whole, and what is written to a TAP leaves by its "
    "side") {
  LiveWire wire;
  if (!wire.make()) return;
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const std::vector<uint8_t> frame = segment(family, 40'000);
    const Offload offload = superframe(family, 1'400);
    wire.send(Place::Pod, frame, offload);
    Place place = Place::Pod;
    const auto received = wire.next(&place);
    REQUIRE(received.has_value());
    CHECK(place == Place::UpFromPod && received->bytes == frame);
    CHECK(received->offload.gsoType == offload.gsoType && received->offload.gsoSize == 1'400);
    CHECK(received->offload.checksumStart == headerAt(family));
    CHECK(received->offload.checksumOffset == 16);

    wire.send(Place::UpFromNet, frame, offload);
    CHECK(comesOut(wire, Place::Net, frame));
    wire.send(Place::UpFromPod, frame, offload);
    CHECK(comesOut(wire, Place::Pod, frame));
    wire.send(Place::Net, frame, offload);
    CHECK(comesOut(wire, Place::UpFromNet, frame));
  }
  std::vector<uint8_t> tagged = segment(4, 10);
  const uint8_t tag[] = {0x81, 0, 0, 5};
  tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
  wire.send(Place::Pod, tagged);
  CHECK(comesOut(wire, Place::UpFromPod, tagged));
}

namespace {

void passWithWork(bool hasCast) {
  LiveWire wire(hasCast);
  if (!wire.make()) return;
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    admitTcp(wire, family);
    wire.send(Place::Pod, segment(family, 100));
    CHECK(comesOut(wire, Place::Net, segment(family, 100)));
    wire.send(Place::Pod, segment(family, 100), partial(family, 16));
    CHECK(comesOut(wire, Place::Net, segment(family, 100)));
    wire.send(Place::Pod, segment(family, 40'000), superframe(family, 1'400));
    CHECK(comesOut(wire, Place::Net, segment(family, 40'000)));
    // A tag of the pod's own: userspace drops it.
    std::vector<uint8_t> tagged = segment(family, 10);
    const uint8_t tag[] = {0x81, 0, 0, 5};
    tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
    wire.send(Place::Pod, tagged);
    CHECK(comesOut(wire, Place::UpFromPod, tagged));

    const auto datagram = udpFrame(family, POD, POD_PORT, FRIEND, FRIEND_PORT, 100);
    admit(wire, datagram, {});
    wire.send(Place::Pod, datagram, partial(family, 6));
    CHECK(comesOut(wire, Place::Net, datagram));
  }
}

void sendOddOnes(bool hasCast) {
  LiveWire wire(hasCast);
  if (!wire.make()) return;
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    admitTcp(wire, family);
    std::vector<Offload> odd;
    for (const uint16_t field : {0, 2, 4, 13, 18, 30}) odd.push_back(partial(family, field));
    for (const int shift : {-14, -8, 4, 16}) {
      odd.push_back(partial(family, 16));
      odd.back().checksumStart = static_cast<uint16_t>(headerAt(family) + shift);
      // The field is the right one, but not the sum's start.
      odd.push_back(partial(family, static_cast<uint16_t>(16 - shift)));
      odd.back().checksumStart = static_cast<uint16_t>(headerAt(family) + shift);
    }
    for (const Offload& each : odd) {
      wire.send(Place::Pod, segment(family, 100), each);
      Place place = Place::Pod;
      const auto received = wire.next(&place);
      CHECK(received.has_value() && place == Place::UpFromPod);
    }
    const auto before = wire.programs.counted()[SLUICE_WIRE_PASSED];
    // Segments of a few bytes: userspace drops them.
    wire.send(Place::Pod, segment(family, 40'000), superframe(family, 8));
    CHECK(comesOut(wire, Place::UpFromPod, segment(family, 40'000)));
    // Segments of another kind, where the kernel takes that from the pod.
    for (const uint8_t type : {GSO_TCP_V4, GSO_TCP_V6, GSO_UDP_FRAGMENTS, GSO_UDP_SEGMENTS}) {
      Offload other = superframe(family, 1'400);
      if (other.gsoType == type) continue;
      other.gsoType = type;
      (void)wire.trySend(Place::Pod, segment(family, 20'000), other);
    }
    // What came of those may be lost on the way, where the kernel cuts it; this one is not.
    const auto last = udpFrame(family, POD, 1, FRIEND, 1, 1);
    wire.send(Place::Pod, last);
    for (;;) {
      Place place = Place::Pod;
      const auto received = wire.next(&place);
      REQUIRE(received.has_value());
      CHECK(place == Place::UpFromPod);
      if (received->bytes == last) break;
    }
    const auto datagram = udpFrame(family, POD, POD_PORT, FRIEND, FRIEND_PORT, 100);
    admit(wire, datagram, {});
    wire.send(Place::Pod, datagram, partial(family, 2));
    CHECK(comesOut(wire, Place::UpFromPod, datagram));
    CHECK(wire.programs.counted()[SLUICE_WIRE_PASSED] == before);
  }
}

}  // namespace

TEST("wire way: frames of an admitted connection pass, with the work that is left on them") {
  passWithWork(true);
  passWithWork(false);  // as kernels before 6.2 do it
}

TEST("wire way: a checksum that would be written elsewhere goes up, and so do odd superframes") {
  sendOddOnes(true);
  sendOddOnes(false);  // as kernels before 6.2 do it
}

}  // namespace sluice::testing
