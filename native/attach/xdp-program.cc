#include "native/attach/xdp-program.h"

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <new>

#include "native/bpf/assembler.h"
#include "native/bpf/link.h"
#include "native/bpf/map.h"
#include "native/bpf/program.h"
#include "native/host/namespaces.h"

namespace sluice {
namespace {

// Room for a batch of frames, at twice the kernel memory that a small frame takes.
constexpr int SEND_BUFFER_BYTES = 4 << 20;

}  // namespace

Status openXdpSocket(int namespaceFd, Descriptor* fd) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    Descriptor made(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!made.valid()) return Status::system("socket AF_XDP", errno);
    // Best effort: with less, a batch takes more system calls.
    (void)setsockopt(made.get(), SOL_SOCKET, SO_SNDBUFFORCE, &SEND_BUFFER_BYTES,
                     sizeof SEND_BUFFER_BYTES);
    *fd = std::move(made);
    return {};
  });
}

Status XdpProgram::load(uint32_t queues, std::unique_ptr<XdpProgram>* program) noexcept {
  std::unique_ptr<XdpProgram> made(new (std::nothrow) XdpProgram);
  if (made == nullptr) return {StatusCode::Limit};
  Status status = createMap(BPF_MAP_TYPE_XSKMAP, sizeof(uint32_t), queues, &made->map_);
  if (!status.ok()) return status;

  // return bpf_redirect_map(&map, context->rx_queue_index, XDP_DROP);
  Assembler code;
  code.load(BPF_W, R2, R1, offsetof(xdp_md, rx_queue_index));
  code.loadMap(R1, made->map_.get());
  code.set(R3, XDP_DROP);
  code.call(BPF_FUNC_redirect_map);
  code.exit();
  status = loadProgram(BPF_PROG_TYPE_XDP, code.finish(), &made->program_);
  if (status.ok()) *program = std::move(made);
  return status;
}

Status XdpProgram::adopt(uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                         std::unique_ptr<XdpProgram>* program) noexcept {
  if (descriptors.size() != 2) return {StatusCode::Argument};
  if (!isMap(descriptors[0].get(), BPF_MAP_TYPE_XSKMAP) ||
      !isAttached(descriptors[1].get(), interfaceIndex, BpfHook::Xdp)) {
    return {StatusCode::Argument};
  }
  std::unique_ptr<XdpProgram> made(new (std::nothrow) XdpProgram);
  if (made == nullptr) return {StatusCode::Limit};
  made->map_ = std::move(descriptors[0]);
  made->attached_ = std::move(descriptors[1]);
  *program = std::move(made);
  return {};
}

Status XdpProgram::give(uint32_t queue, int socketFd) noexcept {
  return putInMap(map_.get(), &queue, static_cast<uint32_t>(socketFd));
}

Status XdpProgram::attach(int namespaceFd, uint32_t interfaceIndex, Mode mode) noexcept {
  return inNamespace(namespaceFd, [&] {
    const uint32_t flags = mode == Mode::Native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    return attachProgram(program_.get(), interfaceIndex, BpfHook::Xdp, flags, &attached_);
  });
}

}  // namespace sluice
