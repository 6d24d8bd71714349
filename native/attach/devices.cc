#include "native/attach/devices.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "native/attach/steering-program.h"
#include "native/bpf/load-program.h"
#include "native/host/namespaces.h"
#include "native/netlink/rtnetlink.h"
#include "native/packet/frame.h"

namespace sluice {
namespace {

// Named here since the headers of an older kernel lack them; the running kernel may know them.
constexpr unsigned TUN_OFFLOAD_USO4 = 0x20;
constexpr unsigned TUN_OFFLOAD_USO6 = 0x40;
constexpr uint32_t BPF_ATTACH_TCX_INGRESS = 46;
constexpr uint32_t BPF_ATTACH_TCX_EGRESS = 47;
constexpr uint32_t BPF_ATTACH_FIRST = 1u << 3;  // BPF_F_BEFORE: no other program has the first word
constexpr int TCX_NEXT = -1;
constexpr int TCX_DROP = TC_ACT_SHOT;

// Frames of our packet sockets carry it, so that they pass where the stack's own do not.
constexpr uint32_t FRAME_MARK = 0x51ce51ce;

// Room for what the outgoing interface has not sent yet: superframes count for more than 64 KiB.
constexpr int SEND_BUFFER_BYTES = 16 << 20;
// The same for superframes that wait to be taken.
constexpr int RECEIVE_BUFFER_BYTES = 32 << 20;

// The kernel's structures for the two bpf() calls made here, as far as they are used.
struct ProgramLoad {
  uint32_t programType;
  uint32_t instructionCount;
  uint64_t instructions;
  uint64_t license;
  uint8_t rest[96];
};
struct LinkCreate {
  uint32_t programFd;
  uint32_t targetIndex;
  uint32_t attachType;
  uint32_t flags;
  uint8_t rest[48];
};

constexpr bpf_insn instruction(int code, int destination, int source, int offset,
                               int value) noexcept {
  bpf_insn made = {};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = destination & 0xf;
  made.src_reg = source & 0xf;
  made.off = static_cast<int16_t>(offset);
  made.imm = value;
  return made;
}

// What the kernel tells of an attachment, as far as it is used.
struct LinkInfo {
  uint32_t type;
  uint32_t id;
  uint32_t programId;
  uint32_t padding;
  uint32_t interfaceIndex;
  uint32_t attachType;
  uint8_t rest[104];
};
struct InfoQuery {
  uint32_t fd;
  uint32_t bytes;
  uint64_t info;
  uint8_t rest[104];
};
constexpr uint32_t BPF_LINK_OF_TCX = 11;

// Whether a descriptor keeps a program attached to this interface, on this side.
bool isProgramLink(int fd, uint32_t attachType, uint32_t interfaceIndex) noexcept {
  LinkInfo info = {};
  InfoQuery query = {};
  query.fd = static_cast<uint32_t>(fd);
  query.bytes = sizeof info;
  query.info = reinterpret_cast<uint64_t>(&info);
  return syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &query, sizeof query) == 0 &&
         info.type == BPF_LINK_OF_TCX && info.interfaceIndex == interfaceIndex &&
         info.attachType == attachType;
}

// Attaches a program to an interface; it is detached when the descriptor closes.
Status attachProgram(uint32_t interfaceIndex, uint32_t attachType,
                     std::span<const bpf_insn> instructions, Descriptor* attached) noexcept {
  ProgramLoad load = {};
  load.programType = BPF_PROG_TYPE_SCHED_CLS;
  load.instructionCount = static_cast<uint32_t>(instructions.size());
  load.instructions = reinterpret_cast<uint64_t>(instructions.data());
  load.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const Descriptor program(loadProgram(&load));
  if (!program.valid()) return Status::system("BPF_PROG_LOAD", errno);

  LinkCreate create = {};
  create.programFd = static_cast<uint32_t>(program.get());
  create.targetIndex = interfaceIndex;
  create.attachType = attachType;
  create.flags = BPF_ATTACH_FIRST;
  attached->reset(static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &create, sizeof create)));
  if (!attached->valid()) return Status::system("BPF_LINK_CREATE", errno);
  return {};
}

