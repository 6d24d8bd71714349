#include "native/attach/kernel-features.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>

#include "native/bpf/assembler.h"
#include "native/bpf/link.h"
#include "native/bpf/program.h"
#include "native/host/descriptor.h"

namespace sluice {
namespace {

// Defined here since the headers of an older kernel lack it; the running kernel may know it.
#ifndef AF_XDP
constexpr int AF_XDP = 44;
#endif

int errorOf(const Descriptor& made) noexcept { return made.valid() ? 0 : errno; }

int trySocket(int family) noexcept {
  return errorOf(Descriptor(socket(family, SOCK_RAW | SOCK_CLOEXEC, 0)));
}

// Loads a program of two instructions that lets everything pass.
Status loadPassing(Descriptor* program) noexcept {
  Assembler code;
  code.set(R0, 0);
  code.exit();
  return loadProgram(BPF_PROG_TYPE_SCHED_CLS, code.finish(), program);
}

int tryLoad() noexcept {
  Descriptor program;
  return loadPassing(&program).error;
}

// Attaches to an interface that does not exist: the errno shows whether the kernel knows the call.
int tryAttach() noexcept {
  Descriptor program;
  Status status = loadPassing(&program);
  if (!status.ok()) return status.error;
  Descriptor attached;
  status = attachProgram(program.get(), INT_MAX, BpfHook::TcxIngress, 0, &attached);
  return status.error == ENODEV ? 0 : status.error;
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
      return tryLoad();
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
