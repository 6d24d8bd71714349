#include "native/bpf/image.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "native/bpf/program.h"

namespace sluice {
namespace {

// BPF_PSEUDO_KFUNC_CALL; the headers of an older kernel lack it.
constexpr uint8_t PSEUDO_FUNCTION_CALL = 2;

// Fills a hole. A number is added to what the compiler has folded into the instruction.
bool fill(const BpfSymbol& symbol, std::span<bpf_insn> at) noexcept {
  if (symbol.kind == BpfSymbol::Kind::Function) {
    if (at[0].code != (BPF_JMP | BPF_CALL)) return false;
    if (symbol.value == BpfSymbol::NO_FUNCTION) {
      at[0] = {};
      at[0].code = BPF_ALU64 | BPF_MOV | BPF_K;  // R0 = 0
      return true;
    }
    at[0].src_reg = PSEUDO_FUNCTION_CALL;
    at[0].imm = static_cast<int32_t>(symbol.value);
    return true;
  }
  if (at.size() < 2 || at[0].code != (BPF_LD | BPF_DW | BPF_IMM)) return false;
  if (symbol.kind == BpfSymbol::Kind::Map) {
    at[0].src_reg = BPF_PSEUDO_MAP_FD;
    at[0].imm = static_cast<int32_t>(symbol.value);
    return true;
  }
  const uint64_t folded = static_cast<uint64_t>(static_cast<uint32_t>(at[1].imm)) << 32 |
                          static_cast<uint32_t>(at[0].imm);
  const uint64_t value = folded + symbol.value;
  at[0].imm = static_cast<int32_t>(value);
  at[1].imm = static_cast<int32_t>(value >> 32);
  return true;
}

}  // namespace

Status loadImage(const BpfImage& image, bpf_prog_type type, uint32_t attachType,
                 std::span<const BpfSymbol> symbols, Descriptor* program) noexcept {
  std::vector<bpf_insn> code(image.code.size());
  std::memcpy(code.data(), image.code.data(), image.code.size_bytes());
  for (const BpfHole& hole : image.holes) {
    const auto symbol = std::find_if(symbols.begin(), symbols.end(), [&](const BpfSymbol& each) {
      return each.name == hole.symbol;
    });
    if (symbol == symbols.end() || hole.instruction >= code.size() ||
        !fill(*symbol, std::span(code).subspan(hole.instruction))) {
      return {StatusCode::Argument};
    }
  }
  // The kernel gives programs that read its own structures only to programs under the GPL.
  return loadProgram(type, code, program, {"Dual MIT/GPL", attachType});
}

}  // namespace sluice
