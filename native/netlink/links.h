#pragma once

#include <cstdint>
#include <string>

#include "native/netlink/host-address.h"
#include "native/packet/bytes.h"
#include "native/packet/status.h"

namespace sluice {

// The calls below act in the namespace of the calling thread, by rtnetlink.
//
// Errors: System, with the message type as the call; Argument for a name that is too long.
Status interfaceIndex(const char* name, uint32_t* index) noexcept;
Status renameInterface(uint32_t index, const char* name) noexcept;
Status setInterfaceMac(uint32_t index, const MacAddress& mac) noexcept;
Status setInterfaceMtu(uint32_t index, uint32_t mtu) noexcept;
Status setInterfaceUp(uint32_t index, bool up) noexcept;
// Whether the kernel gives the interface an fe80:: address of its own.
Status setInterfaceLinkLocal(uint32_t index, bool automatic) noexcept;
Status deleteInterface(uint32_t index) noexcept;
// Moves an interface, which keeps its index if that is free there.
Status moveInterface(uint32_t index, int namespaceFd) noexcept;

// Adds an address without duplicate address detection, so that it can be used at once.
Status addAddress(uint32_t index, const HostAddress& address) noexcept;

// With a null `gateway` the destination is on the link. A gateway counts as on the link, too.
Status addRoute(uint32_t index, const HostAddress& destination,
                const HostAddress* gateway) noexcept;
Status addNeighbour(uint32_t index, const HostAddress& address, const MacAddress& mac) noexcept;

// Switches promiscuous mode on or off; `*changed` is set when the mode was the other one before.
Status setInterfacePromiscuous(uint32_t index, bool on, bool* changed) noexcept;

// Makes a veth pair, which is down, with one end in each namespace. Errors: System.
Status createVethPair(int namespaceA, const std::string& nameA, int namespaceB,
                      const std::string& nameB) noexcept;

}  // namespace sluice
