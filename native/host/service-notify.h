#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "native/packet/status.h"

namespace sluice {

// Sends one message to the service manager; Node has no Unix datagrams of its own.
//
// Shape:  `socketPath` is NOTIFY_SOCKET: a path, or @ and an abstract name. `descriptors` are sent
//         with the message and stay open here.
// Errors: System; Argument when the path is too long, or there are more than 16 descriptors.
// Source: man 3 sd_notify.
Status notifyService(const std::string& socketPath, const std::string& message,
                     std::span<const int> descriptors) noexcept;

// Waits until the service manager has read all earlier messages.
//
// Errors: what notifyService() returns; ETIMEDOUT.
// Source: man 3 sd_notify_barrier.
Status awaitService(const std::string& socketPath, uint32_t timeoutMs) noexcept;

}  // namespace sluice
