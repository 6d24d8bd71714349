#pragma once

#include <type_traits>

#include "native/packet/status.h"

namespace sluice {

// Namespaces are given as descriptors; this value means the process's own namespace.
inline constexpr int OWN_NAMESPACE = -1;

// Makes a network namespace whose loopback is up.
//
// Owner:  the caller closes `*fd`; the namespace goes with its last descriptor, process or socket.
// Errors: System.
Status createNamespace(int* fd) noexcept;

// Opens a namespace file such as /proc/123/ns/net. Owner: the caller closes `*fd`.
Status openNamespace(const char* path, int* fd) noexcept;

// Writes /proc/sys/net/<key> as seen in a namespace. Errors: Argument for a key that leads outside
// that directory.
Status setSysctl(int namespaceFd, const char* key, const char* value) noexcept;

// Runs `work(context)` on a new thread inside a namespace and waits for it to end. Sockets that the
// thread opens stay in that namespace.
//
// Errors: System, when the namespace cannot be entered; else what `work` returns.
Status runInNamespace(int namespaceFd, Status (*work)(void*), void* context) noexcept;

template <typename Work>
Status inNamespace(int namespaceFd, Work&& work) noexcept {
  using Plain = std::remove_reference_t<Work>;
  return runInNamespace(
      namespaceFd, [](void* context) -> Status { return (*static_cast<Plain*>(context))(); },
      const_cast<std::remove_const_t<Plain>*>(&work));
}

}  // namespace sluice
