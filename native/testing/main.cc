#include <cstring>

#include "native/testing/test.h"

// Runs every registered test whose name contains argv[1] (all of them without), prints one TAP line
// each, and fails when a check failed or nothing ran.
int main(int argc, char** argv) {
  const char* filter = argc > 1 ? argv[1] : "";
  int number = 0;
  int failed = 0;
  for (const auto& each : sluice::testing::cases()) {
    if (std::strstr(each.name, filter) == nullptr) continue;
    const int before = sluice::testing::failures();
    each.run();
    const bool ok = sluice::testing::failures() == before;
    if (!ok) ++failed;
    std::printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, each.name);
    std::fflush(stdout);
  }
  std::printf("1..%d\n", number);
  return failed == 0 && number > 0 ? 0 : 1;
}
