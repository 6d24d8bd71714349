#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/packet/status.h"

namespace sluice {

// Makes the kernel forward every frame that arrives on one of two interfaces out of the other,
// unjudged, as long as no Sluice program runs first at the same hook. While a data plane guards
// both interfaces by programs that end with the process (see StackGuard), these run first and drop.
// So the wire fails open at the moment when its process ends, whatever ended it.
//
// The setting stays until any process calls clearFailOpen(). The outer interface is in promiscuous
// mode meanwhile, as under the data plane.
//
// Errors: System; EOPNOTSUPP with the fault StackFilters when a guard is by tc filters, which
//         outlive the process: nothing would pass then; EPERM of BPF_PROG_LOAD without CAP_BPF.
Status setFailOpen(int namespaceFd, uint32_t inside, uint32_t outside) noexcept;

// Undoes setFailOpen() if it is set. Errors: System.
Status clearFailOpen(int namespaceFd, uint32_t interfaceIndex) noexcept;

// Lists the interfaces of a namespace that fail open. Errors: System.
Status listFailOpen(int namespaceFd, std::vector<std::string>* names) noexcept;

}  // namespace sluice
