#pragma once

#include <cstdint>
#include <string>

#include "native/host/descriptor.h"
#include "native/host/namespaces.h"
#include "native/packet/status.h"

namespace sluice {

// Listens on TCP at a numeric address, in a network namespace. The owner of the descriptor accepts
// connections, from any namespace. `*port` 0 asks for any free port; it is set to the port in use.
//
// Errors: Argument for text that is not an address; System.
Status listenTcp(int namespaceFd, const std::string& address, uint16_t* port,
                 Descriptor* listener) noexcept;

// Listens on a unix socket at a path where there is nothing. Only this user may connect until its
// mode is changed.
//
// Errors: Argument for a path that is too long; System.
Status listenUnix(const std::string& path, Descriptor* listener) noexcept;

// Opens a TCP socket at a free port of a numeric address, in this thread's namespace. Until it is
// closed no other socket can have that port, whatever options it asks for.
//
// Errors: as listenTcp().
Status holdTcpPort(const std::string& address, uint16_t* port, Descriptor* held) noexcept;

// Begins to connect such a socket, without waiting. Errors: as listenTcp().
Status beginConnect(int socket, const std::string& address, uint16_t port) noexcept;

// Takes a UDP port of a numeric address, in a network namespace; no other socket can have it too.
//
// Errors: as listenTcp().
Status bindUdp(int namespaceFd, const std::string& address, uint16_t port,
               Descriptor* bound) noexcept;

}  // namespace sluice
