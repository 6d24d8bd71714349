#pragma once

#include <cstdint>
#include <string>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Listens on TCP at a numeric address, in the process's own network namespace. The owner of the
// descriptor accepts connections. `*port` 0 asks for any free port; it is set to the port in use.
//
// Errors: Argument for text that is not an address; System.
Status listenTcp(const std::string& address, uint16_t* port, Descriptor* listener) noexcept;

}  // namespace sluice
