#pragma once

#include <cstdint>

#include "native/packet/status.h"

namespace sluice {

constexpr const char* FORWARD_TABLE = "sluice-forward";
// At the forward hook: before most rules of others, behind the translation of Services.
constexpr int32_t FORWARD_PRIORITY = -10;

// What the forward hook needs of nftables in this process's own network namespace, as the table
// "sluice-forward" of two families.
//
// inet:   a rule that asks for a connection's state. The kernel tracks connections, IPv4 and IPv6,
// only
//         where a rule does. It changes nothing else.
// bridge: frames between the ports of a bridge that are neither IPv4, IPv6 nor ARP do not pass: the
//         forward hook never sees them, and a receiver takes a tag of VLAN 0 for none.
//
// Both stay until removeForwardRules().
//
// Errors: System, "change nf_tables": EOPNOTSUPP or ENOENT where the kernel has no such tables.
// Without
//         those of bridges `*bridges` is false and the rest is in force.
Status putForwardRules(bool* bridges) noexcept;
Status removeForwardRules() noexcept;
// Removes the table of one family; it may be absent. Errors: System.
Status removeForwardTable(uint8_t family) noexcept;

// Whether the rules are there: somebody may have flushed them. Errors: System.
Status haveForwardRules(bool* have) noexcept;

}  // namespace sluice
