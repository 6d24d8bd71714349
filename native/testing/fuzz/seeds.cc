#include "native/testing/fuzz/seeds.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "native/layout/layout.gen.h"
#include "native/testing/fuzz/packet-script.h"
#include "native/testing/one-pod.h"

namespace sluice::testing {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint8_t SERVER = 12;
constexpr uint8_t STRANGER = 13;
constexpr uint32_t INSIDE = 0;
constexpr uint32_t SECOND_POD = 1;
constexpr uint32_t OUTSIDE = 2;

constexpr uint8_t SYN = TCP_SYN;
constexpr uint8_t SYN_ACK = TCP_SYN | TCP_ACK;
constexpr uint8_t ACK = TCP_ACK;
constexpr uint8_t PSH_ACK = TCP_PSH | TCP_ACK;
constexpr uint8_t FIN_ACK = TCP_FIN | TCP_ACK;

// A script under construction.
class Script {
 public:
  Script& from(uint32_t link, Bytes bytes, Offload offload = {}) {
    PacketRecord record;
    record.link = link;
    record.bytes = std::move(bytes);
    record.mendChecksum = true;
    record.offload = offload;
    record.hasOffload = offload.flags != 0 || offload.gsoType != 0;
    script_.records.push_back(std::move(record));
    return *this;
  }
  Script& seconds(uint16_t count) {
    PacketRecord record;
    record.kind = PacketRecord::Kind::Time;
    record.seconds = true;
    record.pause = count;
    script_.records.push_back(std::move(record));
    return *this;
  }
  Script& swap(uint32_t policy, bool audited = false) {
    PacketRecord record;
    record.kind = PacketRecord::Kind::Swap;
    record.policy = policy;
    record.audited = audited;
    script_.records.push_back(std::move(record));
    return *this;
  }
  Script& maintain() {
    script_.records.emplace_back().kind = PacketRecord::Kind::Maintain;
    return *this;
  }
  Script& loose() { return script_.loose = true, *this; }
  Script& keep() { return script_.established = Established::Keep, *this; }
  Script& cut() { return script_.established = Established::Cut, *this; }
  Script& audited() { return script_.audited = true, *this; }
  Script& inSwitch() { return script_.isSwitch = true, *this; }
  Script& small() { return script_.small = true, *this; }
  Script& policy(uint32_t number) { return script_.policy = number, *this; }

  // The pod opens a connection to the server, port 5432.
  Script& open(uint8_t family, uint16_t port) {
    from(INSIDE, tcpFrame(family, POD, port, SERVER, 5432,
                          {.flags = SYN, .sequence = 1000, .options = {3, 3, 7, 0}}));
    from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, port,
                           {.flags = SYN_ACK,
                            .sequence = 5000,
                            .acknowledgement = 1001,
                            .options = {3, 3, 7, 0}}));
    return from(INSIDE, tcpFrame(family, POD, port, SERVER, 5432,
                                 {.flags = ACK, .sequence = 1001, .acknowledgement = 5001}));
  }
  [[nodiscard]] Bytes bytes() const { return writePacketScript(script_); }

 private:
  PacketScript script_;
};

