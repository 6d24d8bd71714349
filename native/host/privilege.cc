#include "native/host/privilege.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "native/host/descriptor.h"

namespace sluice {
namespace {

#if defined(__x86_64__)
constexpr uint32_t ARCHITECTURE = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t ARCHITECTURE = AUDIT_ARCH_AARCH64;
#endif

// The system calls of a packet thread, with or without a vDSO, and of its end.
constexpr uint32_t ALLOWED_CALLS[] = {
    // Frames.
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_recvfrom,
    SYS_recvmsg, SYS_recvmmsg, SYS_getsockopt,
    // Waiting.
    SYS_epoll_pwait, SYS_epoll_ctl, SYS_ppoll, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep,
    SYS_sched_yield, SYS_restart_syscall,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
    // Clocks and places.
    SYS_clock_gettime, SYS_gettimeofday, SYS_getcpu, SYS_getpid, SYS_gettid, SYS_sched_getaffinity,
    // Freeing memory that was allocated before.
    SYS_munmap, SYS_madvise, SYS_brk,
    // Signals, crash reports, and the end of the thread.
    SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_tgkill, SYS_set_robust_list,
    SYS_exit, SYS_exit_group};

// Allowed for the thread itself alone: a worker leaves a CPU that another thread keeps.
constexpr uint32_t OWN_CALL = SYS_sched_setaffinity;

// Allowed unless they ask for executable memory.
constexpr uint32_t MEMORY_CALLS[] = {SYS_mmap, SYS_mprotect};
constexpr size_t PROTECTION_ARGUMENT = 2;

// System calls that a process that only serves sockets never needs.
constexpr uint32_t LISTENER_DENIED_CALLS[] = {
    // Files by their names.
    SYS_openat, SYS_openat2, SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_unlinkat,
    SYS_renameat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_mkdirat, SYS_mknodat, SYS_fchmodat,
    SYS_fchownat, SYS_truncate, SYS_chdir, SYS_chroot, SYS_pivot_root, SYS_setxattr,
    SYS_removexattr, SYS_memfd_create,
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_unlink, SYS_rename, SYS_link, SYS_symlink, SYS_mkdir, SYS_rmdir,
    SYS_mknod, SYS_chmod, SYS_chown, SYS_lchown,
#endif
    // Programs and other processes.
    SYS_execve, SYS_execveat, SYS_kill, SYS_tkill, SYS_ptrace, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_kcmp,
#ifdef SYS_fork
    SYS_fork, SYS_vfork,
#endif
    // New sockets, except those that it accepts.
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind,
    // Its user, capabilities and namespaces.
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups,
    SYS_capset, SYS_setns, SYS_unshare, SYS_personality,
    // The machine.
    SYS_mount, SYS_umount2, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_bpf, SYS_perf_event_open,
    SYS_add_key, SYS_request_key, SYS_keyctl, SYS_userfaultfd, SYS_io_uring_setup, SYS_init_module,
    SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff,
    SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
    SYS_syslog, SYS_acct, SYS_quotactl};

constexpr uint32_t WORD_CALL = offsetof(seccomp_data, nr);
constexpr uint32_t WORD_ARCHITECTURE = offsetof(seccomp_data, arch);
constexpr uint32_t WORD_THREAD = offsetof(seccomp_data, args);
constexpr uint32_t WORD_PROTECTION = offsetof(seccomp_data, args) + PROTECTION_ARGUMENT * 8;
constexpr uint32_t REFUSE = SECCOMP_RET_ERRNO | EPERM;

// A seccomp filter in classic BPF. It starts with a check of the architecture and then loads the
// number of the call.
template <size_t CODE_MAX>
class CallFilter {
 public:
  CallFilter() noexcept {
    load(WORD_ARCHITECTURE);
    unless(BPF_JEQ, ARCHITECTURE, SECCOMP_RET_KILL_PROCESS);
    load(WORD_CALL);
  }

  [[nodiscard]] sock_fprog program() noexcept { return {count_, code_}; }

 protected:
  void emit(uint16_t code, uint32_t value, uint8_t yes, uint8_t no) noexcept {
    code_[count_++] = {code, yes, no, value};
  }
  void load(uint32_t at) noexcept { emit(BPF_LD | BPF_W | BPF_ABS, at, 0, 0); }
  void answer(uint32_t value) noexcept { emit(BPF_RET | BPF_K, value, 0, 0); }
  void jump(uint16_t test, uint32_t value, uint8_t yes, uint8_t no) noexcept {
    emit(static_cast<uint16_t>(BPF_JMP | test | BPF_K), value, yes, no);
  }
  void when(uint32_t value, uint32_t verdict) noexcept {
    jump(BPF_JEQ, value, 0, 1);
    answer(verdict);
  }
  void unless(uint16_t test, uint32_t value, uint32_t verdict) noexcept {
    jump(test, value, 1, 0);
    answer(verdict);
  }

