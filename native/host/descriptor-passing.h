#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// Most descriptors that one message carries.
inline constexpr size_t PASSED_DESCRIPTORS_MAX = 200;
// Longest message.
inline constexpr size_t PASSED_BYTES_MAX = 4'096;

// Listens for one process of this user's, or root's, on this machine, at a path that only this user
// may connect to.
//
// Owner:  the caller unlinks the path.
// Errors: Argument for a path that is too long; System.
Status listenForProcess(const std::string& path, Descriptor* listener) noexcept;

// Waits for that process. Whoever else calls is hung up on, and counts as nobody.
//
// Errors: System; ETIMEDOUT when nobody has come.
Status acceptProcess(int listener, uint32_t timeoutMs, Descriptor* connection) noexcept;

// Calls the process that listens at a path. Errors: System; EPERM when it is another user's.
Status callProcess(const std::string& path, Descriptor* connection) noexcept;

// Sends one message, with copies of some descriptors.
//
// Errors: Argument for one that is too long, or empty; System, ETIMEDOUT when nobody reads.
Status passDescriptors(int connection, std::span<const std::byte> bytes,
                       std::span<const int> descriptors) noexcept;

struct PassedMessage {
  std::vector<std::byte> bytes;  // empty: the other process has hung up, or is gone
  std::vector<Descriptor> descriptors;
};

// Waits for one message. Errors: System; ETIMEDOUT; Argument for one that is too long.
Status receiveDescriptors(int connection, uint32_t timeoutMs, PassedMessage* message) noexcept;

// Makes a file that is nowhere but in memory; its last descriptor takes it along.
Status createMemoryFile(const char* name, Descriptor* file) noexcept;
// From now on nobody can change it, not even who has it already. Errors: System.
Status sealMemoryFile(int file) noexcept;
// Whether that has been done.
[[nodiscard]] bool isSealed(int file) noexcept;

}  // namespace sluice
