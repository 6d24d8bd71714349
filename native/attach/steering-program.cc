#include "native/attach/steering-program.h"

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_ether.h>

#include "native/bpf/assembler.h"
#include "native/bpf/program.h"

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

// Folds `words` words at `offset` of the IP header, and returns the sum.
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

// The same for eBPF; the sum is in R7.
void answer(uint32_t offset, uint32_t words, const Steering& steering, Assembler* code) {
  code->set32(R7, 0);
  for (uint32_t word = 0; word < words; ++word) {
    code->loadFrame(BPF_W, IP_AT + offset + word * 4);
    code->exclusiveOr32(R7, R0);
  }
  code->move32(R0, R7);
  code->multiply32(R0, steering.multiplier);
  code->shiftRight32(R0, Steering::STEERING_SHIFT);
  code->exit();
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
  Assembler code;
  const BpfLabel notV4 = code.label();
  const BpfLabel notIp = code.label();
  code.move(R6, R1);
  code.loadFrame(BPF_H, ETHERTYPE_AT);
  code.jumpIf(BPF_JNE, R0, ETH_P_IP, notV4);
  answer(V4_ADDRESSES, V4_WORDS, steering, &code);
  code.place(notV4);
  code.jumpIf(BPF_JNE, R0, ETH_P_IPV6, notIp);
  answer(V6_ADDRESSES, V6_WORDS, steering, &code);
  code.place(notIp);
  code.set(R0, 0);
  code.exit();
  return loadProgram(BPF_PROG_TYPE_SOCKET_FILTER, code.finish(), program);
}

}  // namespace sluice
