#include "native/attach/xdp-program.h"

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <new>

#include "native/bpf/load-program.h"
#include "native/host/namespaces.h"

namespace sluice {
namespace {

// As many frames as a batch may be, twice the size that a small one takes as kernel memory.
constexpr int SEND_BUFFER_BYTES = 4 << 20;

int bpf(int command, bpf_attr* attributes) noexcept {
  return static_cast<int>(syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

bpf_insn instruction(uint32_t code, uint8_t to, uint8_t from, int16_t at, int32_t value) {
  bpf_insn made = {};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = to & 0xf;
  made.src_reg = from & 0xf;
  made.off = at;
  made.imm = value;
  return made;
}

template <typename Info>
bool readInfo(const Descriptor& object, Info* info) noexcept {
  bpf_attr query = {};
  query.info.bpf_fd = static_cast<uint32_t>(object.get());
  query.info.info_len = sizeof *info;
  query.info.info = reinterpret_cast<uint64_t>(info);
  return bpf(BPF_OBJ_GET_INFO_BY_FD, &query) == 0;
}

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
  bpf_attr create = {};
  create.map_type = BPF_MAP_TYPE_XSKMAP;
  create.key_size = sizeof(uint32_t);
  create.value_size = sizeof(uint32_t);
  create.max_entries = queues;
  made->map_.reset(bpf(BPF_MAP_CREATE, &create));
  if (!made->map_.valid()) return Status::system("BPF_MAP_CREATE", errno);

  // return bpf_redirect_map(&map, context->rx_queue_index, XDP_DROP);
  const bpf_insn code[] = {
      instruction(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(xdp_md, rx_queue_index), 0),
      instruction(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, made->map_.get()),
      instruction(0, 0, 0, 0, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_DROP),
      instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  bpf_attr load = {};
  load.prog_type = BPF_PROG_TYPE_XDP;
  load.insn_cnt = sizeof code / sizeof code[0];
  load.insns = reinterpret_cast<uint64_t>(code);
  load.license = reinterpret_cast<uint64_t>("Apache-2.0");
  load.expected_attach_type = BPF_XDP;
  made->program_.reset(loadProgram(&load));
  if (!made->program_.valid()) return Status::system("BPF_PROG_LOAD", errno);
  *program = std::move(made);
  return {};
}

Status XdpProgram::adopt(uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                         std::unique_ptr<XdpProgram>* program) noexcept {
  if (descriptors.size() != 2) return {StatusCode::Argument};
  bpf_map_info map = {};
  bpf_link_info link = {};
  if (!readInfo(descriptors[0], &map) || map.type != BPF_MAP_TYPE_XSKMAP ||
      !readInfo(descriptors[1], &link) || link.type != BPF_LINK_TYPE_XDP ||
      link.xdp.ifindex != interfaceIndex) {
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
  const auto value = static_cast<uint32_t>(socketFd);
  bpf_attr update = {};
  update.map_fd = static_cast<uint32_t>(map_.get());
  update.key = reinterpret_cast<uint64_t>(&queue);
  update.value = reinterpret_cast<uint64_t>(&value);
  if (bpf(BPF_MAP_UPDATE_ELEM, &update) != 0) return Status::system("BPF_MAP_UPDATE_ELEM", errno);
  return {};
}

Status XdpProgram::attach(int namespaceFd, uint32_t interfaceIndex, Mode mode) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    bpf_attr create = {};
    create.link_create.prog_fd = static_cast<uint32_t>(program_.get());
    create.link_create.target_ifindex = interfaceIndex;
    create.link_create.attach_type = BPF_XDP;
    create.link_create.flags = mode == Mode::Native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    attached_.reset(bpf(BPF_LINK_CREATE, &create));
    if (!attached_.valid()) return Status::system("BPF_LINK_CREATE", errno);
    return {};
  });
}

}  // namespace sluice