FrameBuilder icmp(uint8_t family, uint8_t from, uint8_t to, uint8_t type, uint8_t code) {
  FrameBuilder frame(family, from, to, family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  frame.payload = {type, code, 0, 0, 0, 0, 5, 0};
  return frame;
}

Bytes errorAbout(uint8_t family, uint8_t by, uint8_t to, const Bytes& about, size_t quoted) {
  FrameBuilder frame = icmp(family, by, to, family == 4 ? 3 : 2, family == 4 ? 4 : 0);
  const size_t end = std::min(about.size(), 14 + quoted);
  frame.payload.insert(frame.payload.end(), about.begin() + 14,
                       about.begin() + static_cast<ptrdiff_t>(end));
  return frame.build();
}

FrameBuilder neighbour(uint8_t type, uint8_t from, uint8_t to, uint8_t target) {
  FrameBuilder frame(6, from, to, PROTOCOL_ICMPV6);
  frame.hopLimit = 255;
  frame.payload.assign(24, 0);
  frame.payload[0] = type;
  const AddressBytes address = FrameBuilder(6, target, to, 0).source;
  std::copy(address.begin(), address.end(), frame.payload.begin() + 8);
  frame.payload.insert(frame.payload.end(), {static_cast<uint8_t>(type - 134), 1});
  frame.payload.insert(frame.payload.end(), frame.sourceMac.begin(), frame.sourceMac.end());
  return frame;
}

FrameBuilder toGroup(FrameBuilder frame, const AddressBytes& group) {
  frame.destination = group;
  frame.destinationMac = {0x33, 0x33, group[12], group[13], group[14], group[15]};
  return frame;
}

// The group of the target that a neighbour message names.
AddressBytes groupOf(const FrameBuilder& message) {
  const auto& bytes = message.payload;
  return {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, bytes[21], bytes[22], bytes[23]};
}

Bytes arp(uint8_t operation, uint8_t from, uint8_t claimed, uint8_t to) {
  const MacAddress mac = FrameBuilder(4, from, to, 0).sourceMac;
  Bytes frame(6, 0xff);
  frame.insert(frame.end(), mac.begin(), mac.end());
  frame.insert(frame.end(), {8, 6, 0, 1, 8, 0, 6, 4, 0, operation});
  frame.insert(frame.end(), mac.begin(), mac.end());
  frame.insert(frame.end(), {10, 10, 0, claimed, 0, 0, 0, 0, 0, 0, 10, 10, 0, to});
  return frame;
}

// A UDP datagram of 40 bytes from the pod to its friend, in pieces.
Bytes pieceV4(uint16_t offset, bool more, size_t bytes) {
  FrameBuilder frame(4, POD, FRIEND, PROTOCOL_UDP);
  frame.identification = 7;
  frame.fragment = static_cast<uint16_t>(offset / 8 | (more ? 0x2000 : 0));
  frame.payload.assign(bytes, 0);
  if (offset == 0) frame.payload = {0, 9, 0, 53, 0, 40, 0, 0};
  frame.payload.resize(bytes);
  return frame.build();
}

Bytes pieceV6(uint16_t offset, bool more, size_t bytes) {
  FrameBuilder frame(6, POD, FRIEND, 44);
  frame.options = {PROTOCOL_UDP,
                   0,
                   static_cast<uint8_t>(offset >> 8),
                   static_cast<uint8_t>(offset | (more ? 1 : 0)),
                   0,
                   0,
                   0,
                   7};
  if (offset == 0) frame.payload = {0, 9, 0, 53, 0, 40, 0, 0};
  frame.payload.resize(bytes);
  return frame.build();
}

Bytes other(uint8_t family, uint8_t from, uint8_t to, uint8_t protocol, Bytes payload) {
  FrameBuilder frame(family, from, to, protocol);
  frame.payload = std::move(payload);
  return frame.build();
}

const Bytes SCTP_INIT = {0, 9, 0x8e, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20,
                         0, 0, 0,    1,    0, 0, 0, 9, 0, 1, 0, 1, 0, 0, 0, 1};

void addPacketSeeds(std::vector<Seed>& seeds) {
  const auto add = [&seeds](const char* name, const Script& script) {
    seeds.push_back({"packet", name, script.bytes()});
  };
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const std::string suffix = family == 4 ? "-v4" : "-v6";
    const auto both = [&](const char* name, const Script& script) {
      add((name + suffix).c_str(), script);
    };
    const auto data = tcpFrame(
        family, SERVER, 5432, POD, 4000,
        {.flags = PSH_ACK, .sequence = 5001, .acknowledgement = 1001, .payloadBytes = 100});
    both("tcp-open-data-close",
         Script()
             .open(family, 4000)
             .from(OUTSIDE, data)
             .from(INSIDE, tcpFrame(family, POD, 4000, SERVER, 5432,
                                    {.flags = FIN_ACK, .sequence = 1001, .acknowledgement = 5101}))
             .from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, 4000,
                                     {.flags = FIN_ACK, .sequence = 5101, .acknowledgement = 1002}))
             .from(INSIDE, tcpFrame(family, POD, 4000, SERVER, 5432,
                                    {.flags = ACK, .sequence = 1002, .acknowledgement = 5102}))
             .seconds(5)
             .open(family, 4000));
    both("tcp-reset-at-the-exact-sequence",
         Script()
             .open(family, 4000)
             .from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, 4000,
                                     {.flags = TCP_RST, .sequence = 5001})));
    both("tcp-reset-out-of-the-window",
         Script()
             .open(family, 4000)
             .from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, 4000,
                                     {.flags = TCP_RST, .sequence = 99'005'001}))
             .from(OUTSIDE, data));
    both("tcp-refused",
         Script()
             .from(INSIDE,
                   tcpFrame(family, POD, 4000, SERVER, 5432, {.flags = SYN, .sequence = 1000}))
             .from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, 4000,
                                     {.flags = TCP_RST | TCP_ACK, .acknowledgement = 1001})));
    both("tcp-simultaneous-open",
         Script()
             .policy(2)
             .from(INSIDE,
                   tcpFrame(family, POD, 4000, SERVER, 5432, {.flags = SYN, .sequence = 1000}))
             .from(OUTSIDE,
                   tcpFrame(family, SERVER, 5432, POD, 4000, {.flags = SYN, .sequence = 5000}))
             .from(INSIDE, tcpFrame(family, POD, 4000, SERVER, 5432,
                                    {.flags = SYN_ACK, .sequence = 1000, .acknowledgement = 5001}))
             .from(OUTSIDE,
                   tcpFrame(family, SERVER, 5432, POD, 4000,
                            {.flags = SYN_ACK, .sequence = 5000, .acknowledgement = 1001})));
    both(
        "tcp-both-ends-lost-their-state",
        Script()
            .open(family, 4000)
            .from(INSIDE,
                  tcpFrame(family, POD, 4000, SERVER, 5432, {.flags = SYN, .sequence = 77'000}))
            .from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, 4000,
                                    {.flags = SYN_ACK, .sequence = 9, .acknowledgement = 77'001})));
    both("tcp-ended-by-its-opener-before-an-answer",
         Script()
             .from(INSIDE,
                   tcpFrame(family, POD, 4000, SERVER, 5432, {.flags = SYN, .sequence = 1000}))
             .from(INSIDE,
                   tcpFrame(family, POD, 4000, SERVER, 5432, {.flags = TCP_RST, .sequence = 1001}))
             .from(INSIDE,
                   tcpFrame(family, POD, 4000, SERVER, 5432, {.flags = ACK, .sequence = 1001})));
    both("tcp-denied-in", Script().from(OUTSIDE, tcpFrame(family, STRANGER, 4000, POD, 8080,
                                                          {.flags = SYN, .sequence = 1})));
    both("tcp-without-a-start",
         Script().from(INSIDE, tcpFrame(family, POD, 4000, SERVER, 5432,
                                        {.flags = ACK, .sequence = 1, .acknowledgement = 1})));
    both("tcp-loose-start",
         Script()
             .loose()
             .from(INSIDE, tcpFrame(family, POD, 4000, SERVER, 5432,
                                    {.flags = ACK, .sequence = 1, .acknowledgement = 1}))
             .from(OUTSIDE, data));
    both("udp-question-and-answer", Script()
                                        .from(INSIDE, udpFrame(family, POD, 4000, SERVER, 53))
                                        .from(OUTSIDE, udpFrame(family, SERVER, 53, POD, 4000))
                                        .seconds(121)
                                        .maintain()
                                        .from(OUTSIDE, udpFrame(family, SERVER, 53, POD, 4000)));
    both("udp-denied", Script().from(OUTSIDE, udpFrame(family, SERVER, 53, POD, 4000)));
    both("echo-and-reply", Script()
                               .from(INSIDE, echoFrame(family, POD, FRIEND, false, 77))
                               .from(OUTSIDE, echoFrame(family, FRIEND, POD, true, 77))
                               .from(OUTSIDE, echoFrame(family, FRIEND, POD, true, 78)));
    both("echoes-both-ways-with-one-identifier-of-which-one-is-cut",
         Script()
             .policy(2)
             .from(INSIDE, echoFrame(family, POD, FRIEND, false, 77))
             .from(OUTSIDE, echoFrame(family, FRIEND, POD, false, 77))
             .swap(0)
             .from(OUTSIDE, echoFrame(family, FRIEND, POD, false, 77))
             .from(OUTSIDE, echoFrame(family, FRIEND, POD, true, 77))
             .from(INSIDE, echoFrame(family, POD, FRIEND, true, 77)));
    const auto question = udpFrame(family, POD, 4000, SERVER, 53);
    both("error-about-udp",
         Script()
             .from(INSIDE, question)
             .from(OUTSIDE, errorAbout(family, STRANGER, POD, question, 28 + 20)));
    both("error-about-nothing",
         Script().from(OUTSIDE, errorAbout(family, STRANGER, POD, question, 28 + 20)));
    both("error-with-a-quote-cut-short",
         Script()
             .from(INSIDE, question)
             .from(OUTSIDE, errorAbout(family, STRANGER, POD, question, 22)));
    both("error-about-tcp",
         Script()
             .open(family, 4000)
             .from(OUTSIDE, errorAbout(family, STRANGER, POD,
                                       tcpFrame(family, POD, 4000, SERVER, 5432,
                                                {.flags = ACK, .sequence = 1001}),
                                       54)));
    both("sctp-start", Script().policy(3).from(INSIDE, other(family, POD, SERVER, 132, SCTP_INIT)));
    both("another-protocol", Script()
                                 .from(INSIDE, other(family, POD, FRIEND, 47, Bytes(16, 0)))
                                 .from(OUTSIDE, other(family, FRIEND, POD, 47, Bytes(16, 0))));
    both("swap-that-cuts",
         Script().open(family, 4000).swap(1).from(OUTSIDE, data).swap(0).from(OUTSIDE, data));
    both("swap-that-keeps", Script().keep().open(family, 4000).swap(1).from(OUTSIDE, data));
    both("swap-that-cuts-at-once",
         Script().cut().open(family, 4000).swap(1).maintain().swap(0).from(OUTSIDE, data));
    both("audited", Script()
                        .audited()
                        .open(family, 4000)
                        .from(INSIDE, echoFrame(family, POD, FRIEND, false, 77))
                        .from(OUTSIDE, echoFrame(family, STRANGER, POD, false, 77))
                        .swap(0)
                        .from(OUTSIDE, data));
    for (const bool cut : {false, true}) {
      Script audit;
      if (cut) audit.cut();
      both(cut ? "swap-that-audits-and-cuts" : "swap-that-audits",
           audit.open(family, 4000)
               .swap(2, true)
               .from(INSIDE, question)
               .swap(0, true)
               .from(OUTSIDE, tcpFrame(family, SERVER, 5432, POD, 4000,
                                       {.flags = TCP_RST, .sequence = 99'005'001}))
               .from(OUTSIDE, data)
               .from(OUTSIDE, errorAbout(family, STRANGER, POD, question, 28 + 20)));
    }
    Script flood;
    flood.small();
    for (uint16_t port = 1; port <= 6; ++port) {
      flood.from(INSIDE, tcpFrame(family, POD, port, SERVER, 5432, {.flags = SYN}));
    }
    both("more-connections-than-places", flood);
    const auto goesOn = tcpFrame(family, SERVER, 5432, POD, 4000,
                                 {.flags = ACK, .sequence = 5001, .acknowledgement = 1001});
    Script answered;
    answered.small().open(family, 4000);
    for (uint16_t port = 4'001; port <= 4'006; ++port) {
      answered.from(INSIDE, udpFrame(family, POD, port, SERVER, 53));
      answered.from(OUTSIDE, udpFrame(family, SERVER, 53, POD, port));
    }
    both("more-questions-than-places-beside-tcp", answered.from(OUTSIDE, goesOn));
    Script parts;
    parts.policy(2).inSwitch().small().open(family, 4000);
    for (uint16_t port = 4'001; port <= 4'004; ++port) {
      parts.from(SECOND_POD,
                 tcpFrame(family, FRIEND, port, SERVER, 5432, {.flags = SYN, .sequence = 1000}));
      parts.from(OUTSIDE, tcpFrame(family, SERVER, 5432, FRIEND, port,
                                   {.flags = SYN_ACK, .sequence = 5000, .acknowledgement = 1001}));
      parts.from(SECOND_POD, tcpFrame(family, FRIEND, port, SERVER, 5432,
                                      {.flags = ACK, .sequence = 1001, .acknowledgement = 5001}));
    }
    both("switch-of-two-of-which-one-keeps-all-it-can", parts.from(OUTSIDE, goesOn));
    both("superframe-of-tcp", Script()
                                  .open(family, 4000)
                                  .from(INSIDE,
                                        tcpFrame(family, POD, 4000, SERVER, 5432,
                                                 {.flags = PSH_ACK,
                                                  .sequence = 1001,
                                                  .acknowledgement = 5001,
                                                  .payloadBytes = 200}),
                                        {1, static_cast<uint8_t>(family == 4 ? 1 : 4), 54, 64,
                                         static_cast<uint16_t>(family == 4 ? 34 : 54), 16}));
    both("superframe-of-udp",
         Script().from(INSIDE, udpFrame(family, POD, 4000, SERVER, 53, 200),
                       {1, 5, 42, 64, static_cast<uint16_t>(family == 4 ? 34 : 54), 6}));
    both("offload-that-lies", Script().from(INSIDE, udpFrame(family, POD, 4000, SERVER, 53, 200),
                                            {1, 5, 42, 64, 0xfff0, 0xfff0}));
    both("switch-pod-to-pod",
         Script()
             .inSwitch()
             .from(INSIDE, udpFrame(family, POD, 4000, FRIEND, 53))
             .from(SECOND_POD, udpFrame(family, FRIEND, 53, POD, 4000))
             .from(OUTSIDE, udpFrame(family, STRANGER, 53, FRIEND, 4000))
             .from(OUTSIDE, tcpFrame(family, STRANGER, 5, FRIEND, 8080, {.flags = SYN})));
  }
  add("fragments-in-order", Script()
                                .from(INSIDE, pieceV4(0, true, 16))
                                .from(INSIDE, pieceV4(16, true, 16))
                                .from(INSIDE, pieceV4(32, false, 8)));
  add("fragments-that-overlap", Script()
                                    .from(INSIDE, pieceV4(0, true, 24))
                                    .from(INSIDE, pieceV4(16, true, 16))
                                    .from(INSIDE, pieceV4(32, false, 8)));
  add("fragments-of-ipv6", Script()
                               .from(INSIDE, pieceV6(0, true, 16))
                               .from(INSIDE, pieceV6(32, false, 8))
                               .seconds(61)
                               .from(INSIDE, pieceV6(16, true, 16)));
  add("fragment-atomic", Script().from(INSIDE, pieceV6(0, false, 40)));
  add("fragment-with-an-offload-header-leaves-nothing-behind",
      Script()
          .from(INSIDE, pieceV4(0, true, 16))
          .from(INSIDE, pieceV4(16, false, 24), {1, 0, 0, 0, 34, 6})
          .from(INSIDE, pieceV4(0, true, 16)));
  FrameBuilder first = icmp(4, POD, FRIEND, 40, 0);
  first.fragment = 0x2000;
  add("fragments-of-an-untracked-message",
      Script().from(INSIDE, first.build()).from(INSIDE, first.build()));
  add("fragment-orphan", Script().from(INSIDE, pieceV4(16, true, 16)));
  add("arp-request-and-reply",
      Script().from(INSIDE, arp(1, POD, POD, SERVER)).from(OUTSIDE, arp(2, SERVER, SERVER, POD)));
  add("arp-that-claims-another",
      Script().from(INSIDE, arp(2, POD, SERVER, POD)).from(OUTSIDE, arp(2, SERVER, POD, POD)));
  add("arp-in-a-switch", Script().inSwitch().from(INSIDE, arp(1, POD, POD, SERVER)));
  add("neighbour-solicitation-and-advertisement",
      Script()
          .from(INSIDE, neighbour(135, POD, SERVER, SERVER).build())
          .from(OUTSIDE, neighbour(136, SERVER, POD, SERVER).build())
          .from(INSIDE, neighbour(136, POD, SERVER, POD).build()));
  const FrameBuilder asks = neighbour(135, POD, SERVER, SERVER);
  const FrameBuilder asked = neighbour(135, STRANGER, POD, POD);
  add("neighbour-found-and-asked-again",
      Script()
          .from(INSIDE, toGroup(asks, groupOf(asks)).build())
          .from(OUTSIDE, neighbour(136, SERVER, POD, SERVER).build())
          .seconds(100)
          .from(INSIDE, asks.build())
          .from(OUTSIDE, neighbour(136, SERVER, POD, SERVER).build()));
  add("neighbour-that-asks-and-is-answered",
      Script()
          .from(OUTSIDE, toGroup(asked, groupOf(asked)).build())
          .from(INSIDE, neighbour(136, POD, STRANGER, POD).build())
          .from(INSIDE, neighbour(135, POD, STRANGER, STRANGER).build())
          .seconds(6)
          .from(INSIDE, neighbour(136, POD, STRANGER, POD).build()));
  FrameBuilder detects = neighbour(135, POD, POD, POD);
  detects.source = {};
  detects.payload.resize(24);
  detects = toGroup(detects, groupOf(detects));
  FrameBuilder withNonce = detects;
  withNonce.payload.insert(withNonce.payload.end(), {14, 1, 1, 2, 3, 4, 5, 6});
  add("duplicate-address-detection",
      Script().from(INSIDE, detects.build()).from(INSIDE, withNonce.build()));
  add("neighbour-in-a-switch",
      Script().inSwitch().from(INSIDE, neighbour(135, POD, SERVER, SERVER).build()));
  add("neighbour-that-claims-another",
      Script().from(INSIDE, neighbour(136, POD, SERVER, SERVER).build()));
  FrameBuilder advertisement = icmp(6, STRANGER, POD, 134, 0);
  advertisement.hopLimit = 255;
  advertisement.source = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  advertisement.payload.resize(16);
  FrameBuilder complete =
      toGroup(advertisement, {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  for (const auto& [type, words] : std::initializer_list<std::pair<uint8_t, uint8_t>>{
           {1, 1}, {5, 1}, {3, 4}, {24, 2}, {25, 3}, {31, 2}, {38, 2}}) {
    complete.payload.insert(complete.payload.end(), {type, words});
    complete.payload.resize(complete.payload.size() + words * 8u - 2);
  }
  add("router-advertisement",
      Script().from(OUTSIDE, advertisement.build()).from(OUTSIDE, complete.build()));
  FrameBuilder report(6, POD, STRANGER, 0);
  report.source = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x0a};
  report.destination = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16};
  report.destinationMac = {0x33, 0x33, 0, 0, 0, 0x16};
  report.hopLimit = 1;
  report.options = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
  report.payload = {143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0,    0xff, 2,
                    0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0,    0};
  add("listener-report", Script().from(INSIDE, report.build()));
  FrameBuilder options(4, POD, FRIEND, PROTOCOL_UDP);
  options.options = {7, 7, 4, 0, 0, 0, 0, 0, 1, 1, 0, 0};
  options.payload = {0, 9, 0, 53, 0, 8, 0, 0};
  add("ipv4-options", Script().from(INSIDE, options.build()));
  FrameBuilder chain(6, POD, FRIEND, 0);
  chain.options = {60, 0, 1, 4, 0, 0, 0, 0, PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0};
  chain.payload = {0, 9, 0, 53, 0, 8, 0, 0};
  add("ipv6-extension-headers", Script().from(INSIDE, chain.build()));
  FrameBuilder group(4, POD, SERVER, PROTOCOL_UDP);
  group.destination = {224, 0, 0, 251};
  group.destinationMac = {1, 0, 0x5e, 0, 0, 0xfb};
  group.payload = {0x14, 0xe9, 0x14, 0xe9, 0, 8, 0, 0};
  add("multicast", Script().policy(2).from(INSIDE, group.build()));
  Bytes tagged = udpFrame(4, POD, 4000, SERVER, 53);
  tagged.insert(tagged.begin() + 12, {0x81, 0, 0, 5});
  add("vlan-tag", Script().from(INSIDE, std::move(tagged)));
}

// Edits of the table target: where, what, index (two bytes), high, value.
Bytes tableInput(uint8_t options, int16_t growth,
                 std::initializer_list<std::array<uint32_t, 4>> edits) {
  Bytes bytes = {options, static_cast<uint8_t>(growth), static_cast<uint8_t>(growth >> 8)};
  for (const auto& [where, what, index, value] : edits) {
    bytes.insert(bytes.end(), {static_cast<uint8_t>(where), static_cast<uint8_t>(what),
                               static_cast<uint8_t>(index), static_cast<uint8_t>(index >> 8)});
    bytes.insert(bytes.end(), 4, 0);
    for (int shift = 0; shift < 32; shift += 8)
      bytes.push_back(static_cast<uint8_t>(value >> shift));
  }
  return bytes;
}

void addTableSeeds(std::vector<Seed>& seeds) {
  const auto add = [&seeds](const char* name, Bytes bytes) {
    seeds.push_back({"table", name, std::move(bytes)});
  };
  constexpr uint32_t SET = 0;
  constexpr uint32_t HEADER = SECTION_COUNT;
  const auto section = [](SectionId id) { return static_cast<uint32_t>(id); };
  const auto place = [&section](SectionId id) {
    return static_cast<uint32_t>(offsetof(TableHeader, sections) / 4) + 2 * section(id);
  };
  add("whole", tableInput(0, 0, {}));
  add("whole-and-small", tableInput(1, 0, {}));
  add("longer", tableInput(0, 64, {}));
  add("shorter", tableInput(0, -64, {}));
  add("broken-lines", tableInput(0, 3, {}));
  add("wrong-checksum", tableInput(2, 0, {{section(SectionId::cells), 1, 0, 1}}));
  add("another-version", tableInput(0, 0, {{HEADER, SET, 1, 9}}));
  add("leaf-of-another-class", tableInput(0, 0, {{section(SectionId::leaves), SET, 0, 2}}));
  add("leaf-of-no-class", tableInput(0, 0, {{section(SectionId::leaves), SET, 0, 3}}));
  add("leaf-of-no-endpoint", tableInput(0, 0, {{section(SectionId::leaves), SET, 1, 2}}));
  add("audit-row-of-another", tableInput(0, 0, {{section(SectionId::auditRows), SET, 1, 2}}));
  add("audit-row-of-no-row", tableInput(0, 0, {{section(SectionId::auditRows), SET, 1, 3}}));
  add("fewer-audit-rows-than-endpoints",
      tableInput(0, 0, {{HEADER, SET, place(SectionId::auditRows) + 1, 1}}));
  add("no-audit-rows", tableInput(0, 0, {{HEADER, SET, place(SectionId::auditRows) + 1, 0}}));
  add("cells-that-point-elsewhere",
      tableInput(0, 0, {{section(SectionId::cells), SET, 0, 0x10002}}));
  add("port-set-of-another-page", tableInput(0, 0, {{section(SectionId::portSets), SET, 1, 3}}));
  add("port-pages-changed", tableInput(0, 0, {{section(SectionId::portPages), 1, 0, ~0u}}));
  add("fewer-classes-more-rows", tableInput(0, 0, {{HEADER, SET, 5, 1}, {HEADER, SET, 6, 12}}));
  add("ipv4-root-to-a-node",
      tableInput(0, 0, {{section(SectionId::trieV4Root), SET, 0, 0x80000000}}));
  add("ipv4-node-that-leads-up",
      tableInput(0, 0, {{section(SectionId::trieV4Nodes), SET, 700, 0x80000000}}));
  add("ipv4-nodes-all-inner", tableInput(0, 0, {{HEADER, 2, 7, 1}}));
  add("ipv6-root-to-a-node-within",
      tableInput(0, 0, {{section(SectionId::trieV6Root), SET, 0xfd00, 0x80000003}}));
  add("ipv6-node-that-leads-to-itself",
      tableInput(0, 0, {{section(SectionId::trieV6Entries), SET, 0, 0x80000000}}));
  // Eight words a node; the seventh is its bits, byte and first own byte, from the lowest on. Node
  // 0 branches at byte 4, 1 below it at byte 15, 2 and 3 stand for one address each.
  const auto nodeWord = [&section](uint32_t node, uint32_t word, uint8_t what, uint32_t value) {
    return tableInput(0, 0, {{section(SectionId::trieV6Nodes), what, node * 8 + word, value}});
  };
  add("ipv6-node-that-skips-bytes", nodeWord(0, 6, SET, 40 | 5 << 8 | 2 << 16));
  add("ipv6-node-of-another-path", nodeWord(1, 0, 1, 0xff));
  add("ipv6-node-without-a-path", nodeWord(3, 6, SET, 0 | 16 << 8 | 5 << 16));
  add("ipv6-prefix-of-half-a-byte", nodeWord(3, 6, SET, 37 | 16 << 8 | 5 << 16));
  add("ipv6-prefix-with-entries", nodeWord(1, 6, SET, 128 | 16 << 8 | 5 << 16));
  add("ipv6-node-that-claims-more-bytes", nodeWord(1, 6, SET, 120 | 15 << 8 | 3 << 16));
  add("ipv6-node-that-claims-no-bytes", nodeWord(3, 6, SET, 128 | 16 << 8 | 0xff << 16));
  add("ipv6-root-to-a-prefix",
      tableInput(0, 0, {{section(SectionId::trieV6Root), SET, 0x2001, 0x80000003}}));
  add("both-roots-at-one-place",
      tableInput(0, 0, {{HEADER, SET, place(SectionId::trieV6Root), sizeof(TableHeader)}}));
  add("cells-behind-the-end",
      tableInput(0, 0, {{HEADER, SET, place(SectionId::cells), 0x7fffffc0}}));
  add("more-leaves-than-there-are",
      tableInput(0, 0, {{HEADER, 2, place(SectionId::leaves) + 1, 1}}));
  add("cells-in-the-header", tableInput(0, 0, {{HEADER, SET, place(SectionId::cells), 0}}));
  add("text-behind-the-strings",
      tableInput(0, 0, {{section(SectionId::policyInfos), SET, 5, 1'000}}));
  add("rule-of-no-policy", tableInput(0, 0, {{section(SectionId::ruleInfos), SET, 0, 2}}));
  add("rule-of-no-tier", tableInput(0, 0, {{section(SectionId::ruleInfos), SET, 2, 9}}));
  add("origins-that-leave-their-section",
      tableInput(0, 0, {{section(SectionId::originSets), SET, 0, 8}}));
  add("row-with-all-lists-there-could-be",
      tableInput(0, 0, {{section(SectionId::rowInfos), SET, 3, 0xffffffff}}));
  add("row-that-lists-no-rule", tableInput(0, 0, {{section(SectionId::rowLists), SET, 5, 3}}));
  add("rows-that-share-their-lists", tableInput(0, 0, {{section(SectionId::rowInfos), SET, 9, 2}}));
  add("sections-without-elements",
      tableInput(0, 0,
                 {{HEADER, SET, place(SectionId::trieV6Nodes) + 1, 0},
                  {HEADER, SET, place(SectionId::trieV6Entries) + 1, 0}}));
}

// Connections of the connections target, between the pod and the server, as they are saved.
void addConnectionSeeds(std::vector<Seed>& seeds) {
  const auto add = [&seeds](const char* name, uint8_t family, uint8_t settings,
                            const SavedConnection& saved) {
    Bytes bytes(1 + sizeof saved, settings);
    std::memcpy(bytes.data() + 1, &saved, sizeof saved);
    seeds.push_back({"connections", name + std::string(family == 4 ? "-v4" : "-v6"), bytes});
  };
  constexpr uint8_t KEPT = 1;
  constexpr uint8_t NOTHING_ALLOWED = 4;
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const FrameBuilder ends(family, POD, SERVER, PROTOCOL_TCP);
    SavedConnection tcp = {};
    std::copy(ends.source.begin(), ends.source.end(), tcp.source);
    std::copy(ends.destination.begin(), ends.destination.end(), tcp.destination);
    tcp.remainingUs = 60'000'000;
    tcp.totalPackets = 3;
    tcp.totalBytes = 180;
    tcp.generation = 7;
    tcp.sourcePort = 40'000;
    tcp.destinationPort = 5432;
    tcp.protocol = PROTOCOL_TCP;
    tcp.family = family;
    tcp.state = static_cast<uint8_t>(ConnState::Established);
    tcp.flags = SAVED_ACK_SEEN_OPENER | SAVED_ACK_SEEN_OTHER;
    tcp.sentEnd[0] = tcp.ackMax[1] = 1'001;
    tcp.sentEnd[1] = tcp.ackMax[0] = 5'001;
    tcp.limit[0] = 60'000;
    tcp.limit[1] = 64'000;
    tcp.windowMax[0] = tcp.windowMax[1] = 59'000;
    add("tcp-allowed", family, 0, tcp);
    add("tcp-kept-though-denied-now", family, KEPT | NOTHING_ALLOWED, tcp);
    add("tcp-cut", family, NOTHING_ALLOWED, tcp);
    SavedConnection unjudged = tcp;
    unjudged.generation = 8;
    add("tcp-of-a-table-to-come", family, NOTHING_ALLOWED, unjudged);
    SavedConnection begun = tcp;
    begun.state = static_cast<uint8_t>(ConnState::SynSent);
    begun.flags = SAVED_UNREPLIED;
    begun.windowScale[0] = 7;
    begun.windowScale[1] = 255;
    begun.windowMax[1] = 0;
    add("tcp-begun", family, 0, begun);
    SavedConnection loose = tcp;
    loose.flags = SAVED_NO_WINDOW;
    add("tcp-without-windows", family, 0, loose);
    SavedConnection udp = tcp;
    udp.protocol = PROTOCOL_UDP;
    udp.destinationPort = 53;
    udp.state = static_cast<uint8_t>(ConnState::Replied);
    udp.flags = 0;
    add("udp-answered", family, 0, udp);
    SavedConnection echo = udp;
    echo.protocol = family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
    echo.icmpKind = family == 4 ? 8 : 1;
    echo.destinationPort = echo.sourcePort;
    echo.state = static_cast<uint8_t>(ConnState::Unreplied);
    echo.flags = SAVED_UNREPLIED;
    add("echo-unanswered", family, 8, echo);
  }
}

}  // namespace

std::vector<Seed> allSeeds() {
  std::vector<Seed> seeds;
  addPacketSeeds(seeds);
  addTableSeeds(seeds);
  addConnectionSeeds(seeds);
  return seeds;
}

}  // namespace sluice::testing
