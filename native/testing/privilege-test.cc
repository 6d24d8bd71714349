#include "native/host/privilege.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "native/testing/test.h"

namespace sluice {
namespace {

// The results of a confined thread's calls. The thread waits until the test has read its status
// from outside.
struct Confined {
  Status status;
  int told[2] = {-1, -1};
  int go[2] = {-1, -1};
  pid_t thread = 0;
  int openError = 0;
  int socketError = 0;
  int cloneError = 0;
  int executableError = 0;
  int moveError = 0;
  int moveOtherError = 0;
  bool mapped = false;
  bool clockRead = false;
};

template <typename Call>
int errorOf(Call&& call) {
  errno = 0;
  return call() < 0 ? errno : 0;
}

void* beConfined(void* argument) {
  auto* self = static_cast<Confined*>(argument);
  self->thread = static_cast<pid_t>(syscall(SYS_gettid));
  self->status = confinePacketThread();
  self->openError = errorOf([] { return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY); });
  self->socketError = errorOf([] { return syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0); });
  self->cloneError = errorOf([] { return syscall(SYS_unshare, 0x10000000); });
  const auto map = [](int protection) {
    return syscall(SYS_mmap, nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  self->executableError = errorOf([&] { return map(PROT_READ | PROT_EXEC); });
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  (void)sched_getaffinity(0, sizeof cpus, &cpus);
  self->moveError = errorOf([&] { return sched_setaffinity(0, sizeof cpus, &cpus); });
  self->moveOtherError = errorOf([&] { return sched_setaffinity(getpid(), sizeof cpus, &cpus); });
  const long memory = map(PROT_READ | PROT_WRITE);
  self->mapped = memory > 0 && syscall(SYS_munmap, memory, 4096) == 0;
  timespec now = {};
  self->clockRead = syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0;
  char byte = 1;
  if (write(self->told[1], &byte, 1) == 1) (void)!read(self->go[0], &byte, 1);
  return nullptr;
}

std::string statusOf(pid_t thread) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
  char text[4096] = {};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  return {text, size > 0 ? static_cast<size_t>(size) : 0};
}

bool has(const std::string& text, const char* line) { return text.find(line) != std::string::npos; }

}  // namespace

// Goal:   a packet thread keeps its system calls and loses all others; the rest of the process
//         keeps all of them.
// Method: a thread confines itself and tries calls; the test reads its status from outside while it
//         waits.
TEST("privilege: a confined thread moves bytes and waits, and can do nothing else") {
  Confined confined;
  REQUIRE(pipe2(confined.told, O_CLOEXEC) == 0 && pipe2(confined.go, O_CLOEXEC) == 0);
  pthread_t thread;
  REQUIRE(pthread_create(&thread, nullptr, beConfined, &confined) == 0);
  char byte = 0;
  CHECK(read(confined.told[0], &byte, 1) == 1);
  const std::string status = statusOf(confined.thread);
  CHECK(write(confined.go[1], &byte, 1) == 1);
  pthread_join(thread, nullptr);

  CHECK(confined.status.ok());
  CHECK(has(status, "\nSeccomp:\t2\n"));
  CHECK(has(status, "\nNoNewPrivs:\t1\n"));
  CHECK(has(status, "\nCapEff:\t0000000000000000\n"));
  CHECK(has(status, "\nCapPrm:\t0000000000000000\n"));
  CHECK(confined.openError == EPERM);
  CHECK(confined.socketError == EPERM);
  CHECK(confined.cloneError == EPERM);
  CHECK(confined.executableError == EPERM);
  CHECK(confined.moveError == 0);
  CHECK(confined.moveOtherError == EPERM);
  CHECK(confined.mapped);
  CHECK(confined.clockRead);

  CHECK(has(statusOf(getpid()), "\nSeccomp:\t0\n"));
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK(fd >= 0);
  close(fd);
  for (const int end : {confined.told[0], confined.told[1], confined.go[0], confined.go[1]}) {
    close(end);
  }
}

// Goal:   a process that serves sockets keeps its open descriptors and can open nothing new.
// Method: a child process with a second thread confines itself, tries calls from both threads, and
//         reports the results.
TEST("privilege: a confined listener reads and writes what it has, and reaches nothing else") {
  struct Told {
    bool ok;
    int openError, socketError, execError, killError, sleeperError;
    rlim_t descriptors;
  };
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int go[2];
    if (pipe2(go, O_CLOEXEC) != 0) _exit(1);
    pthread_t sleeper;
    const auto sleepThenTry = [](void* argument) -> void* {
      char byte;
      if (read(static_cast<int*>(argument)[0], &byte, 1) != 1) return nullptr;
      static int error;
      error = errorOf([] { return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY); });
      return &error;
    };
    if (pthread_create(&sleeper, nullptr, sleepThenTry, go) != 0) _exit(1);
    Told told = {};
    // No bound on memory: the sanitizer reserves terabytes.
    told.ok = confineListener({64, RLIM_INFINITY}).ok();
    told.openError = errorOf([] { return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY); });
    told.socketError = errorOf([] { return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); });
    told.execError = errorOf([] { return syscall(SYS_execve, "/bin/true", nullptr, nullptr); });
    told.killError = errorOf([] { return syscall(SYS_kill, getppid(), 0); });
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    told.descriptors = limit.rlim_max;
    char byte = 1;
    void* error = nullptr;
    if (write(go[1], &byte, 1) != 1 || pthread_join(sleeper, &error) != 0) _exit(1);
    told.sleeperError = error == nullptr ? 0 : *static_cast<int*>(error);
    _exit(write(ends[1], &told, sizeof told) == sizeof told ? 0 : 1);
  }
  close(ends[1]);
  Told told = {};
  CHECK(read(ends[0], &told, sizeof told) == sizeof told);
  close(ends[0]);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(told.ok);
  for (const int error :
       {told.openError, told.socketError, told.execError, told.killError, told.sleeperError}) {
    CHECK(error == EPERM);
  }
  CHECK(told.descriptors == 64);
}

TEST("privilege: a file that only a capability opens is told apart") {
  CHECK(readableWithoutCapabilities({"/proc/self/status", "/"}));
  CHECK(!readableWithoutCapabilities({"/proc/self/status", "/no/such/file"}));
  char path[] = "/tmp/sluice-privilege-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  CHECK(fchmod(fd, 0) == 0);
  CHECK(!readableWithoutCapabilities({path}));
  CHECK(fchmod(fd, 0400) == 0);
  CHECK(readableWithoutCapabilities({path}));
  unlink(path);
  close(fd);
}

}  // namespace sluice
