#pragma once

#include <cstdint>
#include <optional>

#include "native/packet/status.h"

namespace sluice {

// The calls below act in the namespace of the calling thread, by rtnetlink.
//
// Errors: System, with the message type as the call.

// Two tc filters that take an interface from the kernel's own stack: what comes in is dropped after
// packet sockets have seen it, what goes out is dropped unless a socket of ours has marked it; and
// whether the hook they hang on was made for them.
struct StackFilters {
  bool hookMade = false;
};

// Finds the filters that addStackFilters() made, here or in a process that is gone.
[[nodiscard]] std::optional<StackFilters> findStackFilters(uint32_t index) noexcept;
// Adds what is missing; `*filters` is what findStackFilters() found, and what there is afterwards.
Status addStackFilters(uint32_t index, uint32_t mark,
                       std::optional<StackFilters>* filters) noexcept;
// Takes the filters out, and the hook too when it was made for them.
Status removeStackFilters(uint32_t index, const StackFilters& filters) noexcept;

// A tc filter that hands what comes in by an interface to a program, behind all that is attached by
// descriptors; and what else was changed for it.
struct RedirectFilter {
  bool hookMade = false;
  bool promiscuousMade = false;
};

// Finds the filter that addRedirectFilter() made, here or in a process that is gone.
[[nodiscard]] std::optional<RedirectFilter> findRedirectFilter(uint32_t index) noexcept;
// Makes the hook too where there is none; `filter` says what else is to be undone with it.
Status addRedirectFilter(uint32_t index, int programFd, RedirectFilter filter) noexcept;
// Takes the filter out, and the hook too when it was made for it.
Status removeRedirectFilter(uint32_t index, const RedirectFilter& filter) noexcept;

}  // namespace sluice