// Attaches "drop everything" to an interface's ingress, and to its egress "drop what is not
// marked"; the mark is taken off, for whoever looks at marks later.
Status attachPrograms(uint32_t interfaceIndex, Descriptor* ingress, Descriptor* egress) noexcept {
  constexpr int MARK = offsetof(__sk_buff, mark);
  const bpf_insn dropAll[] = {
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, TCX_DROP),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  const bpf_insn dropUnmarked[] = {
      instruction(BPF_LDX | BPF_MEM | BPF_W, 2, 1, MARK, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, TCX_DROP),
      instruction(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 3, static_cast<int>(FRAME_MARK)),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
      instruction(BPF_STX | BPF_MEM | BPF_W, 1, 2, MARK, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, TCX_NEXT),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  const Status status = attachProgram(interfaceIndex, BPF_ATTACH_TCX_INGRESS, dropAll, ingress);
  if (!status.ok()) return status;
  return attachProgram(interfaceIndex, BPF_ATTACH_TCX_EGRESS, dropUnmarked, egress);
}

// Opens one queue of a TAP, the first one makes it, with the index `index` unless that is 0.
Status openTapQueue(const std::string& name, bool oneOfMany, uint32_t index,
                    Descriptor* queue) noexcept {
  Descriptor tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.valid()) return Status::system("open /dev/net/tun", errno, Fault::TunDevice);
  if (index != 0 && ioctl(tap.get(), TUNSETIFINDEX, &index) != 0) {
    return Status::system("TUNSETIFINDEX", errno);
  }
  ifreq request = {};
  std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (oneOfMany ? IFF_MULTI_QUEUE : 0));
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0) return Status::system("TUNSETIFF", errno);
  int headerBytes = sizeof(Offload);
  if (ioctl(tap.get(), TUNSETVNETHDRSZ, &headerBytes) != 0) {
    return Status::system("TUNSETVNETHDRSZ", errno);
  }
  const unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(tap.get(), TUNSETOFFLOAD, base | TUN_OFFLOAD_USO4 | TUN_OFFLOAD_USO6) != 0 &&
      ioctl(tap.get(), TUNSETOFFLOAD, base) != 0) {
    return Status::system("TUNSETOFFLOAD", errno);
  }
  *queue = std::move(tap);
  return {};
}

// The guards of this process that rely on an interface's filters: while an interface goes from one
// link to another there are two, and only the last takes the filters out.
class FilterHolders {
 public:
  static void add(uint64_t namespaceNumber, uint32_t index) {
    const std::lock_guard<std::mutex> lock(mutex());
    ++counts()[{namespaceNumber, index}];
  }
  // Whether that was the last one.
  static bool remove(uint64_t namespaceNumber, uint32_t index) {
    const std::lock_guard<std::mutex> lock(mutex());
    const auto found = counts().find({namespaceNumber, index});
    if (found == counts().end() || --found->second > 0) return false;
    counts().erase(found);
    return true;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex only;
    return only;
  }
  static std::map<std::pair<uint64_t, uint32_t>, unsigned>& counts() {
    static std::map<std::pair<uint64_t, uint32_t>, unsigned> only;
    return only;
  }
};

// The number in "net:[4026531840]", which is what that link says; 0 where it cannot be read. Not by
// stat(): the addon could not be loaded where the C library is older than 2.33 then.
uint64_t ownNamespaceNumber() noexcept {
  constexpr std::string_view START = "net:[";
  char text[64];
  const ssize_t length = readlink("/proc/thread-self/ns/net", text, sizeof text);
  const std::string_view link(text, length > 0 ? static_cast<size_t>(length) : 0);
  uint64_t number = 0;
  if (link.starts_with(START)) {
    std::from_chars(link.data() + START.size(), link.data() + link.size(), number);
  }
  return number;
}

