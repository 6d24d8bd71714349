#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Sends netlink requests in one datagram and gathers all that the kernel answers to them.
//
// The kernel works through a datagram in one system call: a process that is killed meanwhile ends
// after the last request, never between two.
//
// Shape:  whole messages, each at a multiple of four bytes; the last asks for a dump or an
//         acknowledgement, and ends the exchange. `*replies` are whole messages too.
// Errors: System; ETIMEDOUT when the end of the answer does not come within seconds. What the
//         kernel refuses stands in the replies.
// Source: man 7 netlink.
Status exchangeNetlink(int namespaceFd, int protocol, std::span<const uint8_t> requests,
                       std::vector<uint8_t>* replies) noexcept;

// Opens a socket to which the kernel tells of every change of a link or an address of this
// process's own network namespace; reads do not wait. Errors: System.
Status openInterfaceEvents(Descriptor* events) noexcept;

// Appends all that has been told since the last call; `*overrun` when some of it was lost, so that
// everything has to be read anew.
//
// Shape:  whole messages, as exchangeNetlink() gives them.
// Errors: System.
Status readInterfaceEvents(int events, std::vector<uint8_t>* messages, bool* overrun) noexcept;

}  // namespace sluice
