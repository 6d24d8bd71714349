// Kills its own process, as kill -9 does, before its n-th change of what judges in place, for tests: KILL_AT=n, with 0
// for never. Changes are calls of bpf() that leave something, files that appear and go under KILL_UNDER, and messages
// to nftables. Says at the end how many there were.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long changes = 0;

static void change(void) {
  const char* at = getenv("KILL_AT");
  const long number = __atomic_add_fetch(&changes, 1, __ATOMIC_SEQ_CST);
  if (at != NULL && number == atol(at)) kill(getpid(), SIGKILL);
}

static void change_of(const char* path) {
  const char* under = getenv("KILL_UNDER");
  if (under != NULL && strncmp(path, under, strlen(under)) == 0) change();
}

__attribute__((destructor)) static void tell(void) { fprintf(stderr, "changes %ld\n", changes); }

long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (real == NULL) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list list;
  va_start(list, number);
  long words[6];
  for (int at = 0; at < 6; ++at) words[at] = va_arg(list, long);
  va_end(list);
  if (number == SYS_bpf) {
    switch ((int)words[0]) {
      case BPF_MAP_UPDATE_ELEM:
      case BPF_MAP_DELETE_ELEM:
      case BPF_OBJ_PIN:
      case BPF_PROG_ATTACH:
      case BPF_PROG_DETACH:
      case BPF_LINK_CREATE:
      case BPF_LINK_UPDATE:
        change();
        break;
      default:
        break;
    }
  }
  return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

ssize_t sendto(int descriptor, const void* bytes, size_t size, int flags,
               const struct sockaddr* to, socklen_t length) {
  static ssize_t (*real)(int, const void*, size_t, int, const struct sockaddr*, socklen_t);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "sendto");
  int protocol = 0;
  socklen_t room = sizeof protocol;
  if (to != NULL && to->sa_family == AF_NETLINK &&
      getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &room) == 0 &&
      protocol == NETLINK_NETFILTER) {
    change();
  }
  return real(descriptor, bytes, size, flags, to, length);
}

int unlink(const char* path) {
  static int (*real)(const char*);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "unlink");
  change_of(path);
  return real(path);
}

int rmdir(const char* path) {
  static int (*real)(const char*);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "rmdir");
  change_of(path);
  return real(path);
}

int mkdir(const char* path, mode_t mode) {
  static int (*real)(const char*, mode_t);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "mkdir");
  change_of(path);
  return real(path, mode);
}
