#include "native/attach/kernel-features.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>

#include "native/bpf/load-program.h"
#include "native/host/descriptor.h"

namespace sluice {
namespace {

// Named here since the headers of an older kernel lack it; the running kernel may know it.
constexpr uint32_t BPF_ATTACH_TCX_INGRESS = 46;
#ifndef AF_XDP
constexpr int AF_XDP = 44;
#endif

// The kernel's structures for the two bpf() calls made here, as far as they are used.
struct ProgramLoad {
  uint32_t programType = BPF_PROG_TYPE_SCHED_CLS;
  uint32_t instructionCount = 0;
  uint64_t instructions = 0;
  uint64_t license = 0;
  uint8_t rest[96] = {};
};
struct LinkCreate {
  uint32_t programFd = 0;
  uint32_t targetIndex = 0;
  uint32_t attachType = BPF_ATTACH_TCX_INGRESS;
  uint32_t flags = 0;
  uint8_t rest[48] = {};
};

int errorOf(const Descriptor& made) noexcept { return made.valid() ? 0 : errno; }

int trySocket(int family) noexcept {
  return errorOf(Descriptor(socket(family, SOCK_RAW | SOCK_CLOEXEC, 0)));
}

// Loads a program of two instructions that lets everything pass.
Descriptor loadPassing() noexcept {
  bpf_insn instructions[2] = {};
  instructions[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  instructions[1].code = BPF_JMP | BPF_EXIT;
  ProgramLoad wanted;
  wanted.instructionCount = 2;
  wanted.instructions = reinterpret_cast<uint64_t>(instructions);
  wanted.license = reinterpret_cast<uint64_t>("Apache-2.0");
  return Descriptor(loadProgram(&wanted));
}

// The interface that it is attached to does not exist: all there is to learn is whether the kernel
// would look for one.
int tryAttach() noexcept {
  const Descriptor program = loadPassing();
  if (!program.valid()) return errno;
  LinkCreate link;
  link.programFd = static_cast<uint32_t>(program.get());
  link.targetIndex = INT_MAX;
  const int error =
      errorOf(Descriptor(static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof link))));
  return error == ENODEV ? 0 : error;
}

int trySeccomp() noexcept {
  uint32_t action = SECCOMP_RET_ERRNO;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
}

int tryFeature(KernelFeature feature) noexcept {
  switch (feature) {
    case KernelFeature::PacketSocket:
      return trySocket(AF_PACKET);
    case KernelFeature::XdpSocket:
      return trySocket(AF_XDP);
    case KernelFeature::Tun:
      return errorOf(Descriptor(open("/dev/net/tun", O_RDWR | O_CLOEXEC)));
    case KernelFeature::LoadProgram:
      return errorOf(loadPassing());
    case KernelFeature::AttachTcx:
      return tryAttach();
    case KernelFeature::Seccomp:
      return trySeccomp();
  }
  __builtin_unreachable();
}

}  // namespace

std::array<int, KERNEL_FEATURE_COUNT> tryKernelFeatures() noexcept {
  std::array<int, KERNEL_FEATURE_COUNT> errors = {};
  for (size_t feature = 0; feature < KERNEL_FEATURE_COUNT; ++feature) {
    errors[feature] = tryFeature(static_cast<KernelFeature>(feature));
  }
  return errors;
}

}  // namespace sluice
