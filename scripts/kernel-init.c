// The first process of a kernel under test (scripts/test-kernels.mjs): loads modules, stands on the host's root, which
// it cannot change, runs /command there, prints how it ended and switches the machine off.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(const char* what) {
  if (what != NULL) perror(what);
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

static void put(const char* source, const char* at, const char* type, unsigned long flags,
                const char* data) {
  if (mount(source, at, type, flags, data) != 0) end(at);
}

static void loadModules(void) {
  FILE* list = fopen("/modules", "re");
  char path[256];
  while (list != NULL && fgets(path, sizeof path, list) != NULL) {
    path[strcspn(path, "\n")] = '\0';
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || syscall(SYS_finit_module, file, "", 0) != 0) perror(path);
    if (file >= 0) close(file);
  }
  if (list != NULL) fclose(list);
}

static char* readCommand(void) {
  static char text[4096];
  const int file = open("/command", O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, text, sizeof text - 1) <= 0) end("/command");
  close(file);
  return text;
}

int main(void) {
  const char* folders[] = {"/host", "/over", "/root"};
  for (size_t at = 0; at < 3; ++at) mkdir(folders[at], 0755);
  loadModules();
  char* const command = readCommand();
  put("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=524288,cache=loose");
  put("over", "/over", "tmpfs", 0, NULL);
  mkdir("/over/upper", 0755);
  mkdir("/over/work", 0755);
  put("root", "/root", "overlay", 0, "lowerdir=/host,upperdir=/over/upper,workdir=/over/work");
  put("proc", "/root/proc", "proc", 0, NULL);
  put("sys", "/root/sys", "sysfs", 0, NULL);
  put("dev", "/root/dev", "devtmpfs", 0, NULL);
  put("tmp", "/root/tmp", "tmpfs", 0, NULL);
  put("run", "/root/run", "tmpfs", 0, NULL);
  if (chdir("/root") != 0) end("/root");
  put(".", "/", NULL, MS_MOVE, NULL);
  if (chroot(".") != 0) end("chroot");
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    execl("/bin/sh", "sh", "-c", command, (char*)NULL);
    _exit(127);
  }
  for (int status = 0;;) {
    if (waitpid(-1, &status, 0) != child) continue;
    printf("\nended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 255);
    fflush(stdout);
    end(NULL);
  }
}
