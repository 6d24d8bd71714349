// DPDK's structures at the work of native_bench, one program that takes turns with it:
//   dpdk_peers acl RULES TUPLES WAY      rte_acl; WAY: scalar, sse, avx2, avx512x16 or avx512x32
//   dpdk_peers fib6 TABLE PREFIXES TUPLES  rte_fib6 with the table's own rows and ports behind it
//   dpdk_peers hash FLOWS                rte_hash, bulk
// DPDK runs in plain memory, without devices, on the core it is started on; the memory is offered
// huge pages as ours is.
#include <rte_eal.h>
#include <rte_log.h>
#include <rte_memory.h>
#include <sys/mman.h>

#include <array>
#include <string_view>

#include "bench/peers/peer.h"

int main(int argc, char** argv) {
  // Without the last, DPDK leaves its widest vectors alone.
  std::array<const char*, 9> eal = {
      "dpdk_peers",     "--no-huge",     "--no-pci",
      "--no-telemetry", "--no-shconf",   "-m",
      "3072",           "--log-level=3", "--force-max-simd-bitwidth=512"};
  rte_log_set_global_level(RTE_LOG_ERR);
  if (argc < 2 || rte_eal_init(static_cast<int>(eal.size()), const_cast<char**>(eal.data())) < 0) {
    std::fputs("DPDK could not be started\n", stderr);
    return 2;
  }
  rte_memseg_list_walk([](const rte_memseg_list* list,
                          void*) { return madvise(list->base_va, list->len, MADV_HUGEPAGE) * 0; },
                       nullptr);
  const std::string_view name = argv[1];
  if (name == "acl") return runAcl(argc - 2, argv + 2);
  if (name == "fib6") return runFib6(argc - 2, argv + 2);
  if (name == "hash") return runHash(argc - 2, argv + 2);
  std::fputs("usage: dpdk_peers acl|fib6|hash ...\n", stderr);
  return 2;
}
