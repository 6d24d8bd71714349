#include "native/attach/fail-open.h"

#include <linux/bpf.h>
#include <net/if.h>

#include <cerrno>
#include <optional>

#include "native/bpf/assembler.h"
#include "native/bpf/program.h"
#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/netlink/links.h"
#include "native/netlink/tc-filters.h"

namespace sluice {
namespace {

// Loads `return bpf_redirect(interface, 0)`: sends the frame out of that interface.
Status loadRedirect(uint32_t interfaceIndex, Descriptor* program) noexcept {
  Assembler code;
  code.set(R1, static_cast<int32_t>(interfaceIndex));
  code.set(R2, 0);
  code.call(BPF_FUNC_redirect);
  code.exit();
  return loadProgram(BPF_PROG_TYPE_SCHED_CLS, code.finish(), program);
}

Status redirect(uint32_t from, uint32_t to, bool promiscuous) noexcept {
  Descriptor program;
  Status status = loadRedirect(to, &program);
  if (!status.ok()) return status;
  const std::optional<RedirectFilter> found = findRedirectFilter(from);
  if (found.has_value()) status = removeRedirectFilter(from, *found);
  RedirectFilter filter = found.value_or(RedirectFilter{});
  // If an earlier process set promiscuous mode, clearFailOpen() must unset it.
  if (status.ok() && promiscuous && !filter.promiscuousMade) {
    status = setInterfacePromiscuous(from, true, &filter.promiscuousMade);
  }
  if (status.ok()) status = addRedirectFilter(from, program.get(), filter);
  return status;
}

Status clear(uint32_t index) noexcept {
  const std::optional<RedirectFilter> filter = findRedirectFilter(index);
  if (!filter.has_value()) return {};
  const Status status = removeRedirectFilter(index, *filter);
  bool changed = false;
  if (filter->promiscuousMade) (void)setInterfacePromiscuous(index, false, &changed);
  return status;
}

}  // namespace

Status setFailOpen(int namespaceFd, uint32_t inside, uint32_t outside) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    if (findStackFilters(inside).has_value() || findStackFilters(outside).has_value()) {
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
    for (const struct if_nameindex* each = all; each->if_index != 0; ++each) {
      if (findRedirectFilter(each->if_index).has_value()) names->emplace_back(each->if_name);
    }
    if_freenameindex(all);
    return {};
  });
}

}  // namespace sluice
