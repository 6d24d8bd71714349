#include "native/bpf/link.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "native/bpf/call.h"

namespace sluice {
namespace {

constexpr uint32_t LINK_OF_XDP = 6;
constexpr uint32_t LINK_OF_TCX = 11;

static_assert(static_cast<uint32_t>(BpfHook::Xdp) == BPF_XDP);

}  // namespace

Status attachProgram(int program, uint32_t interfaceIndex, BpfHook hook, uint32_t flags,
                     Descriptor* attached) noexcept {
  bpf_attr create = noAttributes();
  create.link_create.prog_fd = static_cast<uint32_t>(program);
  create.link_create.target_ifindex = interfaceIndex;
  create.link_create.attach_type = static_cast<uint32_t>(hook);
  create.link_create.flags = flags;
  attached->reset(callBpf(BPF_LINK_CREATE, &create));
  return attached->valid() ? Status{} : Status::system("BPF_LINK_CREATE", errno);
}

Status attachForwardProgram(int program, uint32_t family, int32_t priority,
                            Descriptor* attached) noexcept {
  constexpr uint32_t NF_INET_FORWARD = 2;
  // As bpf_attr of Linux 6.4: older headers lack the member.
  struct {
    uint32_t program;
    uint32_t target;
    uint32_t attachType;
    uint32_t flags;
    uint32_t family;
    uint32_t hook;
    int32_t priority;
    uint32_t hookFlags;
  } create = {};
  create.program = static_cast<uint32_t>(program);
  create.attachType = static_cast<uint32_t>(BpfHook::Netfilter);
  create.family = family;
  create.hook = NF_INET_FORWARD;
  create.priority = priority;
  attached->reset(static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &create, sizeof create)));
  return attached->valid() ? Status{} : Status::system("BPF_LINK_CREATE", errno);
}

Status exchangeProgram(int link, int program) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.link_update.link_fd = static_cast<uint32_t>(link);
  attributes.link_update.new_prog_fd = static_cast<uint32_t>(program);
  if (callBpf(BPF_LINK_UPDATE, &attributes) == 0) return {};
  return Status::system("BPF_LINK_UPDATE", errno);
}

Status pin(int fd, const char* path) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.pathname = reinterpret_cast<uint64_t>(path);
  attributes.bpf_fd = static_cast<uint32_t>(fd);
  if (callBpf(BPF_OBJ_PIN, &attributes) == 0) return {};
  return Status::system("BPF_OBJ_PIN", errno);
}

Status openPinned(const char* path, Descriptor* object) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.pathname = reinterpret_cast<uint64_t>(path);
  object->reset(callBpf(BPF_OBJ_GET, &attributes));
  return object->valid() ? Status{} : Status::system("BPF_OBJ_GET", errno);
}

bool isAttached(int fd, uint32_t interfaceIndex, BpfHook hook) noexcept {
  bpf_link_info info = {};
  if (!readBpfInfo(fd, &info)) return false;
  // An interface's index and, for a tcx link, the hook: older headers have only the first field.
  struct {
    uint32_t interfaceIndex;
    uint32_t hook;
  } place;
  static_assert(offsetof(bpf_link_info, xdp) + sizeof place <= sizeof info);
  std::memcpy(&place, &info.xdp, sizeof place);
  if (place.interfaceIndex != interfaceIndex) return false;
  if (hook == BpfHook::Xdp) return info.type == LINK_OF_XDP;
  return info.type == LINK_OF_TCX && place.hook == static_cast<uint32_t>(hook);
}

}  // namespace sluice