// Asks about an interface by one of ethtool's commands; false when it has no answer.
template <typename Answer>
bool askDriver(int fd, const std::string& interface, uint32_t command, Answer* answer) noexcept {
  *answer = {};
  answer->cmd = command;
  ifreq request = {};
  std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
  request.ifr_data = reinterpret_cast<char*>(answer);
  return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

template <typename Value>
bool setOption(int fd, int option, const Value& value) noexcept {
  return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0;
}

}  // namespace

Status openTap(int namespaceFd, const TapOptions& options, const Steering& steering,
               std::vector<Descriptor>* queues) noexcept {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ) return {StatusCode::Argument};
  return inNamespace(namespaceFd, [&]() -> Status {
    std::vector<Descriptor> opened(steering.workers);
    uint32_t index = 0;
    const bool found = options.lasting && interfaceIndex(options.name.c_str(), &index).ok();
    Status status;
    for (size_t queue = 0; status.ok() && queue < opened.size(); ++queue) {
      const uint32_t wanted = found || queue > 0 ? 0 : options.index;
      status = openTapQueue(options.name, opened.size() > 1, wanted, &opened[queue]);
      if (!status.ok() && status.error == EBUSY && wanted != 0) {
        status = openTapQueue(options.name, opened.size() > 1, 0, &opened[queue]);
      }
    }
    if (!status.ok()) return status;
    if (opened.size() > 1) status = steerTapQueues(opened[0].get(), steering);
    if (!status.ok()) return status;
    if (!found) {
      status = interfaceIndex(options.name.c_str(), &index);
      if (status.ok()) status = setInterfaceMac(index, options.mac);
      if (status.ok()) status = setInterfaceMtu(index, options.mtu);
    }
    if (status.ok() && options.lasting && ioctl(opened[0].get(), TUNSETPERSIST, 1) != 0) {
      return Status::system("TUNSETPERSIST", errno);
    }
    if (status.ok()) *queues = std::move(opened);
    return status;
  });
}

Status steerTapQueues(int tap, const Steering& steering) noexcept {
  Descriptor program;
  if (!loadSteeringProgram(steering, &program).ok()) return {};
  int programFd = program.get();
  if (ioctl(tap, TUNSETSTEERINGEBPF, &programFd) != 0) {
    return Status::system("TUNSETSTEERINGEBPF", errno);
  }
  return {};
}

Status createVethPair(int namespaceA, const std::string& nameA, int namespaceB,
                      const std::string& nameB) noexcept {
  // The kernel wants a descriptor for the peer's namespace, the process's own too.
  Descriptor own;
  if (namespaceB == OWN_NAMESPACE) {
    int fd = -1;
    if (const Status status = openNamespace("/proc/thread-self/ns/net", &fd); !status.ok()) {
      return status;
    }
    own.reset(fd);
  }
  const int peer = own.valid() ? own.get() : namespaceB;
  return inNamespace(namespaceA, [&] { return addVethPair(nameA.c_str(), nameB.c_str(), peer); });
}

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
    // Beyond the system's limit where we may; else as much as it allows.
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &SEND_BUFFER_BYTES, sizeof SEND_BUFFER_BYTES) !=
            0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &SEND_BUFFER_BYTES, sizeof SEND_BUFFER_BYTES) != 0) {
      return Status::system("SO_SNDBUF", errno);
    }
    // Only beyond the system's limit, which holds two superframes: not in a user namespace.
    made.queuesSuperframes = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &RECEIVE_BUFFER_BYTES,
                                        sizeof RECEIVE_BUFFER_BYTES) == 0;
    *opened = std::move(made);
    return {};
  });
}

