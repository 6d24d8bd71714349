#pragma once

#include <cstdint>

#include "native/conntrack/conn-table.h"
#include "native/layout/layout.gen.h"
#include "native/packet/flow-key.h"

namespace sluice {

// Writes a connection down, for a process that goes on where this one ends.
//
// Units: `nowUs` on the clock of the table's timers.
void saveConn(const ConnEntry& entry, uint64_t nowUs, SavedConnection* saved) noexcept;

// A saved connection's first packet. Any bytes will do.
[[nodiscard]] FlowKey savedKeyOf(const SavedConnection& saved) noexcept;

// Takes up a saved connection. Any bytes may be offered: what cannot be a connection is refused,
// and what can be is no more than a connection.
//
// Shape:  of a generation above `generationMax` it is to be judged on its next packet.
// Errors: false when it cannot be, when its name is taken, or when there is no room.
[[nodiscard]] bool restoreConn(const SavedConnection& saved, const ConnCharge& charge,
                               uint32_t generationMax, uint64_t nowUs, ConnTable* table) noexcept;

}  // namespace sluice
