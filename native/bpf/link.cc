#include "native/bpf/link.h"

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
