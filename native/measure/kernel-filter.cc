#include "native/measure/kernel-filter.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <cstddef>
#include <map>
#include <utility>

#include "native/bpf/assembler.h"
#include "native/bpf/link.h"
#include "native/bpf/map.h"
#include "native/bpf/program.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"

namespace sluice {
namespace {

constexpr uint32_t FLOWS_MAX = 65'536;

// Offsets in a frame's headers, and the values that our programs compare.
constexpr int16_t ETHERTYPE_AT = 12;
constexpr int16_t VERSION_AT = 14;
constexpr int16_t FRAGMENT_AT = 20;
constexpr int16_t PROTOCOL_AT = 23;
constexpr int16_t SOURCE_AT = 26;
constexpr int16_t DESTINATION_AT = 30;
constexpr int16_t SOURCE_PORT_AT = 34;
constexpr int16_t DESTINATION_PORT_AT = 36;
constexpr int32_t HEADERS_BYTES = 42;
constexpr int32_t VERSION_AND_LENGTH = 0x45;  // no IPv4 options

// Keys of the maps, as the programs lay them out on their stack.
struct FlowMapKey {
  uint32_t outsideBe;
  uint32_t insideBe;
  uint16_t outsidePortBe;
  uint16_t insidePortBe;
  uint32_t protocol;
};
struct PrefixKey {
  uint32_t length;
  uint32_t addressBe;
};
struct PortKey {
  uint32_t group;
  uint16_t portBe;
  uint16_t protocol;
};
// Offsets on that stack, from its top.
constexpr int16_t FLOW_KEY = -16;
constexpr int16_t PREFIX_KEY = -24;
constexpr int16_t PORT_KEY = -32;
constexpr int16_t VALUE = -40;

// The exits of a program.
struct Ends {
  BpfLabel forward;
  BpfLabel drop;
  BpfLabel notIp;
};

struct Maps {
  Descriptor flows;
  Descriptor prefixes;
  Descriptor ports;
};

Status fillMaps(std::span<const KernelFilterRule> rules, Maps* maps) noexcept {
  const auto count = static_cast<uint32_t>(rules.size() + 1);
  Status status = createMap(BPF_MAP_TYPE_LRU_HASH, sizeof(FlowMapKey), FLOWS_MAX, &maps->flows);
  if (status.ok()) {
    status = createMap(BPF_MAP_TYPE_LPM_TRIE, sizeof(PrefixKey), count, &maps->prefixes);
  }
  if (status.ok()) status = createMap(BPF_MAP_TYPE_HASH, sizeof(PortKey), count, &maps->ports);
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> groups;
  for (const KernelFilterRule& rule : rules) {
    const auto size = static_cast<uint32_t>(groups.size());
    const uint32_t group = groups.try_emplace({rule.prefix, rule.length}, size).first->second;
    const PrefixKey prefix = {rule.length, htonl(rule.prefix)};
    const PortKey port = {group, htons(static_cast<uint16_t>(rule.port)),
                          static_cast<uint16_t>(rule.protocol)};
    if (status.ok()) status = putInMap(maps->prefixes.get(), &prefix, group);
    if (status.ok()) status = putInMap(maps->ports.get(), &port, 1);
  }
  return status;
}

// Stores the key of the frame's connection at FLOW_KEY, the same for both directions; for frames
// without a connection it jumps to an exit.
void readFlow(Assembler& code, bool fromOutside, const Ends& ends) {
  code.load(BPF_W, R2, R6, offsetof(__sk_buff, data));
  code.load(BPF_W, R3, R6, offsetof(__sk_buff, data_end));
  code.move(R4, R2);
  code.add(R4, HEADERS_BYTES);
  code.jumpIfRegister(BPF_JGT, R4, R3, ends.drop);
  code.load(BPF_H, R5, R2, ETHERTYPE_AT);
  code.jumpIf(BPF_JNE, R5, htons(ETH_P_IP), ends.notIp);
  code.load(BPF_B, R5, R2, VERSION_AT);
  code.jumpIf(BPF_JNE, R5, VERSION_AND_LENGTH, ends.drop);
  code.load(BPF_H, R5, R2, FRAGMENT_AT);
  code.mask(R5, htons(0x3fff));
  code.jumpIf(BPF_JNE, R5, 0, ends.drop);
  code.load(BPF_B, R5, R2, PROTOCOL_AT);
  const BpfLabel isTcp = code.label();
  code.jumpIf(BPF_JEQ, R5, IPPROTO_TCP, isTcp);
  code.jumpIf(BPF_JNE, R5, IPPROTO_UDP, ends.drop);
  code.place(isTcp);
  code.store(BPF_W, FP, FLOW_KEY + int{offsetof(FlowMapKey, protocol)}, R5);
  code.load(BPF_W, R5, R2, fromOutside ? SOURCE_AT : DESTINATION_AT);
  code.store(BPF_W, FP, FLOW_KEY + int{offsetof(FlowMapKey, outsideBe)}, R5);
  code.load(BPF_W, R5, R2, fromOutside ? DESTINATION_AT : SOURCE_AT);
  code.store(BPF_W, FP, FLOW_KEY + int{offsetof(FlowMapKey, insideBe)}, R5);
  code.load(BPF_H, R5, R2, fromOutside ? SOURCE_PORT_AT : DESTINATION_PORT_AT);
  code.store(BPF_H, FP, FLOW_KEY + int{offsetof(FlowMapKey, outsidePortBe)}, R5);
  code.load(BPF_H, R5, R2, fromOutside ? DESTINATION_PORT_AT : SOURCE_PORT_AT);
  code.store(BPF_H, FP, FLOW_KEY + int{offsetof(FlowMapKey, insidePortBe)}, R5);
}

void lookUp(Assembler& code, const Descriptor& map, int16_t key) {
  code.loadMap(R1, map.get());
  code.stackAddress(R2, key);
  code.call(BPF_FUNC_map_lookup_elem);
}

// Drops packets that no rule allows.
void judgeNewFlow(Assembler& code, const Maps& maps, const Ends& ends) {
  code.storeValue(BPF_W, FP, PREFIX_KEY + int{offsetof(PrefixKey, length)}, 32);
  code.load(BPF_W, R5, FP, FLOW_KEY + int{offsetof(FlowMapKey, outsideBe)});
  code.store(BPF_W, FP, PREFIX_KEY + int{offsetof(PrefixKey, addressBe)}, R5);
  lookUp(code, maps.prefixes, PREFIX_KEY);
  code.jumpIf(BPF_JEQ, R0, 0, ends.drop);
  code.load(BPF_W, R5, R0, 0);
  code.store(BPF_W, FP, PORT_KEY + int{offsetof(PortKey, group)}, R5);
  code.load(BPF_H, R5, FP, FLOW_KEY + int{offsetof(FlowMapKey, insidePortBe)});
  code.store(BPF_H, FP, PORT_KEY + int{offsetof(PortKey, portBe)}, R5);
  code.load(BPF_W, R5, FP, FLOW_KEY + int{offsetof(FlowMapKey, protocol)});
  code.store(BPF_H, FP, PORT_KEY + int{offsetof(PortKey, protocol)}, R5);
  lookUp(code, maps.ports, PORT_KEY);
  code.jumpIf(BPF_JEQ, R0, 0, ends.drop);
}

void remember(Assembler& code, const Maps& maps) {
  code.storeValue(BPF_W, FP, VALUE, 1);
  code.loadMap(R1, maps.flows.get());
  code.stackAddress(R2, FLOW_KEY);
  code.stackAddress(R3, VALUE);
  code.set(R4, BPF_ANY);
  code.call(BPF_FUNC_map_update_elem);
}

Status attach(uint32_t from, uint32_t to, bool fromOutside, const Maps& maps,
              Descriptor* attachment) noexcept {
  Assembler code;
  const Ends ends = {code.label(), code.label(), code.label()};
  code.move(R6, R1);
  readFlow(code, fromOutside, ends);
  lookUp(code, maps.flows, FLOW_KEY);
  code.jumpIf(BPF_JNE, R0, 0, ends.forward);
  if (fromOutside) judgeNewFlow(code, maps, ends);
  remember(code, maps);
  code.jump(ends.forward);
  code.place(ends.notIp);
  code.jumpIf(BPF_JNE, R5, htons(ETH_P_ARP), ends.drop);
  code.place(ends.forward);
  code.set(R1, static_cast<int32_t>(to));
  code.set(R2, 0);
  code.call(BPF_FUNC_redirect);
  code.exit();
  code.place(ends.drop);
  code.set(R0, TC_ACT_SHOT);
  code.exit();

  Descriptor program;
  const Status status = loadProgram(BPF_PROG_TYPE_SCHED_CLS, code.finish(), &program);
  if (!status.ok()) return status;
  return attachProgram(program.get(), from, BpfHook::TcxIngress, 0, attachment);
}

}  // namespace

Status attachKernelFilter(int namespaceFd, const char* inside, const char* outside,
                          std::span<const KernelFilterRule> rules, KernelFilter* filter) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    uint32_t insideIndex = 0;
    uint32_t outsideIndex = 0;
    Maps maps;  // the programs keep them
    KernelFilter made;
    Status status = interfaceIndex(inside, &insideIndex);
    if (status.ok()) status = interfaceIndex(outside, &outsideIndex);
    if (status.ok()) status = fillMaps(rules, &maps);
    if (status.ok()) status = attach(outsideIndex, insideIndex, true, maps, &made.attachments[0]);
    if (status.ok()) status = attach(insideIndex, outsideIndex, false, maps, &made.attachments[1]);
    if (status.ok()) *filter = std::move(made);
    return status;
  });
}

}  // namespace sluice
