#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// An instruction that wants the value of a symbol.
struct BpfHole {
  uint32_t instruction;
  std::string_view symbol;
};

// A compiled program, as programs.gen.h has it.
struct BpfImage {
  std::span<const uint64_t> code;
  std::span<const BpfHole> holes;
};

// The value of a symbol of programs: the descriptor of a map, a number, or the type of a kernel
// function in the kernel's type information.
struct BpfSymbol {
  static constexpr uint64_t NO_FUNCTION = UINT32_MAX;  // calls of it give 0
  enum class Kind : uint8_t { Map, Number, Function };
  std::string_view name;
  Kind kind;
  uint64_t value;
};

// Loads a compiled program for netfilter hooks or interfaces, with its symbols.
//
// Errors: Argument when a symbol is missing; else as loadProgram().
Status loadImage(const BpfImage& image, bpf_prog_type type, uint32_t attachType,
                 std::span<const BpfSymbol> symbols, Descriptor* program) noexcept;

}  // namespace sluice