 private:
  // The four instructions of the head are added here.
  sock_filter code_[CODE_MAX + 4] = {};
  unsigned short count_ = 0;
};

// The filter of a packet thread. It allows the calls that frames need by number alone, in a chain
// of comparisons; the kernel evaluates these once and caches the result as a bitmap.
class PacketFilter
    : public CallFilter<2 * std::size(ALLOWED_CALLS) + std::size(MEMORY_CALLS) + 10> {
 public:
  PacketFilter() noexcept {
    for (const uint32_t call : ALLOWED_CALLS) when(call, SECCOMP_RET_ALLOW);
    jump(BPF_JEQ, OWN_CALL, 0, 4);
    load(WORD_THREAD);
    when(0, SECCOMP_RET_ALLOW);
    answer(REFUSE);
    // Not one of the two memory calls: jump to the refusal. Otherwise check the protection flags.
    constexpr size_t count = std::size(MEMORY_CALLS);
    for (size_t index = 0; index < count; ++index) {
      jump(BPF_JEQ, MEMORY_CALLS[index], static_cast<uint8_t>(count - index), 0);
    }
    answer(REFUSE);
    load(WORD_PROTECTION);
    jump(BPF_JSET, PROT_EXEC, 0, 1);
    answer(REFUSE);
    answer(SECCOMP_RET_ALLOW);
  }
};

class ListenerFilter : public CallFilter<2 * std::size(LISTENER_DENIED_CALLS) + 3> {
 public:
  ListenerFilter() noexcept {
#if defined(__x86_64__)
    // The same calls under the numbers of the x32 ABI.
    jump(BPF_JGE, 0x4000'0000, 0, 1);
    answer(REFUSE);
#endif
    for (const uint32_t call : LISTENER_DENIED_CALLS) when(call, REFUSE);
    answer(SECCOMP_RET_ALLOW);
  }
};

// Async-signal-safe, like all functions from here to the broadcast.
long keepCapabilities(uint64_t keep) noexcept {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (const long failed = syscall(SYS_capget, &header, data); failed != 0) return failed;
  for (size_t word = 0; word < std::size(data); ++word) {
    data[word].permitted &= static_cast<uint32_t>(keep >> (32 * word));
    data[word].effective &= data[word].permitted;
    data[word].inheritable &= data[word].permitted;
  }
  return syscall(SYS_capset, &header, data);
}

long restrictThread(uint64_t keep) noexcept {
  const long failed = syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return failed != 0 ? failed : keepCapabilities(keep);
}

// The signal by which glibc itself changes the user of all threads. It is the only signal that no
// thread can have blocked, since sigfillset() leaves it out. We use it only during a broadcast.
constexpr int BROADCAST_SIGNAL = 33;
constexpr int64_t BROADCAST_MS_MAX = 2'000;

// The kernel's form of a signal action: glibc's own calls refuse this signal.
struct KernelAction {
  void (*handler)(int) = nullptr;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  uint64_t mask = 0;
};

std::atomic<uint64_t> broadcastKeep = 0;

void onBroadcast(int) noexcept {
  const int before = errno;
  (void)restrictThread(broadcastKeep.load(std::memory_order_relaxed));
  errno = before;
}

long setAction(int number, const KernelAction* wanted, KernelAction* old) noexcept {
  return syscall(SYS_rt_sigaction, number, wanted, old, sizeof(uint64_t));
}

// The action for BROADCAST_SIGNAL. Its restorer, which returns to the kernel, is glibc's own: it is
// read from the action of a signal that glibc lets us set.
bool makeAction(KernelAction* action) noexcept {
  struct sigaction ours = {};
  struct sigaction before = {};
  ours.sa_handler = onBroadcast;
  ours.sa_flags = SA_RESTART;
  if (sigaction(SIGRTMAX, &ours, &before) != 0) return false;
  const bool read = setAction(SIGRTMAX, nullptr, action) == 0;
  sigaction(SIGRTMAX, &before, nullptr);
  return read;
}

// Reads a field of /proc/self/task/<thread>/status. False when the thread has gone.
bool isRestricted(pid_t thread, uint64_t keep, bool* restricted) noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
  const Descriptor file(open(path, O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t size = file.valid() ? read(file.get(), text, sizeof text - 1) : -1;
  if (size <= 0) return false;
  text[size] = '\0';
  const char* permitted = std::strstr(text, "\nCapPrm:");
  const char* noNew = std::strstr(text, "\nNoNewPrivs:");
  *restricted = permitted != nullptr && noNew != nullptr &&
                (std::strtoull(permitted + 8, nullptr, 16) & ~keep) == 0 &&
                std::strtoul(noNew + 12, nullptr, 10) == 1;
  return true;
}

// Signals every thread that has more than `keep`. Returns the number of such threads, or -1.
int signalUnrestricted(uint64_t keep) noexcept {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return -1;
  int found = 0;
  while (const dirent* entry = readdir(tasks)) {
    const auto thread = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    bool restricted = false;
    if (thread <= 0 || !isRestricted(thread, keep, &restricted) || restricted) continue;
    ++found;
    syscall(SYS_tgkill, getpid(), thread, BROADCAST_SIGNAL);
  }
  closedir(tasks);
  return found;
}

int64_t nowMs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000 + now.tv_nsec / 1'000'000;
}

// Done when two scans in a row find no such thread. During the first scan a thread with all
// capabilities may have started another one; the second scan finds it.
Status restrictOthers(uint64_t keep) noexcept {
  const int64_t deadlineMs = nowMs() + BROADCAST_MS_MAX;
  for (int clean = 0; clean < 2;) {
    const int found = signalUnrestricted(keep);
    if (found < 0) return Status::system("opendir", errno);
    clean = found == 0 ? clean + 1 : 0;
    if (found == 0) continue;
    if (nowMs() > deadlineMs) return Status::system("tgkill", ETIMEDOUT);
    const timespec pause = {0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  return {};
}

struct ReadTest {
  const std::vector<std::string>& paths;
  bool readable = false;
};

void* readWithoutCapabilities(void* argument) {
  auto* test = static_cast<ReadTest*>(argument);
  if (keepCapabilities(0) != 0) return nullptr;
  for (const std::string& path : test->paths) {
    if (!Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)).valid()) return nullptr;
  }
  test->readable = true;
  return nullptr;
}

}  // namespace

Status confinePacketThread() noexcept {
  if (restrictThread(0) != 0) return Status::system("capset", errno);
  PacketFilter filter;
  sock_fprog program = filter.program();
  // Without this flag the kernel slows down each branch of sandboxed threads, as a precaution
  // against untrusted code; a packet thread runs none.
  const unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0 || errno == ENOSYS) {
    return {};
  }
  return Status::system("seccomp", errno);
}

Status dropCapabilities(uint64_t keep) noexcept {
  KernelAction action;
  KernelAction before;
  if (!makeAction(&action)) return Status::system("sigaction", errno);
  if (restrictThread(keep) != 0) return Status::system("capset", errno);
  broadcastKeep.store(keep, std::memory_order_relaxed);
  if (setAction(BROADCAST_SIGNAL, &action, &before) != 0) {
    return Status::system("rt_sigaction", errno);
  }
  const Status status = restrictOthers(keep);
  setAction(BROADCAST_SIGNAL, &before, nullptr);
  return status;
}

Status confineListener(const ListenerLimits& limits) noexcept {
  const rlimit descriptors = {limits.descriptorsMax, limits.descriptorsMax};
  const rlimit data = {limits.dataBytesMax, limits.dataBytesMax};
  const rlimit none = {0, 0};
  if (setrlimit(RLIMIT_NOFILE, &descriptors) != 0 || setrlimit(RLIMIT_DATA, &data) != 0 ||
      setrlimit(RLIMIT_CORE, &none) != 0) {
    return Status::system("setrlimit", errno);
  }
  if (const Status status = dropCapabilities(0); !status.ok()) return status;
  ListenerFilter filter;
  sock_fprog program = filter.program();
  const long left =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (left == 0 || (left < 0 && errno == ENOSYS)) return {};
  // Above 0: the id of the thread that could not be synchronized.
  return Status::system("seccomp", left > 0 ? ESRCH : errno);
}

bool readableWithoutCapabilities(const std::vector<std::string>& paths) noexcept {
  ReadTest test = {paths};
  pthread_t thread;
  if (pthread_create(&thread, nullptr, readWithoutCapabilities, &test) != 0) return false;
  pthread_join(thread, nullptr);
  return test.readable;
}

}  // namespace sluice
