#include "native/attach/steering-program.h"

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "native/bpf/load-program.h"

namespace sluice {
namespace {

constexpr uint32_t ETHERTYPE_AT = 12;
constexpr uint32_t IP_AT = 14;
constexpr uint32_t V4_ADDRESSES = 12;
constexpr uint32_t V4_WORDS = 2;
constexpr uint32_t V6_ADDRESSES = 8;
constexpr uint32_t V6_WORDS = 8;

sock_filter classic(uint32_t code, uint32_t value) {
  return {static_cast<uint16_t>(code), 0, 0, value};
}

// Folds `words` words at `offset` of the IP header, and answers.
void answerClassic(uint32_t offset, uint32_t words, const Steering& steering,
                   std::vector<sock_filter>* code) {
  const uint32_t network = static_cast<uint32_t>(SKF_NET_OFF) + offset;
  code->push_back(classic(BPF_LD | BPF_W | BPF_ABS, network));
  for (uint32_t word = 1; word < words; ++word) {
    code->push_back(classic(BPF_MISC | BPF_TAX, 0));
    code->push_back(classic(BPF_LD | BPF_W | BPF_ABS, network + word * 4));
    code->push_back(classic(BPF_ALU | BPF_XOR | BPF_X, 0));
  }
  code->push_back(classic(BPF_ALU | BPF_MUL | BPF_K, steering.multiplier));
  code->push_back(classic(BPF_ALU | BPF_RSH | BPF_K, Steering::STEERING_SHIFT));
  code->push_back(classic(BPF_RET | BPF_A, 0));
}

// Registers, as the instructions name them.
constexpr uint8_t R0 = 0;  // what a load gives, and the answer
constexpr uint8_t R1 = 1;
constexpr uint8_t R6 = 6;  // the frame, for loads
constexpr uint8_t R7 = 7;  // the sum

bpf_insn extended(uint32_t code, uint8_t to, uint8_t from, int16_t jump, uint32_t value) {
  bpf_insn instruction = {};
  instruction.code = static_cast<uint8_t>(code);
  instruction.dst_reg = to & 0xf;
  instruction.src_reg = from & 0xf;
  instruction.off = jump;
  instruction.imm = static_cast<int32_t>(value);
  return instruction;
}

void answerExtended(uint32_t offset, uint32_t words, const Steering& steering,
                    std::vector<bpf_insn>* code) {
  code->push_back(extended(BPF_ALU | BPF_MOV | BPF_K, R7, 0, 0, 0));
  for (uint32_t word = 0; word < words; ++word) {
    code->push_back(extended(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0, IP_AT + offset + word * 4));
    code->push_back(extended(BPF_ALU | BPF_XOR | BPF_X, R7, R0, 0, 0));
  }
  code->push_back(extended(BPF_ALU | BPF_MOV | BPF_X, R0, R7, 0, 0));
  code->push_back(extended(BPF_ALU | BPF_MUL | BPF_K, R0, 0, 0, steering.multiplier));
  code->push_back(extended(BPF_ALU | BPF_RSH | BPF_K, R0, 0, 0, Steering::STEERING_SHIFT));
  code->push_back(extended(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

std::vector<bpf_insn> steeringCode(const Steering& steering) {
  std::vector<bpf_insn> v4;
  std::vector<bpf_insn> v6;
  answerExtended(V4_ADDRESSES, V4_WORDS, steering, &v4);
  answerExtended(V6_ADDRESSES, V6_WORDS, steering, &v6);
  const auto afterV4 = static_cast<int16_t>(v4.size());
  const auto afterV6 = static_cast<int16_t>(v6.size());
  std::vector<bpf_insn> code = {
      extended(BPF_ALU64 | BPF_MOV | BPF_X, R6, R1, 0, 0),
      extended(BPF_LD | BPF_H | BPF_ABS, 0, 0, 0, ETHERTYPE_AT),
      extended(BPF_JMP | BPF_JNE | BPF_K, R0, 0, afterV4, ETH_P_IP),
  };
  code.insert(code.end(), v4.begin(), v4.end());
  code.push_back(extended(BPF_JMP | BPF_JNE | BPF_K, R0, 0, afterV6, ETH_P_IPV6));
  code.insert(code.end(), v6.begin(), v6.end());
  code.push_back(extended(BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, 0));
  code.push_back(extended(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  return code;
}

}  // namespace

std::vector<sock_filter> steeringFilter(const Steering& steering) {
  std::vector<sock_filter> v4;
  std::vector<sock_filter> v6;
  answerClassic(V4_ADDRESSES, V4_WORDS, steering, &v4);
  answerClassic(V6_ADDRESSES, V6_WORDS, steering, &v6);
  const auto protocol = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL);
  std::vector<sock_filter> code = {classic(BPF_LD | BPF_W | BPF_ABS, protocol)};
  code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, static_cast<uint8_t>(v4.size()), ETH_P_IP});
  code.insert(code.end(), v4.begin(), v4.end());
  code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, static_cast<uint8_t>(v6.size()), ETH_P_IPV6});
  code.insert(code.end(), v6.begin(), v6.end());
  code.push_back(classic(BPF_RET | BPF_K, 0));
  return code;
}

Status loadSteeringProgram(const Steering& steering, Descriptor* program) noexcept {
  const std::vector<bpf_insn> code = steeringCode(steering);
  bpf_attr load = {};
  load.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  load.insn_cnt = static_cast<uint32_t>(code.size());
  load.insns = reinterpret_cast<uint64_t>(code.data());
  load.license = reinterpret_cast<uint64_t>("Apache-2.0");
  program->reset(loadProgram(&load));
  if (!program->valid()) return Status::system("BPF_PROG_LOAD", errno);
  return {};
}

}  // namespace sluice
