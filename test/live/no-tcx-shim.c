// Makes a machine look as if its kernel had no tcx (before Linux 6.6), for tests: no program can be attached to an
// interface by a descriptor.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };

long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (real == NULL) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list list;
  va_start(list, number);
  long words[6];
  for (int at = 0; at < 6; ++at) words[at] = va_arg(list, long);
  va_end(list);
  if (number == SYS_bpf && (int)words[0] == BPF_LINK_CREATE) {
    const __u32 hook = ((const __u32*)words[1])[2];
    if (hook == TCX_INGRESS || hook == TCX_EGRESS) {
      errno = EINVAL;
      return -1;
    }
  }
  return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
