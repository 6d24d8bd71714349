#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace sluice {

// Registers of a BPF program: R0 is the result of a call or of the program, R1 to R5 are the
// arguments of a call, FP is the top of the stack.
enum BpfRegister : uint8_t { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP };

// A place in a program.
enum class BpfLabel : size_t {};

// A BPF program under construction; jumps to labels are filled in at the end.
//
// Shape:  sizes are BPF_B, BPF_H, BPF_W and BPF_DW, operations BPF_JEQ, BPF_JNE and so on.
// Source: Documentation/bpf/standardization/instruction-set.rst of the kernel.
class Assembler {
 public:
  void move(BpfRegister to, BpfRegister from) { emit(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set(BpfRegister to, int32_t value) { emit(BPF_ALU64 | BPF_MOV | BPF_K, to, R0, 0, value); }
  void add(BpfRegister to, int32_t value) { emit(BPF_ALU64 | BPF_ADD | BPF_K, to, R0, 0, value); }
  void mask(BpfRegister to, int32_t value) { emit(BPF_ALU64 | BPF_AND | BPF_K, to, R0, 0, value); }
  // 32-bit operations on the lower halves; the upper half of the result is 0.
  void move32(BpfRegister to, BpfRegister from) { emit(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set32(BpfRegister to, uint32_t value) { emit32(BPF_MOV, to, value); }
  void multiply32(BpfRegister to, uint32_t value) { emit32(BPF_MUL, to, value); }
  void shiftRight32(BpfRegister to, uint32_t bits) { emit32(BPF_RSH, to, bits); }
  void exclusiveOr32(BpfRegister to, BpfRegister from) {
    emit(BPF_ALU | BPF_XOR | BPF_X, to, from, 0, 0);
  }

  void load(uint8_t size, BpfRegister to, BpfRegister from, int16_t at) {
    emit(static_cast<uint8_t>(BPF_LDX | BPF_MEM | size), to, from, at, 0);
  }
  void store(uint8_t size, BpfRegister to, int16_t at, BpfRegister from) {
    emit(static_cast<uint8_t>(BPF_STX | BPF_MEM | size), to, from, at, 0);
  }
  void storeValue(uint8_t size, BpfRegister to, int16_t at, int32_t value) {
    emit(static_cast<uint8_t>(BPF_ST | BPF_MEM | size), to, R0, at, value);
  }
  // Loads a number at offset `at` of the frame into R0, in host order; R6 holds the context. If the
  // frame is too short, the program ends with result 0.
  void loadFrame(uint8_t size, uint32_t at) {
    emit(static_cast<uint8_t>(BPF_LD | BPF_ABS | size), R0, R0, 0, static_cast<int32_t>(at));
  }
  void stackAddress(BpfRegister to, int16_t at) {
    move(to, FP);
    add(to, at);
  }
  void loadMap(BpfRegister to, int map) {
    emit(BPF_LD | BPF_DW | BPF_IMM, to, static_cast<BpfRegister>(BPF_PSEUDO_MAP_FD), 0, map);
    emit(0, R0, R0, 0, 0);
  }

  void call(int32_t helper) { emit(BPF_JMP | BPF_CALL, R0, R0, 0, helper); }
  void exit() { emit(BPF_JMP | BPF_EXIT, R0, R0, 0, 0); }

  // A new label, which place() sets later.
  [[nodiscard]] BpfLabel label() {
    places_.push_back(0);
    return BpfLabel{places_.size() - 1};
  }
  void place(BpfLabel label) { places_[static_cast<size_t>(label)] = code_.size(); }
  void jump(BpfLabel label) { branch(BPF_JMP | BPF_JA, R0, R0, 0, label); }
  void jumpIf(uint8_t operation, BpfRegister left, int32_t right, BpfLabel label) {
    branch(static_cast<uint8_t>(BPF_JMP | operation | BPF_K), left, R0, right, label);
  }
  void jumpIf32(uint8_t operation, BpfRegister left, uint32_t right, BpfLabel label) {
    branch(static_cast<uint8_t>(BPF_JMP32 | operation | BPF_K), left, R0,
           static_cast<int32_t>(right), label);
  }
  void jumpIfRegister(uint8_t operation, BpfRegister left, BpfRegister right, BpfLabel label) {
    branch(static_cast<uint8_t>(BPF_JMP | operation | BPF_X), left, right, 0, label);
  }

  // The program; valid until the next call of the assembler.
  [[nodiscard]] std::span<const bpf_insn> finish() {
    for (const auto& [at, label] : jumps_) {
      const size_t target = places_[static_cast<size_t>(label)];
      code_[at].off = static_cast<int16_t>(target - at - 1);
    }
    return code_;
  }

 private:
  void emit(uint8_t code, BpfRegister to, BpfRegister from, int16_t at, int32_t value) {
    bpf_insn instruction = {};
    instruction.code = code;
    instruction.dst_reg = static_cast<uint8_t>(to & 0xf);
    instruction.src_reg = static_cast<uint8_t>(from & 0xf);
    instruction.off = at;
    instruction.imm = value;
    code_.push_back(instruction);
  }
  void emit32(uint8_t operation, BpfRegister to, uint32_t value) {
    emit(static_cast<uint8_t>(BPF_ALU | operation | BPF_K), to, R0, 0, static_cast<int32_t>(value));
  }
  void branch(uint8_t code, BpfRegister left, BpfRegister right, int32_t value, BpfLabel label) {
    jumps_.emplace_back(code_.size(), label);
    emit(code, left, right, 0, value);
  }

  std::vector<bpf_insn> code_;
  std::vector<std::pair<size_t, BpfLabel>> jumps_;
  std::vector<size_t> places_;
};

}  // namespace sluice
