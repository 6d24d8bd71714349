#pragma once

#include <cstdint>
#include <string>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Listens on TCP at a numeric address, in the process's own network namespace, for whoever gets the
// descriptor to accept. `port` 0 asks for any; it says which one it became.
//
// Errors: Argument for text that is no address; System.
Status listenTcp(const std::string& address, uint16_t* port, Descriptor* listener) noexcept;

}  // namespace sluice