Status readInterfaceTraits(int namespaceFd, const std::string& interface,
                           InterfaceTraits* traits) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    if (const Status status = interfaceIndex(interface.c_str(), &traits->index); !status.ok()) {
      return status;
    }
    const Descriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!any.valid()) return Status::system("socket", errno);
    ifreq request = {};
    std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
    if (ioctl(any.get(), SIOCGIFMTU, &request) != 0) return Status::system("SIOCGIFMTU", errno);
    traits->mtu = static_cast<uint32_t>(request.ifr_mtu);
    ethtool_drvinfo driver;
    if (askDriver(any.get(), interface, ETHTOOL_GDRVINFO, &driver)) {
      traits->driver.assign(driver.driver, strnlen(driver.driver, sizeof driver.driver));
      // Virtual interfaces have no bus, or name one that is none.
      traits->hardware = std::strchr(driver.bus_info, ':') != nullptr ||
                         std::strncmp(driver.bus_info, "virtio", 6) == 0;
    }
    ethtool_channels channels;
    if (askDriver(any.get(), interface, ETHTOOL_GCHANNELS, &channels)) {
      traits->queues = std::max(1u, channels.rx_count + channels.combined_count);
    }
    ethtool_value segmentation;
    traits->segmentation =
        askDriver(any.get(), interface, ETHTOOL_GTSO, &segmentation) && segmentation.data != 0;
    return {};
  });
}

Status StackGuard::hold(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                        std::unique_ptr<StackGuard>* guard) noexcept {
  std::unique_ptr<StackGuard> made(new (std::nothrow) StackGuard(interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  if (namespaceFd != OWN_NAMESPACE) {
    made->namespace_.reset(fcntl(namespaceFd, F_DUPFD_CLOEXEC, 0));
    if (!made->namespace_.valid()) return Status::system("dup", errno);
  }
  if (lasting) {
    const Status held = holdStack(namespaceFd, interfaceIndex);
    if (held.ok()) *guard = std::move(made);
    return held;
  }
  const Status status = inNamespace(namespaceFd, [&]() -> Status {
    const bool found = findStackFilters(interfaceIndex, &made->filters_);
    if (!found && attachPrograms(interfaceIndex, &made->ingress_, &made->egress_).ok()) return {};
    made->ingress_.reset();
    const Status filtered = addStackFilters(interfaceIndex, FRAME_MARK, found, &made->filters_);
    made->filtered_ = filtered.ok();
    made->namespaceNumber_ = ownNamespaceNumber();
    if (made->filtered_) FilterHolders::add(made->namespaceNumber_, interfaceIndex);
    return filtered;
  });
  if (status.ok()) *guard = std::move(made);
  return status;
}

Status StackGuard::adopt(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                         std::vector<Descriptor> descriptors,
                         std::unique_ptr<StackGuard>* guard) noexcept {
  if (lasting || descriptors.size() != 2 ||
      !isProgramLink(descriptors[0].get(), BPF_ATTACH_TCX_INGRESS, interfaceIndex) ||
      !isProgramLink(descriptors[1].get(), BPF_ATTACH_TCX_EGRESS, interfaceIndex)) {
    return hold(namespaceFd, interfaceIndex, lasting, guard);
  }
  std::unique_ptr<StackGuard> made(new (std::nothrow) StackGuard(interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  made->ingress_ = std::move(descriptors[0]);
  made->egress_ = std::move(descriptors[1]);
  *guard = std::move(made);
  return {};
}

std::vector<int> StackGuard::descriptors() const {
  if (!ingress_.valid() || !egress_.valid()) return {};
  return {ingress_.get(), egress_.get()};
}

StackGuard::~StackGuard() {
  if (!filtered_ || !FilterHolders::remove(namespaceNumber_, interfaceIndex_) || !owned_) return;
  (void)inNamespace(namespace_.get(),
                    [this] { return removeStackFilters(interfaceIndex_, filters_); });
}

Status holdStack(int namespaceFd, uint32_t interfaceIndex) noexcept {
  return inNamespace(namespaceFd, [&] {
    StackFilters filters;
    const bool found = findStackFilters(interfaceIndex, &filters);
    return addStackFilters(interfaceIndex, FRAME_MARK, found, &filters);
  });
}

Status isStackHeld(int namespaceFd, uint32_t interfaceIndex, bool* held) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    StackFilters filters;
    *held = findStackFilters(interfaceIndex, &filters);
    return {};
  });
}

Status releaseStack(int namespaceFd, uint32_t interfaceIndex) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    StackFilters filters;
    if (!findStackFilters(interfaceIndex, &filters)) return {};
    return removeStackFilters(interfaceIndex, filters);
  });
}

}  // namespace sluice
