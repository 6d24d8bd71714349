#pragma once

#include <cstdint>

#include "native/conntrack/conn-table.h"
#include "native/layout/layout.gen.h"
#include "native/packet/flow-key.h"

namespace sluice {

// Saves a connection for a successor process.
//
// Units: `nowUs` on the clock of the table's timers.
void saveConn(const ConnEntry& entry, uint64_t nowUs, SavedConnection* saved) noexcept;

// The key of a saved connection's first packet. Shape: any bytes.
[[nodiscard]] FlowKey savedKeyOf(const SavedConnection& saved) noexcept;

// Loads a saved connection from any bytes. Bytes that cannot be a connection are refused; others
// can do no more than add one connection.
//
// Shape:  a connection of a generation above `generationMax` is judged again on its next packet.
// Errors: false when the bytes cannot be a connection, when its name is taken, or when there is no
//         room.
[[nodiscard]] bool restoreConn(const SavedConnection& saved, const ConnCharge& charge,
                               uint32_t generationMax, uint64_t nowUs, ConnTable* table) noexcept;

}  // namespace sluice
