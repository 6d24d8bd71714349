#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// The most descriptors in one message.
inline constexpr size_t PASSED_DESCRIPTORS_MAX = 200;
// The most bytes in one message.
inline constexpr size_t PASSED_BYTES_MAX = 4'096;

// Listens at a path for one process on this machine, of the same user or of root. Only this user
// may connect to the path.
//
// Owner:  the caller unlinks the path.
// Errors: Argument for a path that is too long; System.
Status listenForProcess(const std::string& path, Descriptor* listener) noexcept;

// Waits for that process. Connections of other users are closed and ignored.
//
// Errors: System; ETIMEDOUT when no process has connected.
Status acceptProcess(int listener, uint32_t timeoutMs, Descriptor* connection) noexcept;

// Connects to the process that listens at a path. Errors: System; EPERM when it belongs to another
// user.
Status callProcess(const std::string& path, Descriptor* connection) noexcept;

// Sends one message with copies of `descriptors`.
//
// Errors: Argument for a message that is too long or empty; System, ETIMEDOUT when the other
//         process does not read.
Status passDescriptors(int connection, std::span<const std::byte> bytes,
                       std::span<const int> descriptors) noexcept;

struct PassedMessage {
  std::vector<std::byte> bytes;  // empty: the other process has closed the connection or ended
  std::vector<Descriptor> descriptors;
};

// Waits for one message. Errors: System; ETIMEDOUT; Argument for a message that is too long.
Status receiveDescriptors(int connection, uint32_t timeoutMs, PassedMessage* message) noexcept;

// Makes a file in memory only. It is freed when its last descriptor is closed.
Status createMemoryFile(const char* name, Descriptor* file) noexcept;
// Seals the file: no process can change it any more, even if it holds a descriptor already. Errors:
// System.
Status sealMemoryFile(int file) noexcept;
// Whether the file is sealed.
[[nodiscard]] bool isSealed(int file) noexcept;

}  // namespace sluice
