#include "native/attach/packet-socket.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "native/host/namespaces.h"
#include "native/netlink/links.h"

namespace sluice {
namespace {

// Room for frames that the outgoing interface has not sent yet. A superframe counts for more than
// 64 KiB.
constexpr int SEND_BUFFER_BYTES = 16 << 20;
// The same for superframes that wait to be received.
constexpr int RECEIVE_BUFFER_BYTES = 32 << 20;

template <typename Value>
bool setOption(int fd, int option, const Value& value) noexcept {
  return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0;
}

}  // namespace

Status openPacketSocket(int namespaceFd, const std::string& interface,
                        PacketSocket* opened) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    PacketSocket made;
    if (const Status status = interfaceIndex(interface.c_str(), &made.interfaceIndex);
        !status.ok()) {
      return status;
    }
    // Protocol 0: no frame is queued before bind() names the interface.
    made.fd.reset(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made.fd.valid()) return Status::system("socket AF_PACKET", errno);
    const int fd = made.fd.get();
    ifreq request = {};
    std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
    if (ioctl(fd, SIOCGIFMTU, &request) != 0) return Status::system("SIOCGIFMTU", errno);
    made.mtu = static_cast<uint32_t>(request.ifr_mtu);
    if (!setOption<int>(fd, PACKET_VERSION, TPACKET_V2)) {
      return Status::system("PACKET_VERSION", errno);
    }
    if (!setOption<int>(fd, PACKET_VNET_HDR, 1)) return Status::system("PACKET_VNET_HDR", errno);
    if (!setOption<int>(fd, PACKET_IGNORE_OUTGOING, 1)) {
      return Status::system("PACKET_IGNORE_OUTGOING", errno);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &FRAME_MARK, sizeof FRAME_MARK) != 0) {
      return Status::system("SO_MARK", errno);
    }
    // Beyond the system's limit if we may; otherwise as much as it allows.
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &SEND_BUFFER_BYTES, sizeof SEND_BUFFER_BYTES) !=
            0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &SEND_BUFFER_BYTES, sizeof SEND_BUFFER_BYTES) != 0) {
      return Status::system("SO_SNDBUF", errno);
    }
    // Only if we may exceed the system's limit, which holds two superframes: not in a user
    // namespace.
    made.queuesSuperframes = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &RECEIVE_BUFFER_BYTES,
                                        sizeof RECEIVE_BUFFER_BYTES) == 0;
    *opened = std::move(made);
    return {};
  });
}

}  // namespace sluice
