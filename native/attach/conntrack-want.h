#pragma once

#include "native/packet/status.h"

namespace sluice {

// Makes the kernel track connections in this process's own network namespace, IPv4 and IPv6: it
// does so only where a rule asks for a connection's state. The rule changes nothing else. It stays,
// in the nftables table "sluice-conntrack", until unwantConntrack(). Both may be called again.
//
// Errors: System, "change nf_tables": EOPNOTSUPP or ENOENT where the kernel cannot.
Status wantConntrack() noexcept;
Status unwantConntrack() noexcept;

}  // namespace sluice
