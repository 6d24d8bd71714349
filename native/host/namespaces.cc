#include "native/host/namespaces.h"

#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "native/host/descriptor.h"

namespace sluice {
namespace {

struct Job {
  int namespaceFd;
  Status (*work)(void*);
  void* context;
  Status status;
};

void* runJob(void* argument) {
  auto* job = static_cast<Job*>(argument);
  if (setns(job->namespaceFd, CLONE_NEWNET) != 0) {
    job->status = Status::system("setns", errno);
  } else {
    job->status = job->work(job->context);
  }
  return nullptr;
}

// Runs on a thread that ends afterwards, so that no other code sees its namespace change.
Status runOnThread(void* (*body)(void*), void* argument) noexcept {
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, body, argument);
  if (error != 0) return Status::system("pthread_create", error);
  pthread_join(thread, nullptr);
  return {};
}

struct Creation {
  int fd = -1;
  Status status;
};

void* create(void* argument) {
  auto* creation = static_cast<Creation*>(argument);
  if (unshare(CLONE_NEWNET) != 0) {
    creation->status = Status::system("unshare", errno);
    return nullptr;
  }
  const Descriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (!control.valid() || ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) {
    creation->status = Status::system("SIOCSIFFLAGS lo", errno);
    return nullptr;
  }
  creation->status = openNamespace("/proc/thread-self/ns/net", &creation->fd);
  return nullptr;
}

}  // namespace

Status createNamespace(int* fd) noexcept {
  Creation creation;
  if (const Status status = runOnThread(create, &creation); !status.ok()) return status;
  if (creation.status.ok()) *fd = creation.fd;
  return creation.status;
}

Status openNamespace(const char* path, int* fd) noexcept {
  const int opened = open(path, O_RDONLY | O_CLOEXEC);
  if (opened < 0) return Status::system("open", errno);
  *fd = opened;
  return {};
}

Status runInNamespace(int namespaceFd, Status (*work)(void*), void* context) noexcept {
  if (namespaceFd == OWN_NAMESPACE) return work(context);
  Job job = {namespaceFd, work, context, {}};
  if (const Status status = runOnThread(runJob, &job); !status.ok()) return status;
  return job.status;
}

Status setSysctl(int namespaceFd, const char* key, const char* value) noexcept {
  char path[256];
  if (std::strstr(key, "..") != nullptr) return {StatusCode::Argument};
  const int length = std::snprintf(path, sizeof path, "/proc/sys/net/%s", key);
  if (length < 0 || static_cast<size_t>(length) >= sizeof path) return {StatusCode::Argument};
  return inNamespace(namespaceFd, [&]() -> Status {
    const Descriptor file(open(path, O_WRONLY | O_CLOEXEC));
    if (!file.valid()) return Status::system("open", errno);
    const size_t size = std::strlen(value);
    if (write(file.get(), value, size) != static_cast<ssize_t>(size)) {
      return Status::system("write", errno);
    }
    return {};
  });
}

}  // namespace sluice
