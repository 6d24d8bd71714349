#include "native/measure/kernel-filter.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "native/bpf/load-program.h"
#include "native/host/namespaces.h"
#include "native/netlink/rtnetlink.h"

namespace sluice {
namespace {

constexpr uint32_t FLOWS_MAX = 65'536;
// Named here since the headers of an older kernel lack it; the running kernel may know it.
constexpr uint32_t BPF_ATTACH_TCX_INGRESS = 46;

// Where the headers of a frame are, and what our programs ask of them.
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
// Places on that stack, from its top.
constexpr int16_t FLOW_KEY = -16;
constexpr int16_t PREFIX_KEY = -24;
constexpr int16_t PORT_KEY = -32;
constexpr int16_t VALUE = -40;

enum Register : uint8_t { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP };
enum class Label : uint8_t { Forward, Drop, NotIp, Count };

// Instructions under construction; jumps to labels are filled in at the end.
class Assembler {
 public:
  void move(Register to, Register from) { emit(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set(Register to, int32_t value) { emit(BPF_ALU64 | BPF_MOV | BPF_K, to, R0, 0, value); }
  void add(Register to, int32_t value) { emit(BPF_ALU64 | BPF_ADD | BPF_K, to, R0, 0, value); }
  void mask(Register to, int32_t value) { emit(BPF_ALU64 | BPF_AND | BPF_K, to, R0, 0, value); }
  void load(uint8_t size, Register to, Register from, int16_t at) {
    emit(static_cast<uint8_t>(BPF_LDX | BPF_MEM | size), to, from, at, 0);
  }
  void store(uint8_t size, Register to, int16_t at, Register from) {
    emit(static_cast<uint8_t>(BPF_STX | BPF_MEM | size), to, from, at, 0);
  }
  void storeValue(uint8_t size, Register to, int16_t at, int32_t value) {
    emit(static_cast<uint8_t>(BPF_ST | BPF_MEM | size), to, R0, at, value);
  }
  void stackAddress(Register to, int16_t at) {
    move(to, FP);
    add(to, at);
  }
  void loadMap(Register to, int map) {
    emit(BPF_LD | BPF_DW | BPF_IMM, to, static_cast<Register>(BPF_PSEUDO_MAP_FD), 0, map);
    emit(0, R0, R0, 0, 0);
  }
  void call(int32_t helper) { emit(BPF_JMP | BPF_CALL, R0, R0, 0, helper); }
  void exit() { emit(BPF_JMP | BPF_EXIT, R0, R0, 0, 0); }
  void jump(Label label) { branch(BPF_JMP | BPF_JA, R0, R0, 0, label); }
  // Jumps by `operation` (BPF_JEQ, BPF_JNE, …) against a value or a register.
  void jumpIf(uint8_t operation, Register left, int32_t right, Label label) {
    branch(static_cast<uint8_t>(BPF_JMP | operation | BPF_K), left, R0, right, label);
  }
  void jumpIfRegister(uint8_t operation, Register left, Register right, Label label) {
    branch(static_cast<uint8_t>(BPF_JMP | operation | BPF_X), left, right, 0, label);
  }
  // Passes over the next instruction when they are equal.
  void skipIfEqual(Register left, int32_t right) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, left, R0, 1, right);
  }
  void place(Label label) { places_[static_cast<size_t>(label)] = code_.size(); }

  std::span<const bpf_insn> finish() {
    for (const auto& [at, label] : jumps_) {
      const size_t target = places_[static_cast<size_t>(label)];
      code_[at].off = static_cast<int16_t>(target - at - 1);
    }
    return code_;
  }

 private:
  void emit(uint8_t code, Register to, Register from, int16_t at, int32_t value) {
    bpf_insn instruction = {};
    instruction.code = code;
    instruction.dst_reg = static_cast<uint8_t>(to & 0xf);
    instruction.src_reg = static_cast<uint8_t>(from & 0xf);
    instruction.off = at;
    instruction.imm = value;
    code_.push_back(instruction);
  }
  void branch(uint8_t code, Register left, Register right, int32_t value, Label label) {
    jumps_.emplace_back(code_.size(), label);
    emit(code, left, right, 0, value);
  }

