// Goal:   the program of a wire passes what the tracker would pass, notes what the tracker would
//         note, and leaves all else to userspace, whichever of both takes which packet.
// Method: random conversations, as frames, go twice: through the tracker on a table of its own, and
//         through the program on a table that both share, where the tracker takes what goes up.
//         After each frame, all numbers of both are compared. Between frames policies are swapped,
//         connections cut, aged and judged again, and handed to a successor with a table and a
//         program of its own. SLUICE_MODEL_SEED searches elsewhere. Then single connections: frames
//         that wait on the way up, and leases.
#include <time.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "native/bpf/program.h"
#include "native/conntrack/saved-connection.h"
#include "native/conntrack/tcp-rules.h"
#include "native/conntrack/tcp-track.h"
#include "native/packet/steering.h"
#include "native/testing/one-pod.h"
#include "native/testing/shared-memory.h"
#include "native/testing/test.h"
#include "native/testing/wire-programs.h"

namespace sluice::testing {
namespace {

constexpr HashSecret SECRET = {0x0123456789abcdef, 0xfedcba9876543210};
constexpr uint32_t SIZE = 64;
constexpr uint8_t ZONE = 3;
constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint32_t LOOPBACK = 1;   // the interface of frames that are run for a test
constexpr uint32_t START = 1'000;  // a number of frames that went up before
constexpr uint32_t REDIRECTED = 7;
constexpr uint32_t SHOT = 2;
static_assert(SLUICE_WIRE_FRAME_BYTES_MAX + 4 == FRAME_BYTES_MAX);
static_assert(SLUICE_WIRE_WORKERS == WORKERS_MAX);
constexpr uint32_t CONVERSATIONS = 400;
constexpr uint32_t FRAMES_EACH = 50;

uint64_t nowUs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000;
}

// The programs and what they counted.
class Program {
 public:
  Status load(const SharedMemory& memory, uint32_t workers) {
    // Several workers try the barriers of other machines too.
    return programs_.load({&memory, SIZE, SECRET, workers, workers > 1});
  }

  SluiceWireControl& control() { return programs_.control(); }
  // The way up of the frames of a side of the wire.
  SluiceWireWay& way(bool isOutside, uint32_t worker = 0) {
    return programs_.way(isOutside ? 1 : 0, worker);
  }

  // Where a frame goes that comes in at a side of the wire.
  uint32_t run(const std::vector<uint8_t>& frame, bool isOutside) {
    SluiceWireSide side = {};
    side.partner = LOOPBACK;
    side.up = LOOPBACK;
    side.number = isOutside ? 1 : 0;
    std::memcpy(side.mac, OnePod::POD_MAC.data(), sizeof side.mac);
    side.hasMac = 1;
    side.isOutside = isOutside ? 1 : 0;
    side.zone = ZONE;
    programs_.putSide(LOOPBACK, side);
    const uint32_t result = resultOf(programs_.wire(), frame);
    const auto now = programs_.counted();
    uint32_t went = SLUICE_WIRE_ENDS;
    for (uint32_t end = 0; end < SLUICE_WIRE_ENDS; ++end) {
      if (now[end] == before_[end] + 1) went = end;
    }
    before_ = now;
    const bool isDropped = went == SLUICE_WIRE_HELD || went == SLUICE_WIRE_FULL;
    CHECK(result == (isDropped ? SHOT : REDIRECTED));
    return went;
  }
  // The same, and the worker is done with it at once.
  uint32_t runAlone(const std::vector<uint8_t>& frame, bool isOutside) {
    SluiceWireWay& up = way(isOutside);
    const uint32_t sent = up.sent;
    const uint32_t went = run(frame, isOutside);
    CHECK(up.sent == sent + (went == SLUICE_WIRE_PASSED ? 0 : 1));
    up.done = up.sent;
    return went;
  }

  // Where a frame goes that is written into a TAP: the program's result.
  uint32_t runDown(const std::vector<uint8_t>& frame, bool knowsTap) {
    if (knowsTap) programs_.putDown(LOOPBACK, LOOPBACK);
    if (!knowsTap) programs_.removeDown(LOOPBACK);
    return resultOf(programs_.wireDown(), frame);
  }

  [[nodiscard]] uint64_t counted(uint32_t end) const { return before_[end]; }

