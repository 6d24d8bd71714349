#include "native/testing/one-pod.h"

#include <algorithm>

#include "native/testing/test.h"

namespace sluice::testing {
namespace {

constexpr uint8_t POD = 10;
constexpr uint8_t FRIEND = 11;
constexpr uint8_t SERVER = 12;

Blob blobOf(OnePod::Policy policy) {
  enum Class : uint32_t { OTHERS, FRIENDS, SERVERS, WEB, CLASSES };
  BlobBuilder builder;
  const uint32_t nothing = builder.addPortSet({});
  const uint32_t everything = builder.addPortSet({{ProtocolSlot::Tcp, 0, 65'535},
                                                  {ProtocolSlot::Udp, 0, 65'535},
                                                  {ProtocolSlot::Sctp, 0, 65'535},
                                                  {ProtocolSlot::Other, 0, 0}});
  const uint32_t http = builder.addPortSet({{ProtocolSlot::Tcp, 8080, 8080}});
  const uint32_t service =
      builder.addPortSet({{ProtocolSlot::Udp, 53, 53}, {ProtocolSlot::Tcp, 5432, 5432}});
  const uint32_t https = builder.addPortSet({{ProtocolSlot::Tcp, 443, 443}});
  std::vector<uint32_t> ingress = {nothing, http, nothing, nothing};
  std::vector<uint32_t> egress = {nothing, everything, service, https};
  if (policy == OnePod::Policy::DenyAll) {
    std::fill(ingress.begin(), ingress.end(), nothing);
    std::fill(egress.begin(), egress.end(), nothing);
  }
  std::vector<uint32_t> cells = ingress;
  cells.insert(cells.end(), egress.begin(), egress.end());
  cells.insert(cells.end(), CLASSES, everything);
  builder.setCells(3, CLASSES, cells);
  if (policy == OnePod::Policy::AllowAll || policy == OnePod::Policy::Audited) {
    builder.addEndpoint({.ingressRow = 2, .egressRow = 2});
  } else {
    builder.addEndpoint({.ingressRow = 0, .egressRow = 1});
  }
  if (policy == OnePod::Policy::Audited) builder.addAuditRow({.ingressRow = 0, .egressRow = 1});

  builder.setDefaultLeaf(builder.addLeaf({OTHERS, NONE, OTHERS}));
  const uint32_t pod = builder.addLeaf({OTHERS, 0, OTHERS});
  const uint32_t friends = builder.addLeaf({FRIENDS, NONE, FRIENDS});
  const uint32_t servers = builder.addLeaf({SERVERS, NONE, SERVERS});
  const uint32_t web = builder.addLeaf({WEB, NONE, WEB});
  const std::pair<uint8_t, uint32_t> ends[] = {{POD, pod}, {FRIEND, friends}, {SERVER, servers}};
  for (const auto& [last, leaf] : ends) {
    builder.mapV4({10, 10, 0, last}, leaf);
    const auto last6 = static_cast<uint8_t>((last / 10) << 4 | last % 10);
    builder.mapV6({0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last6}, leaf);
  }
  for (uint8_t last = 0; last < 128; ++last) builder.mapV4({203, 0, 113, last}, web);
  return builder.build();
}

AddressBytes addressOf(uint8_t family, uint8_t last) {
  if (family == 4) return {10, 10, 0, last};
  const auto last6 = static_cast<uint8_t>((last / 10) << 4 | last % 10);
  return {0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last6};
}

uint8_t icmpOf(uint8_t family) { return family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6; }

}  // namespace

Blob onePodBlob() { return blobOf(OnePod::Policy::Usual); }

OnePod::OnePod(const FilterOptions& options) {
  if (!Filter::create(options, &filter).ok()) std::abort();
  inside.linkId = 0;
  inside.endpointId = 0;
  inside.role = LinkRole::Endpoint;
  inside.wire = true;
  inside.hasMac = true;
  inside.mac = POD_MAC;
  outside = inside;
  outside.linkId = 1;
  outside.role = LinkRole::Uplink;
  publish();
}

void OnePod::publish(Policy policy) {
  static const std::array<Blob, 4> BLOBS = {blobOf(Policy::Usual), blobOf(Policy::DenyAll),
                                            blobOf(Policy::AllowAll), blobOf(Policy::Audited)};
  const Blob& blob = BLOBS[static_cast<size_t>(policy)];
  const std::array<uint32_t, 1> links = {0};
  uint32_t generation = 0;
  if (!slot.publish(blob.bytes(), links, &generation).ok()) std::abort();
  table = slot.read(0);
}

Judgement OnePod::judge(std::vector<uint8_t>& bytes, const LinkContext& from, uint64_t nowUs,
                        Offload offload) {
  Frame frame;
  frame.bytes = reinterpret_cast<std::byte*>(bytes.data());
  frame.length = static_cast<uint32_t>(bytes.size());
  frame.offload = offload;
  return filter->judge(frame, from, *table, nowUs);
}

Judgement OnePod::fromPod(std::vector<uint8_t> bytes, uint64_t nowUs, Offload offload) {
  return judge(bytes, inside, nowUs, offload);
}

Judgement OnePod::fromNet(std::vector<uint8_t> bytes, uint64_t nowUs, Offload offload) {
  return judge(bytes, outside, nowUs, offload);
}

void append16(std::vector<uint8_t>& bytes, uint32_t value) {
  bytes.push_back(static_cast<uint8_t>(value >> 8));
  bytes.push_back(static_cast<uint8_t>(value));
}

void append32(std::vector<uint8_t>& bytes, uint32_t value) {
  append16(bytes, value >> 16);
  append16(bytes, value);
}

FrameBuilder::FrameBuilder(uint8_t family_, uint8_t sourceLast, uint8_t destinationLast,
                           uint8_t protocol_)
    : family(family_),
      protocol(protocol_),
      destinationMac(destinationLast == POD ? OnePod::POD_MAC : OnePod::PEER_MAC),
      sourceMac(sourceLast == POD ? OnePod::POD_MAC : OnePod::PEER_MAC),
      source(addressOf(family_, sourceLast)),
      destination(addressOf(family_, destinationLast)) {}

std::vector<uint8_t> FrameBuilder::build() const {
  std::vector<uint8_t> bytes(destinationMac.begin(), destinationMac.end());
  bytes.insert(bytes.end(), sourceMac.begin(), sourceMac.end());
  append16(bytes, family == 4 ? 0x0800 : 0x86dd);
  const size_t l3 = bytes.size();
  if (family == 4) {
    const size_t headerBytes = 20 + options.size();
    bytes.push_back(static_cast<uint8_t>(0x40 | headerBytes / 4));
    bytes.push_back(0);
    append16(bytes, static_cast<uint32_t>(headerBytes + payload.size()));
    append16(bytes, identification);
    append16(bytes, fragment);
    bytes.push_back(hopLimit);
    bytes.push_back(protocol);
    append16(bytes, 0);
    bytes.insert(bytes.end(), source.begin(), source.begin() + 4);
    bytes.insert(bytes.end(), destination.begin(), destination.begin() + 4);
    bytes.insert(bytes.end(), options.begin(), options.end());
    uint32_t sum = 0;
    for (size_t at = l3; at < bytes.size(); at += 2) sum += load16(&bytes[at]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    bytes[l3 + 10] = static_cast<uint8_t>(sum >> 8);
    bytes[l3 + 11] = static_cast<uint8_t>(sum);
  } else {
    append32(bytes, 0x60000000u | flowLabel);
    append16(bytes, static_cast<uint32_t>(options.size() + payload.size()));
    bytes.push_back(protocol);
    bytes.push_back(hopLimit);
    bytes.insert(bytes.end(), source.begin(), source.end());
    bytes.insert(bytes.end(), destination.begin(), destination.end());
    bytes.insert(bytes.end(), options.begin(), options.end());
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

std::vector<uint8_t> tcpFrame(uint8_t family, uint8_t from, uint16_t fromPort, uint8_t to,
                              uint16_t toPort, const TcpFields& fields) {
  FrameBuilder frame(family, from, to, PROTOCOL_TCP);
  append16(frame.payload, fromPort);
  append16(frame.payload, toPort);
  append32(frame.payload, fields.sequence);
  append32(frame.payload, fields.acknowledgement);
  frame.payload.push_back(static_cast<uint8_t>((20 + fields.options.size()) / 4 << 4));
  frame.payload.push_back(fields.flags);
  append16(frame.payload, fields.window);
  append32(frame.payload, 0);
  frame.payload.insert(frame.payload.end(), fields.options.begin(), fields.options.end());
  frame.payload.resize(frame.payload.size() + fields.payloadBytes);
  return frame.build();
}

std::vector<uint8_t> udpFrame(uint8_t family, uint8_t from, uint16_t fromPort, uint8_t to,
                              uint16_t toPort, size_t payloadBytes) {
  FrameBuilder frame(family, from, to, PROTOCOL_UDP);
  append16(frame.payload, fromPort);
  append16(frame.payload, toPort);
  append16(frame.payload, static_cast<uint32_t>(8 + payloadBytes));
  append16(frame.payload, 0);
  frame.payload.resize(frame.payload.size() + payloadBytes);
  return frame.build();
}

std::vector<uint8_t> echoFrame(uint8_t family, uint8_t from, uint8_t to, bool reply,
                               uint16_t identifier) {
  FrameBuilder frame(family, from, to, icmpOf(family));
  const int type = family == 4 ? (reply ? 0 : 8) : (reply ? 129 : 128);
  append16(frame.payload, static_cast<uint32_t>(type << 8));
  append16(frame.payload, 0);
  append16(frame.payload, identifier);
  append16(frame.payload, 1);
  return frame.build();
}

}  // namespace sluice::testing
