#pragma once

#include <cstdint>
#include <optional>

#include "native/packet/status.h"

namespace sluice {

// The calls below act in the namespace of the calling thread, by rtnetlink.
//
// Errors: System, with the message type as the call.

// Two tc filters that block the kernel stack on an interface, and whether their hook was made for
// them. Ingress: every frame is dropped after packet sockets have seen it. Egress: frames without
// the mark of our sockets are dropped.
struct StackFilters {
  bool hookMade = false;
};

// Finds the filters that addStackFilters() made, in this process or an earlier one.
[[nodiscard]] std::optional<StackFilters> findStackFilters(uint32_t index) noexcept;
// Adds the missing filters. `*filters` is the result of findStackFilters() before, and the present
// state afterwards.
Status addStackFilters(uint32_t index, uint32_t mark,
                       std::optional<StackFilters>* filters) noexcept;
// Removes the filters and a ProgramFilter::Wire, and the hook if it was made for them.
Status removeStackFilters(uint32_t index, const StackFilters& filters) noexcept;

// A tc filter that runs a program on frames that arrive on an interface, after all programs that
// are attached by descriptors; and what else was changed for it.
struct RedirectFilter {
  bool hookMade = false;
  bool promiscuousMade = false;
};

// Finds the filter that addRedirectFilter() made, in this process or an earlier one.
[[nodiscard]] std::optional<RedirectFilter> findRedirectFilter(uint32_t index) noexcept;
// Adds the filter, and the hook if there is none. `filter` says what else is to be undone with it.
Status addRedirectFilter(uint32_t index, int programFd, RedirectFilter filter) noexcept;
// Removes the filter, and the hook if it was made for it.
Status removeRedirectFilter(uint32_t index, const RedirectFilter& filter) noexcept;

// A tc filter that runs a program on frames that arrive on an interface, for kernels that cannot
// attach it by a descriptor. Like all filters it stays when the process ends.
enum class ProgramFilter : uint8_t {
  Guard,  // of a pod's interface
  Wire,   // of a side of a wire, or of its TAP; it runs before the StackFilters that were there
};
[[nodiscard]] bool hasProgramFilter(ProgramFilter which, uint32_t index) noexcept;
// Adds the filter, and the hook if there is none, or puts the program in the place of its present
// one without a moment between them.
Status putProgramFilter(ProgramFilter which, uint32_t index, int programFd) noexcept;
// Removes the filter, and the hook if it was made for it; there may be none.
Status removeProgramFilter(ProgramFilter which, uint32_t index) noexcept;

}  // namespace sluice