 private:
  static uint32_t resultOf(int program, const std::vector<uint8_t>& frame) {
    uint32_t result = 0;
    uint32_t mark = 0;
    CHECK(runFrame(program, std::as_bytes(std::span(frame)), &mark, &result).ok());
    CHECK(result != REDIRECTED || mark == WirePrograms::MARK);
    return result;
  }

  WirePrograms programs_;
  std::array<uint64_t, SLUICE_WIRE_ENDS> before_ = {};
};

struct Parsed {
  PacketView view;
  ConnName name;
  DropReason reason;
};
Parsed parse(std::vector<uint8_t>& bytes) {
  Parsed parsed;
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  CHECK(parsePacket(frame, &parsed.view) == DropReason::None);
  parsed.reason = parseTransport(&parsed.view);
  parsed.name = connNameOf(parsed.view.key, parsed.view.icmpRole, parsed.view.icmpType, ZONE);
  return parsed;
}
void admitEnds(ConnEntry& entry, uint32_t podEnd, uint32_t generation) {
  for (uint32_t end = 0; end < 2; ++end) {
    entry.ends[end].isOutside = end == podEnd ? 0 : 1;
    entry.ends[end].seenUs = nowUs();
    __atomic_store_n(&entry.ends[end].admitted, generation, __ATOMIC_RELEASE);
  }
}
// A conversation between the pod and its friend, tracked on both tables.
class Conversation {
 public:
  Conversation(uint32_t seed, uint16_t port, ConnTable* alone, ConnTable* shared, Program* program)
      : random_(seed), port_(port), alone_(alone), shared_(shared), program_(program) {
    family_ = below(2) == 0 ? 4 : 6;
    opensInside_ = below(2) == 0;
    constexpr uint8_t OTHERS[] = {PROTOCOL_UDP, PROTOCOL_ICMP, PROTOCOL_SCTP};
    protocol_ = below(4) != 0 ? PROTOCOL_TCP : OTHERS[below(3)];
    for (uint32_t& each : start_) {
      each = below(2) == 0 ? 0u - below(100'000) : static_cast<uint32_t>(random_());
    }
  }

  // Opens it, on both; userspace alone does that.
  bool open() {
    std::vector<uint8_t> frame = frameOf(opensInside_, firstSegment());
    const uint32_t went = program_->runAlone(frame, !opensInside_);
    if (went != SLUICE_WIRE_UNUSUAL && went != SLUICE_WIRE_UNKNOWN) return false;
    if (protocol_ == PROTOCOL_TCP && went != SLUICE_WIRE_UNUSUAL) return false;
    const Parsed read = parse(frame);
    for (ConnTable* table : {alone_, shared_}) {
      DropReason reason;
      ConnEntry* const entry = table->insert(read.name, table->hintOf(read.name), {}, 1, &reason);
      if (entry == nullptr) return false;
      (table == alone_ ? wanted_ : entry_) = entry;
      entry->state = ConnState::Unreplied;
      if (protocol_ == PROTOCOL_TCP) openTcp(*entry, read.name.sender, read.view.tcp);
      entry->count(read.name.sender, static_cast<uint32_t>(frame.size()));
      entry->expiresUs = UINT64_MAX;
    }
    podEnd_ = opensInside_ ? read.name.sender : 1u - read.name.sender;
    return true;
  }

  void close() {
    alone_->remove(*wanted_);
    shared_->remove(*entry_);
  }

  // As the worker does with what it has judged by the policy in force.
  void admit(uint32_t generation) { admitEnds(*entry_, podEnd_, generation); }
  // Goes on in the successor's table, as saved and loaded; false when it was refused.
  bool handOn(ConnTable* next, Program* program) {
    SavedConnection saved;
    saveConn(*entry_, nowUs(), &saved);
    shared_->remove(*entry_);
    shared_ = next;
    program_ = program;
    if (!restoreConn(saved, {}, 1, 1, next)) return false;
    const ConnName name =
        connNameOf(savedKeyOf(saved), saved.icmpKind != 0 ? IcmpRole::Request : IcmpRole::None,
                   saved.icmpKind, ZONE);
    entry_ = next->find(name, next->hintOf(name), 1);
    if (entry_ == nullptr) return false;
    entry_->expiresUs = UINT64_MAX;
    hasMoved_ = true;
    return true;
  }

  // By more than the kernel's coarse clock is behind.
  void age() {
    for (SluiceConnEnd& end : entry_->ends) end.seenUs = nowUs() - timeoutOf(*entry_) - SECOND_US;
  }

  // Sends a frame both ways; what differs, or nothing. `went` says where the program sent it.
  std::string step(bool asksProgram, bool forgesMac, uint32_t* went) {
    const bool fromPod = below(2) == 0;
    std::vector<uint8_t> frame = frameOf(fromPod, nextSegment(fromPod));
    while (frame.size() < 60 && below(2) == 0) frame.push_back(0);
    const Parsed read = parse(frame);
    // From a MAC that is not the pod's, or to one.
    std::vector<uint8_t> forged = frame;
    if (forgesMac) forged[fromPod ? 11 : 5] ^= 0x40;
    *went = SLUICE_WIRE_UNADMITTED;
    if (asksProgram) *went = program_->runAlone(forged, !fromPod);
    const auto bytes = static_cast<uint32_t>(frame.size());
    CHECK(read.reason == DropReason::None);
    const TcpOutcome wanted = take(*wanted_, read, bytes);
    if (*went == SLUICE_WIRE_PASSED) {
      if ((read.view.tcp.flags & TCP_SYN) != 0) ++answersPassed;
      if (protocol_ == PROTOCOL_SCTP) ++chunksPassed;
      if (wanted.fate != TcpFate::Accepted) return "it passed what is not to be accepted";
    } else {
      const TcpOutcome got = take(*entry_, read, bytes);
      if (got.fate != wanted.fate || got.reason != wanted.reason) return "the fate of what went up";
    }
    return difference();
  }

  static inline uint32_t answersPassed = 0;
  static inline uint32_t chunksPassed = 0;

  [[nodiscard]] bool isOver() const {
    return wanted_->state == ConnState::Close || wanted_->state == ConnState::None;
  }

 private:
  struct Segment {
    uint8_t flags = TCP_SYN;
    uint32_t sequence = 0;
    uint32_t acknowledgement = 0;
    uint32_t payload = 0;
    uint16_t window = 1'000;
    bool hasScale = false;
  };

  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_()) % limit; }
  uint16_t window() {
    constexpr uint16_t WINDOWS[] = {0, 1, 100, 1'460, 29'200, 65'535};
    return WINDOWS[below(std::size(WINDOWS))];
  }

  Segment firstSegment() {
    Segment first;
    first.sequence = start_[0];
    first.window = window();
    first.hasScale = below(3) != 0;
    return first;
  }

  Segment nextSegment(bool fromPod) {
    const uint32_t sender = fromPod ? podEnd_ : 1 - podEnd_;
    const TcpEnd& from = wanted_->ends[sender].tcp;
    const TcpEnd& to = wanted_->ends[1 - sender].tcp;
    Segment segment;
    segment.window = window();
    if (wanted_->state == ConnState::SynSent && below(8) != 0) {
      segment.flags = TCP_SYN | TCP_ACK;
      segment.sequence = start_[1];
      segment.acknowledgement = to.sentEnd;
      segment.hasScale = below(3) != 0;
      return segment;
    }
    constexpr uint8_t FLAGS[] = {TCP_ACK,           TCP_ACK,           TCP_ACK, TCP_ACK,
                                 TCP_ACK,           TCP_ACK,           TCP_ACK, TCP_PSH | TCP_ACK,
                                 TCP_PSH | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST, TCP_SYN | TCP_ACK,
                                 TCP_URG | TCP_ACK};
    segment.flags = FLAGS[below(std::size(FLAGS))];
    if ((segment.flags & TCP_RST) != 0 && below(3) != 0) segment.flags = TCP_ACK;
    segment.payload = below(2) == 0 ? 0 : below(1'461);
    if (below(2) == 0) {
      const auto room = static_cast<int32_t>(to.peerLimit - from.sentEnd);
      segment.sequence = from.sentEnd;
      segment.acknowledgement = to.sentEnd;
      segment.payload = room > 0 ? std::min(segment.payload, static_cast<uint32_t>(room)) : 0;
      return segment;
    }
    const uint32_t sequences[] = {from.sentEnd,
                                  to.peerLimit,
                                  to.peerLimit - segment.payload,
                                  to.ackMax,
                                  from.sentEnd - to.windowMax - segment.payload,
                                  static_cast<uint32_t>(random_())};
    const uint32_t acknowledgements[] = {to.sentEnd, to.sentEnd - SLUICE_STALE_BYTES_MIN,
                                         to.sentEnd - from.windowMax,
                                         static_cast<uint32_t>(random_())};
    segment.sequence = sequences[below(std::size(sequences))] + below(7) - 3;
    segment.acknowledgement = acknowledgements[below(std::size(acknowledgements))] + below(7) - 3;
    return segment;
  }

  std::vector<uint8_t> frameOf(bool fromPod, const Segment& segment) {
    const uint8_t from = fromPod ? POD : FRIEND;
    const uint8_t to = fromPod ? FRIEND : POD;
    const uint16_t ports[] = {fromPod == opensInside_ ? port_ : uint16_t{8'080},
                              fromPod == opensInside_ ? uint16_t{8'080} : port_};
    if (protocol_ == PROTOCOL_UDP)
      return udpFrame(family_, from, ports[0], to, ports[1], below(90));
    if (protocol_ == PROTOCOL_SCTP) return chunksFrame(from, ports[0], to, ports[1]);
    if (protocol_ == PROTOCOL_ICMP) {
      return echoFrame(family_, from, to, fromPod != opensInside_, port_);
    }
    TcpFields fields = {.flags = segment.flags,
                        .sequence = segment.sequence,
                        .acknowledgement = segment.acknowledgement,
                        .window = segment.window,
                        .payloadBytes = segment.payload};
    if ((segment.flags & TCP_SYN) != 0) {
      fields.options = {2, 4, 5, 0xb4, 1, 1};
      const auto scale = static_cast<uint8_t>(below(16));
      if (segment.hasScale) fields.options.insert(fields.options.end(), {1, 3, 3, scale});
      while (fields.options.size() % 4 != 0) fields.options.push_back(0);
    }
    return tcpFrame(family_, from, ports[0], to, ports[1], fields);
  }

  // Up to six chunks, of which the program walks four.
  std::vector<uint8_t> chunksFrame(uint8_t from, uint16_t fromPort, uint8_t to, uint16_t toPort) {
    FrameBuilder builder(family_, from, to, PROTOCOL_SCTP);
    append16(builder.payload, fromPort);
    append16(builder.payload, toPort);
    builder.payload.resize(12);
    for (uint32_t chunk = below(6); chunk < 6; ++chunk) {
      const uint32_t bytes = 4 + below(40);
      append16(builder.payload, below(13) << 8);
      append16(builder.payload, bytes);
      builder.payload.resize(builder.payload.size() + ((bytes + 3) & ~3u) - 4);
    }
    return builder.build();
  }

  // As Filter::judgeTracked does.
  TcpOutcome take(ConnEntry& entry, const Parsed& read, uint32_t bytes) {
    ConnTable& table = &entry == wanted_ ? *alone_ : *shared_;
    const uint8_t sender = read.name.sender;
    TcpOutcome outcome;
    if (protocol_ == PROTOCOL_TCP) {
      // As a worker does beside the program, unless the connection begins anew.
      bool restarts = &entry == wanted_;
      if (!restarts) outcome = trackSharedTcp(entry, sender, read.view.tcp, &restarts);
      if (restarts) outcome = trackTcp(entry, sender, read.view.tcp);
      if (outcome.fate == TcpFate::Accepted) table.settleTcp(entry, sender);
    } else {
      table.settleOther(entry, sender, 1);
    }
    if (outcome.fate == TcpFate::Accepted || outcome.fate == TcpFate::Ignored) {
      entry.count(sender, bytes);
    }
    return outcome;
  }

  // What stands otherwise in the two entries. Which class it is in is settled in userspace alone.
  [[nodiscard]] std::string difference() const {
    constexpr auto NOTED = static_cast<uint8_t>(~ConnEntry::ASSURED);
    if (entry_->state != wanted_->state) return "the state";
    if ((entry_->flags & NOTED) != (wanted_->flags & NOTED)) return "the flags";
    for (size_t end = 0; end < 2; ++end) {
      const SluiceConnEnd& have = entry_->ends[end];
      const SluiceConnEnd& want = wanted_->ends[end];
      if (entry_->windowScale[end] != wanted_->windowScale[end]) return "a window scale";
      if (have.tcp.sentEnd != want.tcp.sentEnd) return "what an end has sent";
      if (have.tcp.peerLimit != want.tcp.peerLimit) return "what an end lets the other send";
      if (have.tcp.windowMax != want.tcp.windowMax) return "an end's window";
      if (have.tcp.ackMax != want.tcp.ackMax) return "what an end has confirmed";
      if (hasMoved_) continue;  // which end has sent how much is not handed on
      if (have.packets != want.packets || have.bytes != want.bytes) return "what is counted";
    }
    if (entry_->packets() != wanted_->packets() || entry_->bytes() != wanted_->bytes()) {
      return "what is counted in all";
    }
    return {};
  }

  std::mt19937 random_;
  uint16_t port_;
  ConnTable* alone_;
  ConnTable* shared_;
  Program* program_;
  ConnEntry* wanted_ = nullptr;  // on the table of the tracker alone
  ConnEntry* entry_ = nullptr;   // on the one that the program shares
  uint8_t family_ = 4;
  uint8_t protocol_ = PROTOCOL_TCP;
  bool opensInside_ = true;
  uint32_t podEnd_ = 0;
  bool hasMoved_ = false;
  std::array<uint32_t, 2> start_ = {};
};

// Both tables and the program between them; `valid` is false where this process may load none.
struct Bench {
  explicit Bench(uint32_t workers = 1) {
    if (!memory.isMapped()) return;
    CHECK(ConnTable::create(SIZE, SECRET, &alone).ok());
    CHECK(ConnTable::create(SIZE, SECRET, &shared, 0, &memory.descriptors()).ok());
    const Status status = program.load(memory, workers);
    if (!status.ok()) std::fprintf(stderr, "%s: %s\n", std::strerror(status.error), status.detail);
    CHECK(status.ok() || status.error == EPERM);
    valid = status.ok();
    if (valid) program.control().generation = 1;
  }

  SharedMemory memory{SIZE};
  ConnTable alone;
  ConnTable shared;
  Program program;
  bool valid = false;
};

// Frames from the pod to its friend; those of a connection that userspace has admitted.
std::vector<uint8_t> datagram(uint16_t port) { return udpFrame(4, POD, port, FRIEND, 8'080, 20); }
void admitDatagrams(Bench& bench, uint16_t port) {
  std::vector<uint8_t> bytes = datagram(port);
  const ConnName name = parse(bytes).name;
  DropReason reason;
  ConnEntry* const entry = bench.shared.insert(name, bench.shared.hintOf(name), {}, 1, &reason);
  REQUIRE(entry != nullptr);
  entry->state = ConnState::Unreplied;
  admitEnds(*entry, name.sender, 1);
}

// What a swap, a cut or time does to a connection before its next frame.
struct Change {
  uint32_t generation = 1;
  bool passes = true;  // the program may pass its packets
  uint32_t reason = SLUICE_WIRE_PASSED;
};

Change changed(Bench& bench, Conversation& conversation, uint32_t what, uint32_t generation) {
  switch (what) {
    case 0:  // a swap that nobody stamped ahead
      bench.program.control().generation = generation + 1;
      return {generation + 1, false, SLUICE_WIRE_STALE};
    case 1:  // one that was stamped ahead
      conversation.admit(generation + 1);
      bench.program.control().generation = generation + 1;
      return {generation + 1, true, SLUICE_WIRE_PASSED};
    case 2:
      conversation.admit(0);
      return {generation, false, SLUICE_WIRE_UNADMITTED};
    case 3:
      conversation.age();
      return {generation, false, SLUICE_WIRE_EXPIRED};
    default:
      return {generation, true, SLUICE_WIRE_PASSED};
  }
}

// One conversation, which the two benches take over from each other; what differs first, or
// nothing.
std::string converse(std::array<Bench, 2>& benches, uint32_t seed, std::mt19937& random,
                     uint32_t* takeOvers) {
  const auto below = [&random](uint32_t limit) { return static_cast<uint32_t>(random()) % limit; };
  size_t holder = 0;
  Conversation conversation(seed, static_cast<uint16_t>(1'024 + seed % 60'000), &benches[0].alone,
                            &benches[0].shared, &benches[0].program);
  if (!conversation.open()) return "the first packet";
  uint32_t generation = 1;
  for (Bench& bench : benches) bench.program.control().generation = generation;
  std::string different;
  for (uint32_t frame = 0; frame < FRAMES_EACH && different.empty(); ++frame) {
    if (below(16) == 0) {
      holder = 1 - holder;
      ++*takeOvers;
      if (!conversation.handOn(&benches[holder].shared, &benches[holder].program)) {
        return "it was not taken over";
      }
      benches[holder].program.control().generation = generation;
    }
    conversation.admit(generation);
    const Change change = changed(benches[holder], conversation, below(24), generation);
    generation = change.generation;
    const bool asks = below(4) != 0;
    const bool forges = below(16) == 0;
    uint32_t went = 0;
    different = conversation.step(asks, forges, &went);
    // A forged MAC is seen before the time, and after whether the connection is admitted.
    const bool isGuarded = forges && (change.passes || change.reason == SLUICE_WIRE_EXPIRED);
    const uint32_t reason = isGuarded ? uint32_t{SLUICE_WIRE_GUARDED} : change.reason;
    const bool isSure = asks && went != SLUICE_WIRE_UNUSUAL && reason != SLUICE_WIRE_PASSED;
    if (different.empty() && isSure && went != reason)
      different = "why it went up: " + std::to_string(went) + ", not " + std::to_string(reason);
    if (conversation.isOver()) break;
  }
  conversation.close();
  return different;
}

}  // namespace

TEST("wire program: whoever takes which packet, the tracker's verdicts and numbers come out") {
  std::array<Bench, 2> benches;
  if (!benches[0].valid || !benches[1].valid) return;
  const char* const given = std::getenv("SLUICE_MODEL_SEED");
  const uint32_t first = given == nullptr ? 1 : static_cast<uint32_t>(std::atoi(given));
  std::mt19937 random(first);
  uint32_t takeOvers = 0;
  for (uint32_t seed = first; seed < first + CONVERSATIONS; ++seed) {
    const std::string different = converse(benches, seed, random, &takeOvers);
    if (different.empty()) continue;
    std::fprintf(stderr, "SLUICE_MODEL_SEED=%u, seed %u: %s\n", first, seed, different.c_str());
    CHECK(different.empty());
    return;
  }
  // It would prove little if nothing passed, or nothing was refused for one of the reasons.
  const auto counted = [&benches](uint32_t end) {
    return benches[0].program.counted(end) + benches[1].program.counted(end);
  };
  CHECK(counted(SLUICE_WIRE_PASSED) > 2'000);
  CHECK(benches[1].program.counted(SLUICE_WIRE_PASSED) > 500);
  CHECK(takeOvers > 200);
  CHECK(Conversation::answersPassed > 50);
  CHECK(Conversation::chunksPassed > 200);
  for (const uint32_t end :
       {SLUICE_WIRE_UNUSUAL, SLUICE_WIRE_UNADMITTED, SLUICE_WIRE_STALE, SLUICE_WIRE_GUARDED,
        SLUICE_WIRE_EXPIRED, SLUICE_WIRE_STATE, SLUICE_WIRE_WINDOW}) {
    CHECK(counted(end) > 20);
  }
  CHECK(counted(SLUICE_WIRE_RACE) == 0);
}

TEST("wire program: the window scale among a SYN-ACK's options is the one that the parser finds") {
  Bench bench;
  if (!bench.valid) return;
  std::mt19937 random(1);
  const auto below = [&random](uint32_t limit) { return static_cast<uint32_t>(random()) % limit; };
  uint32_t passed = 0;
  uint32_t scaled = 0;
  for (uint32_t round = 0; round < 3'000; ++round) {
    const auto port = static_cast<uint16_t>(1'024 + round);
    const uint8_t family = below(2) == 0 ? 4 : 6;
    TcpFields syn = {.flags = TCP_SYN, .sequence = 99, .options = {1, 3, 3, 7}};
    std::vector<uint8_t> first = tcpFrame(family, POD, port, FRIEND, 8'080, syn);
    TcpFields answer = {.flags = TCP_SYN | TCP_ACK, .sequence = 9, .acknowledgement = 100};
    const uint32_t optionBytes = 4 * below(11);
    while (answer.options.size() < optionBytes) {
      const uint32_t kind = below(20) == 0 ? below(256) : below(9);
      const uint32_t length = kind == 3 && below(8) != 0 ? 3
                              : below(12) == 0           ? below(256)
                                                         : 2 + below(9);
      answer.options.push_back(static_cast<uint8_t>(kind));
      if (kind == 1 || (kind == 0 && below(2) == 0)) continue;
      answer.options.push_back(static_cast<uint8_t>(length));
      for (uint32_t byte = 2; byte < length; ++byte) {
        answer.options.push_back(static_cast<uint8_t>(below(20)));
      }
    }
    answer.options.resize(optionBytes);
    std::vector<uint8_t> second = tcpFrame(family, FRIEND, 8'080, POD, port, answer);

    const Parsed opened = parse(first);
    const Parsed answered = parse(second);
    DropReason reason;
    ConnEntry* const entry =
        bench.shared.insert(opened.name, bench.shared.hintOf(opened.name), {}, 1, &reason);
    REQUIRE(entry != nullptr);
    openTcp(*entry, opened.name.sender, opened.view.tcp);
    admitEnds(*entry, opened.name.sender, 1);
    if (bench.program.runAlone(second, true) == SLUICE_WIRE_PASSED) {
      ++passed;
      CHECK(answered.reason == DropReason::None);
      ConnEntry wanted = *entry;
      openTcp(wanted, opened.name.sender, opened.view.tcp);
      CHECK(trackTcp(wanted, answered.name.sender, answered.view.tcp).fate == TcpFate::Accepted);
      CHECK(std::memcmp(entry->windowScale, wanted.windowScale, 2) == 0);
      if (entry->windowScale[0] != 0 || entry->windowScale[1] != 0) ++scaled;
    }
    bench.shared.remove(*entry);
  }
  CHECK(passed > 500);
  CHECK(scaled > 100);
}

TEST("wire program: a frame waits for those of its connection that are still on the way up") {
  Bench bench;
  if (!bench.valid) return;
  Program& program = bench.program;
  SluiceWireWay& way = program.way(false);
  way.sent = way.done = START;
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_UNKNOWN);
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_UNKNOWN);
  CHECK(way.sent == START + 2);
  admitDatagrams(bench, 1);
  admitDatagrams(bench, 2);
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_ORDER);
  CHECK(program.run(datagram(2), false) == SLUICE_WIRE_PASSED);
  way.done = START + 3;
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_PASSED);
  CHECK(program.run(datagram(3), false) == SLUICE_WIRE_UNKNOWN);
  admitDatagrams(bench, 3);
  CHECK(program.run(datagram(4), false) == SLUICE_WIRE_UNKNOWN);
  // Another processor's frame, whose number is lower, may still be missing from what came out.
  way.done = START + 4;
  CHECK(program.run(datagram(3), false) == SLUICE_WIRE_ORDER);
  way.done = way.sent;
  CHECK(program.run(datagram(3), false) == SLUICE_WIRE_PASSED);
  // The other side's way is its own.
  program.way(true).sent = 7;
  CHECK(program.run(datagram(3), false) == SLUICE_WIRE_PASSED);
  // Numbers wrap.
  way.sent = way.done = 0xffffffff;
  CHECK(program.run(datagram(5), false) == SLUICE_WIRE_UNKNOWN);
  admitDatagrams(bench, 5);
  CHECK(program.run(datagram(5), false) == SLUICE_WIRE_ORDER);
}

TEST("wire program: frames of other connections that wait hold nobody up but by chance") {
  Bench bench;
  if (!bench.valid) return;
  Program& program = bench.program;
  constexpr uint16_t OTHERS = 60'000;
  for (uint16_t other = 0; other < 20; ++other) admitDatagrams(bench, OTHERS + other);
  SluiceWireWay& way = program.way(false);
  way.sent = way.done = START;
  for (uint32_t port = 2; way.sent < START + SLUICE_WIRE_UP_MAX; ++port) {
    CHECK(program.run(datagram(static_cast<uint16_t>(port)), false) == SLUICE_WIRE_UNKNOWN);
  }
  const auto countOf = [&way](uint32_t wanted) {
    uint32_t count = 0;
    for (const uint64_t slot : way.ofConnection) count += slot >> 32 == wanted && slot != 0 ? 1 : 0;
    return count;
  };
  // Slots in which several wait are few, and their connections go up, in turn.
  CHECK(countOf(0) > 100 && countOf(0) < SLUICE_WIRE_SLOTS / 8);
  uint32_t passed = 0;
  for (uint16_t other = 0; other < 20; ++other) {
    passed += program.run(datagram(OTHERS + other), false) == SLUICE_WIRE_PASSED ? 1 : 0;
  }
  CHECK(passed > 14);
  way.done = way.sent;
  CHECK(program.run(datagram(2), false) == SLUICE_WIRE_UNKNOWN);
  admitDatagrams(bench, 2);
  CHECK(program.run(datagram(2), false) == SLUICE_WIRE_ORDER);
  for (uint64_t& slot : way.ofConnection) slot &= 0xffffffff;
  CHECK(program.run(datagram(2), false) == SLUICE_WIRE_ORDER);
  way.done = way.sent - SLUICE_WIRE_HELD_MIN;
  CHECK(program.run(datagram(2), false) == SLUICE_WIRE_ORDER);
}

TEST("wire program: a frame waits for fragments between the same two addresses") {
  Bench bench;
  if (!bench.valid) return;
  Program& program = bench.program;
  admitDatagrams(bench, 1);
  const auto fragment = [](uint8_t to) {
    FrameBuilder builder(4, POD, to, PROTOCOL_UDP);
    builder.fragment = 0x2000;
    builder.payload.resize(64);
    return builder.build();
  };
  program.way(false).sent = program.way(false).done = START;
  CHECK(program.run(fragment(FRIEND + 1), false) == SLUICE_WIRE_UNUSUAL);
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_PASSED);
  CHECK(program.run(fragment(FRIEND), false) == SLUICE_WIRE_UNUSUAL);
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_ORDER);
  program.way(false).done = program.way(false).sent;
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_PASSED);
}

TEST("wire program: a long way up ends: what waits there is let go, and nothing overfills it") {
  Bench bench;
  if (!bench.valid) return;
  Program& program = bench.program;
  SluiceWireWay& way = program.way(false);
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_UNKNOWN);
  admitDatagrams(bench, 1);
  for (uint32_t frame = 1; frame < SLUICE_WIRE_HELD_MIN; ++frame) {
    CHECK(program.run(datagram(1), false) == SLUICE_WIRE_ORDER);
  }
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_HELD);
  CHECK(way.sent == SLUICE_WIRE_HELD_MIN);
  for (uint32_t frame = SLUICE_WIRE_HELD_MIN; frame < SLUICE_WIRE_UP_MAX; ++frame) {
    CHECK(program.run(datagram(9), false) == SLUICE_WIRE_UNKNOWN);
  }
  CHECK(program.run(datagram(9), false) == SLUICE_WIRE_FULL);
  CHECK(way.sent == SLUICE_WIRE_UP_MAX);
  way.done = SLUICE_WIRE_HELD_MIN + 1;
  CHECK(program.run(datagram(1), false) == SLUICE_WIRE_PASSED);
  CHECK(program.run(datagram(9), false) == SLUICE_WIRE_UNKNOWN);
}

TEST("wire program: nothing passes once its worker has not been alive for the lease") {
  Bench bench;
  if (!bench.valid) return;
  Program& program = bench.program;
  admitDatagrams(bench, 1);
  CHECK(program.runAlone(datagram(1), false) == SLUICE_WIRE_PASSED);
  program.control().leaseUs = 500'000;
  CHECK(program.runAlone(datagram(1), false) == SLUICE_WIRE_LEASE);
  program.control().aliveUs[1] = nowUs();
  CHECK(program.runAlone(datagram(1), false) == SLUICE_WIRE_LEASE);
  program.control().aliveUs[0] = nowUs();
  CHECK(program.runAlone(datagram(1), false) == SLUICE_WIRE_PASSED);
}

TEST("wire program: a frame is counted on the way to the worker that Steering gives it") {
  constexpr uint32_t WORKERS = 3;
  Bench bench(WORKERS);
  if (!bench.valid) return;
  const Steering steering = {WORKERS, WirePrograms::MULTIPLIER};
  std::array<uint32_t, WORKERS> reached = {};
  for (uint32_t number = 0; number < 200; ++number) {
    const auto to = static_cast<uint8_t>(20 + number);
    std::vector<uint8_t> bytes = number % 2 == 0 ? udpFrame(4, POD, 1, to, 2, 20)
                                                 : tcpFrame(6, to, 1, POD, 2, {.flags = TCP_SYN});
    if (number % 7 == 0) bytes[14] = 0x66;  // neither IPv4 with a header of 20 bytes nor IPv6
    Frame frame;
    frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
    frame.length = static_cast<uint32_t>(bytes.size());
    const uint32_t worker = steering.workerOf(frame, 0);
    const uint32_t sent = bench.program.way(number % 2 != 0, worker).sent;
    (void)bench.program.run(bytes, number % 2 != 0);
    CHECK(bench.program.way(number % 2 != 0, worker).sent == sent + 1);
    ++reached[worker];
  }
  for (const uint32_t frames : reached) CHECK(frames > 20);
}

TEST("wire program: what is written into a TAP leaves by its side, and by none that is unknown") {
  Bench bench;
  if (!bench.valid) return;
  CHECK(bench.program.runDown(datagram(1), true) == REDIRECTED);
  CHECK(bench.program.runDown(datagram(1), false) == SHOT);
}

}  // namespace sluice::testing
