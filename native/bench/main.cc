// Times native structures on request: set up once from the arguments, then a run for every line of
// standard input, one JSON line each on standard output, until the input ends. So a caller can let
// several programs take turns on the same work. With `count` before the name it makes one pass
// instead, so that valgrind can count the instructions inside countedPass.
#include <cstdio>
#include <string>
#include <string_view>

#include "native/bench/bench.h"

using sluice::bench::Bench;
using sluice::bench::MakeBench;
using sluice::bench::Measured;

namespace {

struct Named {
  const char* name;
  MakeBench make;
};

constexpr Named BENCHES[] = {
    {"lookup", sluice::bench::makeLookupBench},
    {"conntrack", sluice::bench::makeConntrackBench},
    {"path", sluice::bench::makePathBench},
    {"flood", sluice::bench::makeFloodBench},
    {"mixed-flood", sluice::bench::makeMixedFloodBench},
    {"colliding", sluice::bench::makeCollidingBench},
};

#if defined(__clang__)
constexpr char COMPILER[] = "clang " __clang_version__;
#else
constexpr char COMPILER[] = "gcc " __VERSION__;
#endif

}  // namespace

// Has a name that a profiler can select, and a stack frame of its own.
extern "C" [[gnu::noinline]] size_t countedPass(Bench& bench) { return bench.pass(); }

int main(int argc, char** argv) {
  const bool counts = argc > 1 && std::string_view(argv[1]) == "count";
  if (counts) {
    --argc;
    ++argv;
  }
  for (const Named& each : BENCHES) {
    if (argc < 2 || std::string_view(argv[1]) != each.name) continue;
    const uint64_t start = sluice::bench::nowNs();
    const auto bench = each.make({argv + 2, static_cast<size_t>(argc - 2)});
    if (bench == nullptr) return 2;
    if (counts) {
      std::printf("{\"items\":%zu,\"compiler\":\"%s\"}\n", countedPass(*bench), COMPILER);
      return 0;
    }
    std::printf("{\"setupMs\":%.1f,\"memoryBytes\":%zu}\n",
                static_cast<double>(sluice::bench::nowNs() - start) / 1e6, bench->memoryBytes());
    std::fflush(stdout);
    char line[64];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
      const Measured measured = bench->run();
      const std::string detail = bench->detail();
      std::printf(
          "{\"ns\":%.3f,\"p50\":%.2f,\"p99\":%.2f,\"answers\":%llu,\"residentBytes\":%llu%s%s}\n",
          measured.nsPerItem, measured.p50, measured.p99,
          static_cast<unsigned long long>(measured.answers), sluice::bench::residentBytes(),
          detail.empty() ? "" : ",\"detail\":", detail.c_str());
      std::fflush(stdout);
    }
    return 0;
  }
  std::fputs("usage: native_bench [count] lookup|conntrack|path|flood|mixed-flood|colliding ...\n",
             stderr);
  return 2;
}
