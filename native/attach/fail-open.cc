#include "native/attach/fail-open.h"

#include <linux/bpf.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "native/bpf/load-program.h"
#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/netlink/rtnetlink.h"

namespace sluice {
namespace {

constexpr bpf_insn instruction(int code, int to, int value) noexcept {
  bpf_insn made = {};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = to & 0xf;
  made.imm = value;
  return made;
}

// Loads `return bpf_redirect(interface, 0)`: out by that interface.
Status loadRedirect(uint32_t interfaceIndex, Descriptor* program) noexcept {
  const bpf_insn code[] = {
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 1, static_cast<int>(interfaceIndex)),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0),
      instruction(BPF_JMP | BPF_CALL, 0, BPF_FUNC_redirect),
      instruction(BPF_JMP | BPF_EXIT, 0, 0),
  };
  bpf_attr load = {};
  load.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  load.insn_cnt = sizeof code / sizeof code[0];
  load.insns = reinterpret_cast<uint64_t>(code);
  load.license = reinterpret_cast<uint64_t>("Apache-2.0");
  program->reset(loadProgram(&load));
  return program->valid() ? Status{} : Status::system("BPF_PROG_LOAD", errno);
}

Status redirect(uint32_t from, uint32_t to, bool promiscuous) noexcept {
  Descriptor program;
  Status status = loadRedirect(to, &program);
  RedirectFilter filter;
  if (status.ok() && findRedirectFilter(from, &filter)) {
    status = removeRedirectFilter(from, filter);
  }
  // What a process that is gone has switched on is ours to switch off.
  if (status.ok() && promiscuous && !filter.promiscuousMade) {
    status = setInterfacePromiscuous(from, true, &filter.promiscuousMade);
  }
  if (status.ok()) status = addRedirectFilter(from, program.get(), filter);
  return status;
}

Status clear(uint32_t index) noexcept {
  RedirectFilter filter;
  if (!findRedirectFilter(index, &filter)) return {};
  const Status status = removeRedirectFilter(index, filter);
  bool changed = false;
  if (filter.promiscuousMade) (void)setInterfacePromiscuous(index, false, &changed);
  return status;
}

}  // namespace

Status setFailOpen(int namespaceFd, uint32_t inside, uint32_t outside) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    StackFilters staying;
    if (findStackFilters(inside, &staying) || findStackFilters(outside, &staying)) {
      return Status::system("BPF_LINK_CREATE", EOPNOTSUPP, Fault::StackFilters);
    }
    Status status = redirect(inside, outside, false);
    if (status.ok()) status = redirect(outside, inside, true);
    if (!status.ok()) {
      (void)clear(inside);
      (void)clear(outside);
    }
    return status;
  });
}

Status clearFailOpen(int namespaceFd, uint32_t interfaceIndex) noexcept {
  return inNamespace(namespaceFd, [&] { return clear(interfaceIndex); });
}

Status listFailOpen(int namespaceFd, std::vector<std::string>* names) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    struct if_nameindex* const all = if_nameindex();
    if (all == nullptr) return Status::system("if_nameindex", errno);
    RedirectFilter filter;
    for (const struct if_nameindex* each = all; each->if_index != 0; ++each) {
      if (findRedirectFilter(each->if_index, &filter)) names->emplace_back(each->if_name);
    }
    if_freenameindex(all);
    return {};
  });
}

}  // namespace sluice
