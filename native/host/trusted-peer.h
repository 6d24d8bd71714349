#pragma once

#include <sys/socket.h>
#include <unistd.h>

namespace sluice {

// Whether the process at the other end of a unix socket is of the same user or of root, as the
// kernel noted it when it connected or listened.
[[nodiscard]] inline bool isTrustedPeer(int connection) noexcept {
  ucred peer = {};
  socklen_t bytes = sizeof peer;
  return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
         (peer.uid == 0 || peer.uid == geteuid());
}

}  // namespace sluice
