#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Sends netlink requests in one datagram and collects all of the kernel's replies.
//
// The kernel handles all requests of a datagram in one system call: a process that is killed
// meanwhile ends after the last request, never between two.
//
// Shape:  whole messages, each at a multiple of four bytes; the last asks for a dump or an
//         acknowledgement, and ends the exchange. `*replies` are whole messages too.
// Errors: System; ETIMEDOUT when the end of the reply does not come within seconds. Requests that
//         the kernel refuses have an error in the replies.
// `checks`: Strict makes the kernel read the attributes of a request for a dump, and refuse what it
//         does not know of it (NETLINK_GET_STRICT_CHK); kernels before 4.20 do not.
// Source: man 7 netlink.
enum class NetlinkChecks : uint8_t { Loose, Strict };
Status exchangeNetlink(int namespaceFd, int protocol, std::span<const uint8_t> requests,
                       std::vector<uint8_t>* replies,
                       NetlinkChecks checks = NetlinkChecks::Loose) noexcept;

// Sends the same requests in several namespaces, many at a time: the kernel waits for milliseconds
// in some of them, without doing anything. `*replies` has an entry for each namespace.
//
// Errors: as exchangeNetlink(), the first in the order of the namespaces; the others were tried.
Status exchangeNetlinkEach(std::span<const uint32_t> namespaceFds, int protocol,
                           std::span<const uint8_t> requests,
                           std::vector<std::vector<uint8_t>>* replies) noexcept;

// Opens a socket on which the kernel reports every change of a link or an address in this process's
// own network namespace; reads do not wait. Errors: System.
Status openInterfaceEvents(Descriptor* events) noexcept;

// Appends all messages since the last call. Sets `*overrun` when some were lost: the caller must
// then read all state again.
//
// Shape:  whole messages, as exchangeNetlink() gives them.
// Errors: System.
Status readInterfaceEvents(int events, std::vector<uint8_t>* messages, bool* overrun) noexcept;

}  // namespace sluice
