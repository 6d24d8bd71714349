// Lets an addon that was built on a new glibc load on an old one (2.31, Debian 11 and
// Ubuntu 20.04).
//
// Two things would require a new glibc although our code does not. First, since 2.34 the thread
// functions are in libc itself, under new symbol versions. The linker redirects calls to the
// __wrap_ functions below (binding.gyp), which use the old versions; every glibc still has those.
// Second, the static libstdc++ and libgcc of a new compiler use three names that an old glibc
// lacks. The replacements here do what those libraries did before the names existed.
//
// Source: test/package/pack.test.ts reads the versions out of the addon.

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))

// The version that a function had on x86-64; on arm64 all have that of the first glibc for it.
#if defined(__x86_64__)
#define SLUICE_OLD(name, version) __asm__(".symver old_" #name ", " #name "@GLIBC_" version)
#else
#define SLUICE_OLD(name, version) __asm__(".symver old_" #name ", " #name "@GLIBC_2.17")
#endif
SLUICE_OLD(pthread_create, "2.2.5");
SLUICE_OLD(pthread_join, "2.2.5");
SLUICE_OLD(pthread_once, "2.2.5");
SLUICE_OLD(pthread_key_create, "2.2.5");
SLUICE_OLD(pthread_setname_np, "2.12");
SLUICE_OLD(pthread_attr_setaffinity_np, "2.3.4");
SLUICE_OLD(pthread_getcpuclockid, "2.2.5");

extern "C" {

int old_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int old_pthread_join(pthread_t, void**);
int old_pthread_once(pthread_once_t*, void (*)());
int old_pthread_key_create(pthread_key_t*, void (*)(void*));
int old_pthread_setname_np(pthread_t, const char*);
int old_pthread_attr_setaffinity_np(pthread_attr_t*, size_t, const cpu_set_t*);
int old_pthread_getcpuclockid(pthread_t, clockid_t*);

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                          void* argument) {
  return old_pthread_create(thread, attributes, body, argument);
}
int __wrap_pthread_join(pthread_t thread, void** result) {
  return old_pthread_join(thread, result);
}
int __wrap_pthread_once(pthread_once_t* once, void (*body)()) {
  return old_pthread_once(once, body);
}
int __wrap___pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) {
  return old_pthread_key_create(key, destroy);
}
int __wrap_pthread_setname_np(pthread_t thread, const char* name) {
  return old_pthread_setname_np(thread, name);
}
int __wrap_pthread_attr_setaffinity_np(pthread_attr_t* attributes, size_t size,
                                       const cpu_set_t* cpus) {
  return old_pthread_attr_setaffinity_np(attributes, size, cpus);
}
int __wrap_pthread_getcpuclockid(pthread_t thread, clockid_t* clock) {
  return old_pthread_getcpuclockid(thread, clock);
}

#define SLUICE_HIDDEN __attribute__((visibility("hidden")))

// Never single-threaded: reference counts are always atomic.
SLUICE_HIDDEN char __libc_single_threaded = 0;

// Finds no unwind table: an exception from libstdc++ ends the process, as it does in code compiled
// without exceptions anyway.
SLUICE_HIDDEN int _dl_find_object(void*, void*) { return -1; }

SLUICE_HIDDEN uint32_t arc4random() {
  uint32_t word = 0;
  while (getrandom(&word, sizeof word, 0) != static_cast<ssize_t>(sizeof word)) {
    if (errno != EINTR) __builtin_trap();
  }
  return word;
}

}  // extern "C"

#endif
