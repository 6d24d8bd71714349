#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "native/packet/bytes.h"
#include "native/packet/status.h"

namespace sluice {

// An address with a prefix length, as it is written: the host bits count.
struct HostAddress {
  uint8_t family = 0;  // 4 or 6
  uint8_t length = 0;
  std::array<uint8_t, 16> bytes = {};

  [[nodiscard]] size_t size() const noexcept { return family == 4 ? 4 : 16; }
};

// Reads `10.0.0.1/24` or `fd00::1`; without a length it is the whole address.
[[nodiscard]] bool parseHostAddress(const std::string& text, HostAddress* address) noexcept;

// Reads `02:00:00:00:00:01`.
[[nodiscard]] bool parseMac(const std::string& text, MacAddress* mac) noexcept;

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

// Without duplicate address detection, so that it can be used at once.
Status addAddress(uint32_t index, const HostAddress& address) noexcept;

// `gateway` may be null: the destination is on the link then. A gateway counts as on the link too.
Status addRoute(uint32_t index, const HostAddress& destination,
                const HostAddress* gateway) noexcept;
Status addNeighbour(uint32_t index, const HostAddress& address, const MacAddress& mac) noexcept;

// Makes a veth pair, down: `name` here, `peerName` in the namespace `peerNamespace`.
Status addVethPair(const char* name, const char* peerName, int peerNamespace) noexcept;

// Two tc filters that take an interface from the kernel's own stack: what comes in is dropped after
// packet sockets have seen it, what goes out is dropped unless a socket of ours has marked it; and
// whether the hook they hang on was made for them.
struct StackFilters {
  bool hookMade = false;
};

// Finds the filters that addStackFilters() made, here or in a process that is gone.
[[nodiscard]] bool findStackFilters(uint32_t index, StackFilters* filters) noexcept;
// Adds what is missing of them; `*filters` says what findStackFilters() found, if it did.
Status addStackFilters(uint32_t index, uint32_t mark, bool found, StackFilters* filters) noexcept;
// Takes the filters out, and the hook too when it was made for them.
Status removeStackFilters(uint32_t index, const StackFilters& filters) noexcept;

// A tc filter that hands what comes in by an interface to a program, behind all that is attached by
// descriptors; and what else was changed for it.
struct RedirectFilter {
  bool hookMade = false;
  bool promiscuousMade = false;
};

// Finds the filter that addRedirectFilter() made, here or in a process that is gone.
[[nodiscard]] bool findRedirectFilter(uint32_t index, RedirectFilter* filter) noexcept;
// Makes the hook too where there is none; `filter` says what else is to be undone with it.
Status addRedirectFilter(uint32_t index, int programFd, RedirectFilter filter) noexcept;
// Takes the filter out, and the hook too when it was made for it.
Status removeRedirectFilter(uint32_t index, const RedirectFilter& filter) noexcept;

// Whether an interface takes frames that are for others; `*changed` is set when it was otherwise.
Status setInterfacePromiscuous(uint32_t index, bool on, bool* changed) noexcept;

}  // namespace sluice
