#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/packet/status.h"

namespace sluice {

// Has the kernel hand everything that comes in by one of two interfaces out by the other, unjudged,
// whenever no program of ours stands before that: while a data plane holds both by StackGuards of
// the kind that goes with the process, their programs come first and drop. So a wire that shall
// fail open does so the moment its process is gone, whatever ended it.
//
// It stays until clearFailOpen(), whoever calls it. The outer interface takes frames for others as
// well from then on, as the data plane had it do.
//
// Errors: System; EOPNOTSUPP and the fault StackFilters where a guard is of the kind that stays:
// nothing would pass then; EPERM of BPF_PROG_LOAD without CAP_BPF.
Status setFailOpen(int namespaceFd, uint32_t inside, uint32_t outside) noexcept;

// Takes that away again, where it is. Errors: System.
Status clearFailOpen(int namespaceFd, uint32_t interfaceIndex) noexcept;

// The interfaces of a namespace for which it is set. Errors: System.
Status listFailOpen(int namespaceFd, std::vector<std::string>* names) noexcept;

}  // namespace sluice
