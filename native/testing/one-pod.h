#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "native/packet/packet-view.h"
#include "native/table/table-slot.h"
#include "native/testing/blob-builder.h"
#include "native/worker/filter.h"

namespace sluice::testing {

// The setting of most filter tests: one pod behind a wire, three peers, and a policy for each.
//
//   pod       10.10.0.10  fd00:10::10  02:00:00:00:00:0a
//   friend    10.10.0.11  fd00:10::11  reaches the pod on TCP 8080; the pod reaches it on anything
//   server    10.10.0.12  fd00:10::12  the pod reaches it on UDP 53 and TCP 5432
//   stranger  10.10.0.13  fd00:10::13  nothing either way
//   web       203.0.113.0 to .127      the pod reaches it on TCP 443
struct OnePod {
  static constexpr MacAddress POD_MAC = {2, 0, 0, 0, 0, 0x0a};
  static constexpr MacAddress PEER_MAC = {2, 0, 0, 0, 0, 0x0b};

  explicit OnePod(const FilterOptions& options = {});

  enum class Policy { Usual, DenyAll, AllowAll, Audited };
  // Publishes the usual policy, or one that enforces nothing and audits the usual one. The
  // generation grows.
  void publish(Policy policy = Policy::Usual);

  Judgement fromPod(std::vector<uint8_t> bytes, uint64_t nowUs, Offload offload = {});
  Judgement fromNet(std::vector<uint8_t> bytes, uint64_t nowUs, Offload offload = {});

  TableSlot slot{1};
  const TableInForce* table = nullptr;
  std::unique_ptr<Filter> filter;
  LinkContext inside;
  LinkContext outside;

 private:
  Judgement judge(std::vector<uint8_t>& bytes, const LinkContext& from, uint64_t nowUs,
                  Offload offload);
};

// The usual policy as a table.
Blob onePodBlob();

// A frame under construction: Ethernet, then IPv4 or IPv6, then a payload. Lengths and the IPv4
// checksum are filled in by build(), unless set before.
struct FrameBuilder {
  // `last` is the last byte of an address of OnePod: 10 the pod, 11 the friend…
  FrameBuilder(uint8_t family, uint8_t sourceLast, uint8_t destinationLast, uint8_t protocol);

  uint8_t family;
  uint8_t protocol;
  MacAddress destinationMac;
  MacAddress sourceMac;
  AddressBytes source = {};
  AddressBytes destination = {};
  uint8_t hopLimit = 64;
  uint8_t flowLabel = 0;  // IPv6: its lowest bits
  uint16_t fragment = 0;  // IPv4: flags and offset, as in the header
  uint16_t identification = 0;
  std::vector<uint8_t> options;  // IPv4 options, or IPv6 extension headers
  std::vector<uint8_t> payload;

  [[nodiscard]] std::vector<uint8_t> build() const;
};

void append16(std::vector<uint8_t>& bytes, uint32_t value);
void append32(std::vector<uint8_t>& bytes, uint32_t value);

// Whole frames between two ends of OnePod, by the last bytes of their addresses.
struct TcpFields {
  uint8_t flags = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint16_t window = 65'535;
  std::vector<uint8_t> options = {};
  size_t payloadBytes = 0;
};
std::vector<uint8_t> tcpFrame(uint8_t family, uint8_t from, uint16_t fromPort, uint8_t to,
                              uint16_t toPort, const TcpFields& fields);
std::vector<uint8_t> udpFrame(uint8_t family, uint8_t from, uint16_t fromPort, uint8_t to,
                              uint16_t toPort, size_t payloadBytes = 8);
std::vector<uint8_t> echoFrame(uint8_t family, uint8_t from, uint8_t to, bool reply,
                               uint16_t identifier);

}  // namespace sluice::testing
