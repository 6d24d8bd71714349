import { command, type OptionsOf } from "./command-spec.js";
import { seconds, wholeNumber } from "./readers.js";
import { live, output } from "./shared-options.js";

const nativeBench =
  "Needs a checkout. Peers are measured if DPDK's headers are installed (apt-get install libdpdk-dev). A ratio is Sluice's time divided by the peer's.";

function nativeBenchFlags(sizesOf: string) {
  return [
    { flags: "--sizes <numbers>", description: `numbers of ${sizesOf}, with commas` },
    {
      flags: "--rounds <n>",
      description: "how often everything is measured, 7 when left out",
      parse: wholeNumber(1),
    },
    { flags: "--without-peers", description: "measure Sluice's own ways only" },
    output("table", "json"),
  ] as const;
}

export type BenchNativeOptions = OptionsOf<ReturnType<typeof nativeBenchFlags>>;

const benchFloodFlags = [
  ...nativeBenchFlags("SYNs of a flood"),
  {
    flags: "--seconds <n>",
    description: "how long the floods at once last, in simulated time; 180 when left out",
    parse: wholeNumber(1),
  },
  {
    flags: "--connections <n>",
    description:
      "what the connection table of both has room for, 65536 when left out; no less than 8192",
    parse: wholeNumber(8_192),
  },
] as const;

export type BenchFloodOptions = OptionsOf<typeof benchFloodFlags>;

export const benchFlags = [
  { flags: "--quick", description: "fewer and shorter rounds: within two minutes" },
  {
    flags: "--node",
    description: "measure sluice node, beside what a node's kernel routes without it",
  },
  {
    flags: "--peers <names>",
    description:
      "what to measure beside, with commas: direct, bridge, routed, nft-sets, nft-flowtable, nft-linear, iptables, tc-ebpf; with --node: service, service-nft-sets, service-nfqueue; none for none; all when left out",
  },
  {
    flags: "--links <names>",
    description:
      "ways of running Sluice, with commas: values of run --link, and tap for the switch of a lab; with --node: node-netfilter, node-iptables, node-nfqueue",
  },
  {
    flags: "--policies <numbers>",
    description: "sizes of the policy, with commas; everything is measured with the largest",
  },
  {
    flags: "--pods <numbers>",
    description:
      "with --node: pods on the node, with commas; everything is measured with the fewest; 10,50,250 when left out",
  },
  {
    flags: "--rounds <n>",
    description: "how often everything is measured",
    parse: wholeNumber(1),
  },
  {
    flags: "--seconds <s>",
    description: "how long each measurement takes",
    parse: seconds(0.02, 60),
  },
  {
    flags: "--report <file>",
    description: "measure nothing, and show what an earlier run wrote with -o json",
    completes: "file",
  },
  {
    flags: "--baseline <file>",
    description: "show what an earlier run wrote with -o json beside this one",
    completes: "file",
  },
  {
    flags: "--out <file>",
    description: "write the answer to a file; with html, the table is still printed",
    completes: "file",
  },
  output("table", "json", "html"),
] as const;

export type BenchOptions = OptionsOf<typeof benchFlags>;

export const bench = command({
  name: "bench",
  summary: "measure Sluice beside the kernel's own ways, in namespaces of its own",
  details: [
    "Measures round trips, packets a second, bulk TCP, connections a second, CPU time and memory.",
    "The contenders are Sluice, a bare veth, a bridge, nftables, iptables and an eBPF filter. All filters enforce the same policy.",
    "The contenders take turns in rounds. The report shows ratios first. See benchmarks.md.",
  ],
  group: live,
  options: benchFlags,
  examples: [
    { command: "sluice bench --quick", effect: "a first look" },
    {
      command: "sluice bench -o html --out bench.html",
      effect: "everything, as a page with plots",
    },
    {
      command: "sluice bench --report new.json --baseline old.json -o html --out both.html",
      effect: "two runs beside each other",
    },
    {
      command: "sluice bench --node --quick",
      effect: "every pod of a node, judged in place, beside the same path without policy",
    },
    {
      command: "sluice bench --quick --peers bridge,nft-sets --links af-packet -o json",
      effect: "one link beside two peers, for a script",
    },
  ],
  commands: [
    command({
      name: "lookup",
      summary: "time the table alone: nanoseconds a verdict, beside DPDK's rte_acl and rte_fib6",
      details: [nativeBench],
      options: nativeBenchFlags("entries: pairs of a rule and a peer prefix"),
      examples: [
        { command: "sluice bench lookup", effect: "10 to 100,000 entries" },
        {
          command: "sluice bench lookup --sizes 10,1000 -o json",
          effect: "two sizes, for a script",
        },
      ],
      run: async (options, io) => (await import("./bench-native.js")).runBenchLookup(options, io),
    }),
    command({
      name: "conntrack",
      summary:
        "time the connection table alone, beside DPDK's rte_hash, and the path it is part of",
      details: [nativeBench],
      options: nativeBenchFlags("tracked flows"),
      examples: [{ command: "sluice bench conntrack", effect: "1,000 to 10,000,000 flows" }],
      run: async (options, io) =>
        (await import("./bench-native.js")).runBenchConntrack(options, io),
    }),
    command({
      name: "flood",
      summary:
        "time what an attacker may choose: a flood of SYNs, and connections that would collide",
      details: [
        "Reports how many of the established and of the new connections were served during the flood, and how much memory it took.",
        "Then measures several floods at once, in simulated time. One pod gets 10,000 short TCP connections a second. Another gets 4,000 echo requests and 65,000 DNS queries a second from one stranger. A third opens all the connections it can, to an ally. 50 other pods have new and established connections.",
        "Reports what each of them lost, and why. See benchmarks.md.",
      ],
      options: benchFloodFlags,
      examples: [
        {
          command: "sluice bench flood",
          effect: "10,000,000 SYNs a round, then three minutes of floods at once",
        },
        {
          command: "sluice bench flood --sizes 1000000 --rounds 3 --seconds 20 -o json",
          effect: "a short one, for a script",
        },
      ],
      run: async (options, io) => (await import("./bench-native.js")).runBenchFlood(options, io),
    }),
  ],
  run: async (options, io) => (await import("./bench.js")).runBench(options, io),
});
