#include "native/bpf/wire-symbols.h"

#include <algorithm>

#include "native/bpf/kernel-types.h"

namespace sluice {
namespace {

#ifdef __x86_64__
constexpr uint64_t WEAKLY_ORDERED = 0;
#else
constexpr uint64_t WEAKLY_ORDERED = 1;
#endif

}  // namespace

Status appendWireSymbols(std::vector<BpfSymbol>* symbols) noexcept {
  KernelTypes types;
  const Status status = KernelTypes::read(&types);
  if (!status.ok()) return status;
  const uint32_t packet = types.structure("sk_buff");
  const uint32_t shared = types.structure("skb_shared_info");
  const uint32_t summed = types.bitOffsetOf(packet, "ip_summed");
  using Kind = BpfSymbol::Kind;
  const BpfSymbol found[] = {
      {"isWeaklyOrdered", Kind::Number, WEAKLY_ORDERED},
      {"skbType", Kind::Number, packet},
      {"skbSummed", Kind::Number, summed / 8},
      {"skbSummedShift", Kind::Number, summed % 8},
      {"skbSumStart", Kind::Number, types.offsetOf(packet, "csum_start")},
      {"skbSumOffset", Kind::Number, types.offsetOf(packet, "csum_offset")},
      {"skbMac", Kind::Number, types.offsetOf(packet, "mac_header")},
      {"skbHead", Kind::Number, types.offsetOf(packet, "head")},
      {"skbEnd", Kind::Number, types.offsetOf(packet, "end")},
      {"sharedType", Kind::Number, shared},
      {"sharedGsoType", Kind::Number, types.offsetOf(shared, "gso_type")},
  };
  const bool fits = std::none_of(std::begin(found), std::end(found), [](const BpfSymbol& each) {
    return each.value == KernelTypes::ABSENT;
  });
  if (!fits || summed == KernelTypes::ABSENT) return {StatusCode::Argument};
  symbols->insert(symbols->end(), std::begin(found), std::end(found));
  const uint32_t cast = types.function("bpf_rdonly_cast");
  symbols->push_back({"hasCast", Kind::Number, cast == KernelTypes::ABSENT ? 0u : 1u});
  symbols->push_back({"bpf_rdonly_cast", Kind::Function, cast});
  return {};
}

}  // namespace sluice