  std::vector<bpf_insn> code_;
  std::vector<std::pair<size_t, Label>> jumps_;
  std::array<size_t, static_cast<size_t>(Label::Count)> places_ = {};
};

int bpf(bpf_cmd command, bpf_attr* attributes) noexcept {
  return static_cast<int>(syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

struct Maps {
  Descriptor flows;
  Descriptor prefixes;
  Descriptor ports;
};

Status createMap(bpf_map_type type, uint32_t keyBytes, uint32_t entriesMax,
                 Descriptor* map) noexcept {
  bpf_attr attributes = {};
  attributes.map_type = type;
  attributes.key_size = keyBytes;
  attributes.value_size = sizeof(uint32_t);
  attributes.max_entries = entriesMax;
  attributes.map_flags = type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0;
  map->reset(bpf(BPF_MAP_CREATE, &attributes));
  return map->valid() ? Status{} : Status::system("BPF_MAP_CREATE", errno);
}

template <typename Key>
Status putInMap(const Descriptor& map, const Key& key, uint32_t value) noexcept {
  bpf_attr attributes = {};
  attributes.map_fd = static_cast<uint32_t>(map.get());
  attributes.key = reinterpret_cast<uint64_t>(&key);
  attributes.value = reinterpret_cast<uint64_t>(&value);
  if (bpf(BPF_MAP_UPDATE_ELEM, &attributes) == 0) return {};
  return Status::system("BPF_MAP_UPDATE_ELEM", errno);
}

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
    if (status.ok()) status = putInMap(maps->prefixes, prefix, group);
    if (status.ok()) status = putInMap(maps->ports, port, 1);
  }
  return status;
}

// Leaves the frame's connection at FLOW_KEY, both directions alike; frames without one jump away.
void readFlow(Assembler& code, bool fromOutside) {
  code.load(BPF_W, R2, R6, offsetof(__sk_buff, data));
  code.load(BPF_W, R3, R6, offsetof(__sk_buff, data_end));
  code.move(R4, R2);
  code.add(R4, HEADERS_BYTES);
  code.jumpIfRegister(BPF_JGT, R4, R3, Label::Drop);
  code.load(BPF_H, R5, R2, ETHERTYPE_AT);
  code.jumpIf(BPF_JNE, R5, htons(ETH_P_IP), Label::NotIp);
  code.load(BPF_B, R5, R2, VERSION_AT);
  code.jumpIf(BPF_JNE, R5, VERSION_AND_LENGTH, Label::Drop);
  code.load(BPF_H, R5, R2, FRAGMENT_AT);
  code.mask(R5, htons(0x3fff));
  code.jumpIf(BPF_JNE, R5, 0, Label::Drop);
  code.load(BPF_B, R5, R2, PROTOCOL_AT);
  code.skipIfEqual(R5, IPPROTO_TCP);
  code.jumpIf(BPF_JNE, R5, IPPROTO_UDP, Label::Drop);
  code.store(BPF_W, FP, FLOW_KEY + offsetof(FlowMapKey, protocol), R5);
  code.load(BPF_W, R5, R2, fromOutside ? SOURCE_AT : DESTINATION_AT);
  code.store(BPF_W, FP, FLOW_KEY + offsetof(FlowMapKey, outsideBe), R5);
  code.load(BPF_W, R5, R2, fromOutside ? DESTINATION_AT : SOURCE_AT);
  code.store(BPF_W, FP, FLOW_KEY + offsetof(FlowMapKey, insideBe), R5);
  code.load(BPF_H, R5, R2, fromOutside ? SOURCE_PORT_AT : DESTINATION_PORT_AT);
  code.store(BPF_H, FP, FLOW_KEY + offsetof(FlowMapKey, outsidePortBe), R5);
  code.load(BPF_H, R5, R2, fromOutside ? DESTINATION_PORT_AT : SOURCE_PORT_AT);
  code.store(BPF_H, FP, FLOW_KEY + offsetof(FlowMapKey, insidePortBe), R5);
}

void lookUp(Assembler& code, const Descriptor& map, int16_t key) {
  code.loadMap(R1, map.get());
  code.stackAddress(R2, key);
  code.call(BPF_FUNC_map_lookup_elem);
}

// Drops what no rule lets in.
void judgeNewFlow(Assembler& code, const Maps& maps) {
  code.storeValue(BPF_W, FP, PREFIX_KEY + offsetof(PrefixKey, length), 32);
  code.load(BPF_W, R5, FP, FLOW_KEY + offsetof(FlowMapKey, outsideBe));
  code.store(BPF_W, FP, PREFIX_KEY + offsetof(PrefixKey, addressBe), R5);
  lookUp(code, maps.prefixes, PREFIX_KEY);
  code.jumpIf(BPF_JEQ, R0, 0, Label::Drop);
  code.load(BPF_W, R5, R0, 0);
  code.store(BPF_W, FP, PORT_KEY + offsetof(PortKey, group), R5);
  code.load(BPF_H, R5, FP, FLOW_KEY + offsetof(FlowMapKey, insidePortBe));
  code.store(BPF_H, FP, PORT_KEY + offsetof(PortKey, portBe), R5);
  code.load(BPF_W, R5, FP, FLOW_KEY + offsetof(FlowMapKey, protocol));
  code.store(BPF_H, FP, PORT_KEY + offsetof(PortKey, protocol), R5);
  lookUp(code, maps.ports, PORT_KEY);
  code.jumpIf(BPF_JEQ, R0, 0, Label::Drop);
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
  code.move(R6, R1);
  readFlow(code, fromOutside);
  lookUp(code, maps.flows, FLOW_KEY);
  code.jumpIf(BPF_JNE, R0, 0, Label::Forward);
  if (fromOutside) judgeNewFlow(code, maps);
  remember(code, maps);
  code.jump(Label::Forward);
  code.place(Label::NotIp);
  code.jumpIf(BPF_JNE, R5, htons(ETH_P_ARP), Label::Drop);
  code.place(Label::Forward);
  code.set(R1, static_cast<int32_t>(to));
  code.set(R2, 0);
  code.call(BPF_FUNC_redirect);
  code.exit();
  code.place(Label::Drop);
  code.set(R0, TC_ACT_SHOT);
  code.exit();

  const auto instructions = code.finish();
  bpf_attr load = {};
  load.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  load.insn_cnt = static_cast<uint32_t>(instructions.size());
  load.insns = reinterpret_cast<uint64_t>(instructions.data());
  load.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const Descriptor program(loadProgram(&load));
  if (!program.valid()) return Status::system("BPF_PROG_LOAD", errno);
  bpf_attr link = {};
  link.link_create.prog_fd = static_cast<uint32_t>(program.get());
  link.link_create.target_ifindex = from;
  link.link_create.attach_type = BPF_ATTACH_TCX_INGRESS;
  attachment->reset(bpf(BPF_LINK_CREATE, &link));
  return attachment->valid() ? Status{} : Status::system("BPF_LINK_CREATE", errno);
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
