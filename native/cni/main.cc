#include <csignal>

#include "native/cni/plugin.h"

extern char** environ;

// The program that a container runtime starts for each pod.
int main() {
  // A runtime that has gone is an error of writing.
  std::signal(SIGPIPE, SIG_IGN);
  return sluice::cni::runPlugin(environ, 0, 1);
}
