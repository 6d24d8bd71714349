#include "native/netlink/tc-filters.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include <cerrno>
#include <span>

#include "native/netlink/request.h"

namespace sluice {
namespace {

// tc's names for an interface's two hooks.
tcmsg stackHook(uint32_t index) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_CLSACT;
  message.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  return message;
}

// Makes an interface's two hooks; `made` tells whether they were not there.
Status makeHook(uint32_t index, bool* made) noexcept {
  NetlinkRequest request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
  request.body(stackHook(index));
  request.text(TCA_KIND, "clsact");
  const Status status = request.send("RTM_NEWQDISC clsact");
  *made = status.ok();
  return status.error == EEXIST ? Status{} : status;
}

// Removes the hooks, with all filters on them.
Status removeHook(uint32_t index) noexcept {
  NetlinkRequest request(RTM_DELQDISC, 0);
  request.body(stackHook(index));
  return request.send("RTM_DELQDISC clsact");
}

// A request about the one filter that `message` names.
NetlinkRequest filterRequest(uint16_t type, uint16_t flags, const tcmsg& message) noexcept {
  NetlinkRequest request(type, flags);
  request.body(message);
  request.text(TCA_KIND, "bpf");
  return request;
}

bool hasFilter(const tcmsg& message) noexcept {
  return filterRequest(RTM_GETTFILTER, 0, message).send("RTM_GETTFILTER").ok();
}

Status removeFilter(const tcmsg& message) noexcept {
  return filterRequest(RTM_DELTFILTER, 0, message).send("RTM_DELTFILTER bpf");
}

// tc's names for our filters on the hook. The handle tells a later process whether we made the
// hook, too.
constexpr uint32_t FILTER_PRIORITY = 1;
constexpr uint32_t FILTER_HANDLE = 0x51ce0000;
enum class Hook : uint32_t { In = TC_H_MIN_INGRESS, Out = TC_H_MIN_EGRESS };

tcmsg stackFilter(uint32_t index, const StackFilters& filters, Hook hook) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_MAKE(TC_H_CLSACT, static_cast<uint32_t>(hook));
  message.tcm_handle = FILTER_HANDLE + (filters.hookMade ? 1 : 2);
  message.tcm_info = TC_H_MAKE(FILTER_PRIORITY << 16, htons(ETH_P_ALL));
  return message;
}

Status addStackFilter(uint32_t index, const StackFilters& filters, Hook hook,
                      std::span<const sock_filter> program) noexcept {
  NetlinkRequest request =
      filterRequest(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, stackFilter(index, filters, hook));
  const size_t options = request.begin(TCA_OPTIONS);
  request.number(TCA_BPF_OPS_LEN, static_cast<uint16_t>(program.size()));
  request.attribute(TCA_BPF_OPS, program.data(), program.size_bytes());
  request.number<uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  request.end(options);
  const Status status = request.send("RTM_NEWTFILTER bpf");
  return status.error == EEXIST ? Status{} : status;
}

constexpr uint32_t REDIRECT_PRIORITY = 2;
constexpr uint32_t REDIRECT_HANDLE = 0x51cf0001;

tcmsg redirectFilter(uint32_t index, const RedirectFilter& filter) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  message.tcm_handle =
      REDIRECT_HANDLE + (filter.hookMade ? 1 : 0) + (filter.promiscuousMade ? 2 : 0);
  message.tcm_info = TC_H_MAKE(REDIRECT_PRIORITY << 16, htons(ETH_P_ALL));
  return message;
}

// Of one priority, the filter that was added last runs first.
constexpr uint32_t PROGRAM_PRIORITY = 1;
constexpr uint32_t GUARD_HANDLE = 0x51d00001;  // the next one: the hook was made for it
constexpr uint32_t WIRE_HANDLE = 0x51d10001;   // likewise

tcmsg programFilter(ProgramFilter which, uint32_t index, bool hookMade) noexcept {
  tcmsg message = {};
  message.tcm_ifindex = static_cast<int>(index);
  message.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  message.tcm_handle =
      (which == ProgramFilter::Guard ? GUARD_HANDLE : WIRE_HANDLE) + (hookMade ? 1 : 0);
  message.tcm_info = TC_H_MAKE(PROGRAM_PRIORITY << 16, htons(ETH_P_ALL));
  return message;
}

// The filter, if there is one; else nothing.
std::optional<bool> findProgramHook(ProgramFilter which, uint32_t index) noexcept {
  for (const bool hookMade : {true, false}) {
    if (hasFilter(programFilter(which, index, hookMade))) return hookMade;
  }
  return {};
}

