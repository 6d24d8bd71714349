#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "native/bench/bench.h"
#include "native/bench/flows.h"
#include "native/bench/frame-slot.h"
#include "native/bench/read-file.h"
#include "native/worker/filter.h"

namespace sluice::bench {
namespace {

constexpr size_t BATCH = BATCH_FRAMES_MAX;
constexpr uint32_t TICK_US = 1'000;
constexpr uint32_t TICKS_A_SECOND = 1'000;
// One pass over all places of the table for timed-out connections takes as long as a worker's.
constexpr uint32_t SWEEP_TICKS = 8'000;

// The pods are 100.64.0.1 and so on; the first three have floods, the others none.
constexpr uint32_t SHORT_POD = 0;
constexpr uint32_t STRANGERS_POD = 1;
constexpr uint32_t ALLYS_POD = 2;
constexpr uint32_t OTHERS_FIRST = 3;
constexpr uint32_t OTHERS = 50;
constexpr uint32_t PODS = OTHERS_FIRST + OTHERS;
constexpr uint32_t ESTABLISHED_EACH = 20;
// A pod's part must hold its established connections and its handshakes.
constexpr uint32_t CONNECTIONS_MIN = PODS * 128;
constexpr uint32_t SECONDS_MAX = 3'600;
constexpr size_t MEMORY_SAMPLES = 6;

using V4 = std::array<uint8_t, 4>;
constexpr V4 STRANGER = {198, 51, 100, 7};
constexpr V4 ALLY = {192, 0, 2, 9};

// What a connection loses when one of its packets is dropped.
enum Loss : uint8_t {
  REFUSED,   // everything: it does not begin
  CUT,       // its data
  UNCLOSED,  // its orderly end
  LOSSES,
};

// One packet of a connection.
struct Step {
  uint32_t after = 0;  // half round trips after the first
  bool byOpener = false;
  uint8_t flags = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint32_t payload = 0;
  Loss loss = CUT;
};

constexpr uint32_t DATA = 10;
constexpr std::array<Step, 8> WHOLE = {{
    {0, true, TCP_SYN, 1'000, 0, 0, REFUSED},
    {1, false, TCP_SYN | TCP_ACK, 5'000, 1'001, 0},
    {2, true, TCP_ACK, 1'001, 5'001, 0},
    {2, true, TCP_PSH | TCP_ACK, 1'001, 5'001, DATA},
    {3, false, TCP_PSH | TCP_ACK, 5'001, 1'001 + DATA, DATA},
    {4, true, TCP_FIN | TCP_ACK, 1'001 + DATA, 5'001 + DATA, 0},
    {5, false, TCP_FIN | TCP_ACK, 5'001 + DATA, 1'002 + DATA, 0, UNCLOSED},
    {6, true, TCP_ACK, 1'002 + DATA, 5'002 + DATA, 0, UNCLOSED},
}};
constexpr std::span<const Step> HANDSHAKE = std::span(WHOLE).first(3);
constexpr std::array<Step, 2> QUESTION = {{{.byOpener = true, .loss = REFUSED}, {.after = 1}}};

// A connection as its opener sends it.
struct Flow {
  uint32_t pod = 0;
  bool podOpens = false;
  FlowKey key = {};
};

V4 podAddress(uint32_t pod) { return {100, 64, 0, static_cast<uint8_t>(pod + 1)}; }

Flow flowTo(uint32_t pod, uint8_t protocol, const V4& from, uint32_t port, uint16_t to) {
  Flow flow;
  flow.pod = pod;
  flow.key.family = 4;
  flow.key.protocol = protocol;
  std::ranges::copy(from, flow.key.source.begin());
  std::ranges::copy(podAddress(pod), flow.key.destination.begin());
  flow.key.sourcePort = static_cast<uint16_t>(port);
  flow.key.destinationPort = to;
  return flow;
}

// A flow from a client in a network of its own; for every second pod, from the pod to a server.
Flow ordinary(uint32_t pod, uint8_t network, uint32_t number) {
  const V4 peer = {network, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number), 5};
  Flow flow = flowTo(pod, PROTOCOL_TCP, peer, 40'000 + (number >> 16), 443);
  flow.podOpens = pod % 2 == 1;
  if (!flow.podOpens) return flow;
  std::swap(flow.key.source, flow.key.destination);
  return flow;
}

Flow shortFlow(uint32_t number) {
  // A few clients, which reuse their ports.
  const V4 client = {10, 1, 0, static_cast<uint8_t>(number % 8 + 1)};
  return flowTo(SHORT_POD, PROTOCOL_TCP, client, 32'768 + number / 8 % 28'000, 443);
}
Flow echoFlow(uint32_t number) {
  return flowTo(STRANGERS_POD, PROTOCOL_ICMP, STRANGER, number & 0xffff, 0);
}
Flow dnsFlow(uint32_t number) {
  return flowTo(STRANGERS_POD, PROTOCOL_UDP, STRANGER, 500 + number % 65'000, 53);
}
Flow allyFlow(uint32_t number) {
  Flow flow;
  flow.pod = ALLYS_POD;
  flow.podOpens = true;
  flow.key.family = 4;
  flow.key.protocol = PROTOCOL_TCP;
  std::ranges::copy(podAddress(ALLYS_POD), flow.key.source.begin());
  std::ranges::copy(ALLY, flow.key.destination.begin());
  flow.key.sourcePort = static_cast<uint16_t>(1'024 + number % 60'000);
  flow.key.destinationPort = static_cast<uint16_t>(1 + number / 60'000);
  return flow;
}
Flow othersFlow(uint32_t number) {
  return ordinary(OTHERS_FIRST + number % OTHERS, 20, number / OTHERS);
}
Flow besideShort(uint32_t number) { return ordinary(SHORT_POD, 21, number); }
Flow besideStranger(uint32_t number) { return ordinary(STRANGERS_POD, 22, number); }
Flow establishedFlow(uint32_t number) { return ordinary(number % PODS, 30, number / PODS); }

// Connections that are opened at one rate, each with the same packets.
struct Group {
  const char* name = "";
  uint32_t perSecond = 0;
  uint32_t halfTripTicks = 1;
  std::span<const Step> steps;
  Flow (*flowOf)(uint32_t number) = nullptr;

  uint64_t tried = 0;
  std::array<uint64_t, LOSSES> losses = {};
  std::vector<uint8_t> lost = {};  // of those under way, by number; a power of two of them

  [[nodiscard]] uint32_t lifeTicks() const { return steps.back().after * halfTripTicks; }
  // How many have been opened before a tick.
  [[nodiscard]] uint32_t before(uint64_t tick) const {
    return static_cast<uint32_t>(tick * perSecond / TICKS_A_SECOND);
  }
  [[nodiscard]] uint8_t& lostAt(uint32_t number) { return lost[number & (lost.size() - 1)]; }
  void lose(uint32_t number, Loss loss) {
    uint8_t& isLost = lostAt(number);
    if (isLost == 0) ++losses[loss];
    isLost = 1;
  }
  [[nodiscard]] bool lostNone() const { return losses == std::array<uint64_t, LOSSES>{}; }
};

class MixedFloodBench : public Bench {
 public:
  MixedFloodBench(uint32_t seconds, uint32_t connections)
      : openTicks_(uint64_t{seconds} * TICKS_A_SECOND), connections_(connections) {}

  // Returns the reason when the blob cannot be used; otherwise nullptr.
  const char* open(std::span<const std::byte> blob) {
    std::vector<uint32_t> links;
    for (uint32_t pod = 0; pod < PODS; ++pod) links.push_back(2 * pod);
    uint32_t generation = 0;
    if (!tables_.publish(blob, links, &generation).ok()) return "not a table of this build";
    table_ = tables_.read(0);
    if (table_->view.endpointCount() != PODS) return "not the table of these pods";
    if (!begin()) return "no memory for so many connections, or not what these pods allow";
    return nullptr;
  }

  Measured run() noexcept override {
    Measured measured;
    if (!begin()) std::abort();  // it succeeded before
    resident_ = {residentBytes()};
    uint64_t life = 0;
    for (const Group& group : groups_) life = std::max<uint64_t>(life, group.lifeTicks());
    const uint64_t ticks = openTicks_ + life + 1;
    for (uint64_t tick = 0; tick < ticks; ++tick) {
      nowUs_ += TICK_US;
      for (Group& group : groups_) step(group, tick);
      exchange(tick);
      flush();
      sweep();
      if ((tick + 1) * MEMORY_SAMPLES / openTicks_ >= resident_.size() &&
          resident_.size() <= MEMORY_SAMPLES) {
        resident_.push_back(residentBytes());
      }
    }
    measured.nsPerItem = static_cast<double>(tookNs_) / static_cast<double>(frames_);
    for (const Group& group : groups_) {
      measured.answers += group.tried - group.losses[REFUSED] - group.losses[CUT];
    }
    return measured;
  }

  [[nodiscard]] size_t memoryBytes() const noexcept override { return 0; }
  [[nodiscard]] std::string detail() const override;

 private:
  struct Sent {
    Group* group = nullptr;
    uint32_t number = 0;
    Loss loss = CUT;
  };
  struct Wire {
    LinkContext inside;
    LinkContext outside;
  };

  bool begin();
  void step(Group& group, uint64_t tick) noexcept;
  void exchange(uint64_t tick) noexcept;
  void send(Group& group, uint32_t number, const Flow& flow, const Step& step) noexcept;
  void flush() noexcept;
  void sweep() noexcept;

  uint64_t openTicks_;
  uint32_t connections_;
  uint64_t nowUs_ = 0;
  uint64_t frames_ = 0;
  uint64_t tookNs_ = 0;
  std::vector<uint64_t> resident_;  // at the beginning, and after each of equal parts of the time
  TableSlot tables_{1};
  const TableInForce* table_ = nullptr;
  std::unique_ptr<Filter> filter_;
  std::array<Wire, PODS> wires_;
  std::vector<Group> groups_;
  Group established_;
  // The frames that wait for their batch, all from one link.
  const LinkContext* from_ = nullptr;
  size_t waiting_ = 0;
  std::array<FrameSlot, BATCH> slots_;
  std::array<Frame, BATCH> waitingFrames_;
  std::array<Sent, BATCH> sent_;
  std::array<Judgement, BATCH> judgements_;
};

// Makes all state again, and opens the established connections.
bool MixedFloodBench::begin() {
  filter_.reset();
  FilterOptions options;
  options.connectionsMax = connections_;
  options.hashSecret = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  if (!Filter::create(options, &filter_).ok()) return false;
  for (uint32_t pod = 0; pod < PODS; ++pod) {
    LinkContext& inside = wires_[pod].inside;
    inside.linkId = 2 * pod;
    const uint32_t leaf = table_->view.leafOf(podAddress(pod).data(), 4);
    inside.endpointId = table_->view.leaf(leaf).endpointId;
    inside.wire = true;
    inside.zone = static_cast<uint8_t>(pod);
    inside.owner = filter_->attachOwner(inside.linkId);
    wires_[pod].outside = inside;
    wires_[pod].outside.linkId = 2 * pod + 1;
    wires_[pod].outside.role = LinkRole::Uplink;
  }
  groups_ = {
      {"short", 10'000, 1, WHOLE, shortFlow},
      {"echo", 4'000, 1, QUESTION, echoFlow},
      {"dns", 65'000, 1, QUESTION, dnsFlow},
      {"ally", 20'000, 1, HANDSHAKE, allyFlow},
      {"besideShort", 20, 10, WHOLE, besideShort},
      {"besideStranger", 20, 10, WHOLE, besideStranger},
      {"others", 20 * OTHERS, 10, WHOLE, othersFlow},
  };
  for (Group& group : groups_) {
    size_t underWay = 1;
    while (underWay < group.before(group.lifeTicks() + 2)) underWay *= 2;
    group.lost.assign(2 * underWay, 0);
  }
  established_ = {"established", 0, 0, HANDSHAKE, establishedFlow};
  established_.tried = PODS * ESTABLISHED_EACH;
  established_.lost.assign(2'048, 0);
  static_assert(PODS * ESTABLISHED_EACH <= 2'048);
  nowUs_ = TICK_US;
  for (const Step& each : HANDSHAKE) {
    for (uint32_t number = 0; number < PODS * ESTABLISHED_EACH; ++number) {
      send(established_, number, establishedFlow(number), each);
    }
    flush();
  }
  frames_ = tookNs_ = 0;
  return established_.lostNone();
}

void MixedFloodBench::step(Group& group, uint64_t tick) noexcept {
  for (const Step& each : group.steps) {
    const uint64_t after = uint64_t{each.after} * group.halfTripTicks;
    if (tick < after || tick - after >= openTicks_) continue;
    const uint32_t end = group.before(tick - after + 1);
    for (uint32_t number = group.before(tick - after); number < end; ++number) {
      if (&each == group.steps.data()) {
        ++group.tried;
        group.lostAt(number) = 0;
      } else if (group.lostAt(number) != 0) {
        continue;  // there are no retransmissions
      }
      send(group, number, group.flowOf(number), each);
    }
  }
}

// Each established connection sends one packet a second and gets an answer.
void MixedFloodBench::exchange(uint64_t tick) noexcept {
  const auto round = static_cast<uint32_t>(tick / TICKS_A_SECOND);
  const uint32_t count = PODS * ESTABLISHED_EACH;
  for (uint32_t number = tick % TICKS_A_SECOND; number < count; number += TICKS_A_SECOND) {
    const uint32_t sequence = 1'001 + round * DATA;
    const uint32_t answered = 5'001 + round * DATA;
    const Flow flow = establishedFlow(number);
    send(established_, number, flow, {0, true, TCP_PSH | TCP_ACK, sequence, answered, DATA});
    send(established_, number, flow,
         {0, false, TCP_PSH | TCP_ACK, answered, sequence + DATA, DATA});
  }
}

void MixedFloodBench::send(Group& group, uint32_t number, const Flow& flow,
                           const Step& step) noexcept {
  const Wire& wire = wires_[flow.pod];
  const LinkContext& from = step.byOpener == flow.podOpens ? wire.inside : wire.outside;
  if (&from != from_ || waiting_ == BATCH) flush();
  from_ = &from;
  const FlowKey key = step.byOpener ? flow.key : reversed(flow.key);
  FrameSlot& slot = slots_[waiting_];
  uint32_t length = sizeof slot.bytes;
  if (key.protocol == PROTOCOL_TCP) {
    // A reused port starts at a higher sequence number.
    slot.write(key, step.flags, number * 64 + step.sequence,
               step.acknowledgement + ((step.flags & TCP_ACK) != 0 ? number * 64 : 0),
               step.payload);
    length = FrameSlot::LENGTH + step.payload;
  } else if (key.protocol == PROTOCOL_UDP) {
    slot.writeUdp(key);
  } else {
    slot.writeEcho(key, !step.byOpener, flow.key.sourcePort);
  }
  waitingFrames_[waiting_] = slot.frame(length);
  sent_[waiting_++] = {&group, number, step.loss};
}

void MixedFloodBench::flush() noexcept {
  if (waiting_ == 0) return;
  const uint64_t before = nowNs();
  filter_->judgeBatch({waitingFrames_.data(), waiting_}, *from_, *table_, nowUs_,
                      judgements_.data());
  filter_->forgetClosed();
  tookNs_ += nowNs() - before;
  for (size_t at = 0; at < waiting_; ++at) {
    if (!judgements_[at].passes()) sent_[at].group->lose(sent_[at].number, sent_[at].loss);
  }
  frames_ += waiting_;
  waiting_ = 0;
}

void MixedFloodBench::sweep() noexcept {
  const uint64_t before = nowNs();
  filter_->expire(nowUs_, filter_->placesUsed() / SWEEP_TICKS + 1);
  filter_->forgetClosed();
  tookNs_ += nowNs() - before;
}

[[gnu::format(printf, 2, 3)]] void append(std::string& text, const char* format, ...) {
  std::array<char, 256> piece;
  va_list values;
  va_start(values, format);
  std::vsnprintf(piece.data(), piece.size(), format, values);
  va_end(values);
  text += piece.data();
}

std::string MixedFloodBench::detail() const {
  std::string text;
  const auto wide = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  append(text, "{\"seconds\":%llu,\"pods\":%u,\"frames\":%llu,\"connectionsMax\":%u,\"quota\":%u,",
         wide(openTicks_ / TICKS_A_SECOND), PODS, wide(frames_), connections_, filter_->quota());
  append(text, "\"inUse\":%u,\"evicted\":{", filter_->connectionCount());
  for (size_t each = 0; each < CONN_CLASS_COUNT; ++each) {
    append(text, "%s\"%s\":%llu", each == 0 ? "" : ",", connClassWords[each].data(),
           wide(filter_->evicted(static_cast<ConnClass>(each))));
  }
  text += "},\"residentBytes\":[";
  for (const uint64_t& bytes : resident_) {
    append(text, "%s%llu", &bytes == &resident_.front() ? "" : ",", wide(bytes));
  }
  text += "],\"groups\":[";
  std::vector<const Group*> all;
  for (const Group& group : groups_) all.push_back(&group);
  all.push_back(&established_);
  for (const Group* group : all) {
    append(text,
           "%s{\"name\":\"%s\",\"tried\":%llu,\"refused\":%llu,\"cut\":%llu,\"unclosed\":%llu}",
           group == all.front() ? "" : ",", group->name, wide(group->tried),
           wide(group->losses[REFUSED]), wide(group->losses[CUT]), wide(group->losses[UNCLOSED]));
  }
  return text + "]}";
}

}  // namespace

std::unique_ptr<Bench> makeMixedFloodBench(std::span<const char* const> words) {
  const long seconds = words.size() == 3 ? std::strtol(words[1], nullptr, 10) : 0;
  const long connections = words.size() == 3 ? std::strtol(words[2], nullptr, 10) : 0;
  if (seconds < 1 || seconds > SECONDS_MAX || connections < CONNECTIONS_MIN ||
      connections > CONNECTIONS_MAX) {
    std::fprintf(stderr, "want TABLE SECONDS CONNECTIONS, of these %u to %u\n", CONNECTIONS_MIN,
                 CONNECTIONS_MAX);
    return nullptr;
  }
  std::vector<std::byte> blob;
  if (!readFile(words[0], &blob)) return nullptr;
  auto bench = std::make_unique<MixedFloodBench>(static_cast<uint32_t>(seconds),
                                                 static_cast<uint32_t>(connections));
  if (const char* const reason = bench->open(blob); reason != nullptr) {
    std::fprintf(stderr, "%s: %s\n", words[0], reason);
    return nullptr;
  }
  return bench;
}

}  // namespace sluice::bench