// Adds a filter that runs a program, or exchanges the program of the same one.
Status putFilter(const tcmsg& message, int programFd, const char* name, uint16_t flags) noexcept {
  NetlinkRequest request = filterRequest(RTM_NEWTFILTER, flags, message);
  const size_t options = request.begin(TCA_OPTIONS);
  request.number<uint32_t>(TCA_BPF_FD, static_cast<uint32_t>(programFd));
  request.text(TCA_BPF_NAME, name);
  request.number<uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  request.end(options);
  return request.send("RTM_NEWTFILTER bpf");
}

}  // namespace

std::optional<StackFilters> findStackFilters(uint32_t index) noexcept {
  for (const bool hookMade : {true, false}) {
    const StackFilters candidate = {hookMade};
    if (hasFilter(stackFilter(index, candidate, Hook::In))) return candidate;
  }
  return {};
}

Status addStackFilters(uint32_t index, uint32_t mark,
                       std::optional<StackFilters>* filters) noexcept {
  StackFilters made = filters->value_or(StackFilters{});
  if (!filters->has_value()) {
    const Status hooked = makeHook(index, &made.hookMade);
    if (!hooked.ok()) return hooked;
  }
  const sock_filter dropAll[] = {{BPF_RET | BPF_K, 0, 0, TC_ACT_SHOT}};
  const sock_filter dropUnmarked[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_MARK)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, mark},
      {BPF_RET | BPF_K, 0, 0, static_cast<uint32_t>(TC_ACT_UNSPEC)},
      {BPF_RET | BPF_K, 0, 0, TC_ACT_SHOT},
  };
  Status status = addStackFilter(index, made, Hook::In, dropAll);
  if (status.ok()) status = addStackFilter(index, made, Hook::Out, dropUnmarked);
  if (status.ok()) {
    *filters = made;
  } else if (!filters->has_value()) {
    (void)removeStackFilters(index, made);  // an interface that was closed before stays closed
  }
  return status;
}

Status removeStackFilters(uint32_t index, const StackFilters& filters) noexcept {
  // The way out first: whoever is reached can then answer, and ask for the neighbour to answer by.
  const Status out = removeFilter(stackFilter(index, filters, Hook::Out));
  if (filters.hookMade) return removeHook(index);
  (void)removeProgramFilter(ProgramFilter::Wire, index);
  const Status in = removeFilter(stackFilter(index, filters, Hook::In));
  return in.ok() ? out : in;
}

// Asks for each handle that the filter may have. A dump would be one request, but its answer is of
// several parts, which nothing else here has to read.
std::optional<RedirectFilter> findRedirectFilter(uint32_t index) noexcept {
  for (const bool hookMade : {true, false}) {
    for (const bool promiscuousMade : {true, false}) {
      const RedirectFilter candidate = {hookMade, promiscuousMade};
      if (hasFilter(redirectFilter(index, candidate))) return candidate;
    }
  }
  return {};
}

Status addRedirectFilter(uint32_t index, int programFd, RedirectFilter filter) noexcept {
  const Status hooked = makeHook(index, &filter.hookMade);
  if (!hooked.ok()) return hooked;
  const Status status = putFilter(redirectFilter(index, filter), programFd, "sluice_fail_open",
                                  NLM_F_CREATE | NLM_F_EXCL);
  if (!status.ok()) (void)removeRedirectFilter(index, filter);
  return status;
}

Status removeRedirectFilter(uint32_t index, const RedirectFilter& filter) noexcept {
  return filter.hookMade ? removeHook(index) : removeFilter(redirectFilter(index, filter));
}

bool hasProgramFilter(ProgramFilter which, uint32_t index) noexcept {
  return findProgramHook(which, index).has_value();
}

Status putProgramFilter(ProgramFilter which, uint32_t index, int programFd) noexcept {
  const char* const name = which == ProgramFilter::Guard ? "sluice_guard" : "sluice_wire";
  const std::optional<bool> present = findProgramHook(which, index);
  if (present.has_value()) {
    return putFilter(programFilter(which, index, *present), programFd, name, NLM_F_CREATE);
  }
  bool hookMade = false;
  const Status hooked = makeHook(index, &hookMade);
  if (!hooked.ok()) return hooked;
  const Status status =
      putFilter(programFilter(which, index, hookMade), programFd, name, NLM_F_CREATE | NLM_F_EXCL);
  if (!status.ok() && hookMade) (void)removeHook(index);
  return status;
}

Status removeProgramFilter(ProgramFilter which, uint32_t index) noexcept {
  const std::optional<bool> hookMade = findProgramHook(which, index);
  if (!hookMade.has_value()) return {};
  return *hookMade ? removeHook(index) : removeFilter(programFilter(which, index, false));
}

}  // namespace sluice
