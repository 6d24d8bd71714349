import { constants } from "node:os";
import { expect, test } from "vitest";
import { type Check, diagnose, type Purpose } from "../../src/doctor/diagnose.js";
import type { Machine } from "../../src/doctor/machine.js";

// Goal: each thing that a machine lacks is named, stands in the way of the right purposes, and comes with
// the line that grants it.
// Method: a machine that has everything, less one thing at a time.

const { EPERM, ENOENT, EAFNOSUPPORT, EINVAL } = constants.errno;
const works = {
  packetSocket: 0,
  xdpSocket: 0,
  tun: 0,
  loadProgram: 0,
  attachTcx: 0,
  seccomp: 0,
};
const complete: Machine = {
  kernel: "6.12.0",
  node: "20.20.2",
  user: 1000,
  addonError: undefined,
  capabilities: new Set(["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"]),
  features: works,
  failOpen: [],
  nameGuardErrors: new Map(),
  guardsLeft: [],
  userNamespaceError: undefined,
  userNamespaceLimits: [],
  lockedMemoryMax: Number.POSITIVE_INFINITY,
  inPlace: {
    hasTypes: true,
    hasProgramType: true,
    hasFileSystem: true,
    bridgesUnseen: [],
    hasIpvs: false,
    tracks: true,
    attached: undefined,
    untold: [],
    hooked: { flowtables: [], closed: [] },
  },
  capError: undefined,
};
const { inPlace } = complete;

function lacking(less: Partial<Machine>): { wrong: Check[]; notReady: Purpose[] } {
  const { checks, readyFor } = diagnose({ ...complete, ...less });
  const purposes = Object.entries(readyFor) as [Purpose, boolean][];
  return {
    wrong: checks.filter(({ status }) => status !== "ok"),
    notReady: purposes.filter(([, ready]) => !ready).map(([purpose]) => purpose),
  };
}

test("a machine that has everything is ready for everything", () => {
  expect(lacking({})).toEqual({ wrong: [], notReady: [] });
});

test("what a process keeps in place is well, and named", () => {
  const attached = { byPrograms: true, pid: 77 };
  const { checks } = diagnose({ ...complete, inPlace: { ...inPlace!, attached } });
  expect(checks.find(({ name }) => name === "in place")).toMatchObject({
    status: "ok",
    found: "pid 77 judges by programs at netfilter's hook",
  });
});

test("what may not be asked is said to be unknown", () => {
  const { checks } = diagnose({ ...complete, inPlace: { ...inPlace!, hooked: undefined } });
  for (const name of ["flow offload", "neighbour discovery"]) {
    expect(checks.find((each) => each.name === name)?.found).toMatch(/^not asked/);
  }
});

const cases: readonly [
  name: string,
  less: Partial<Machine>,
  notReady: readonly Purpose[],
  remedy: RegExp,
][] = [
  ["hook", { inPlace: { ...inPlace!, hasProgramType: false } }, [], /CONFIG_NETFILTER_BPF_LINK/],
  ["connection tracking", { inPlace: { ...inPlace!, tracks: false } }, [], /modprobe nf_conntrack/],
  [
    "in place",
    { inPlace: { ...inPlace!, attached: { byPrograms: true, pid: undefined } } },
    [],
    /sluice node --remove/,
  ],
  [
    "kernel type information",
    { inPlace: { ...inPlace!, hasTypes: false } },
    ["kernel"],
    /CONFIG_DEBUG_INFO_BTF/,
  ],
  ["bpf file system", { inPlace: { ...inPlace!, hasFileSystem: false } }, ["node"], /mount -t bpf/],
  [
    "bridged packets",
    { inPlace: { ...inPlace!, bridgesUnseen: ["net.bridge.bridge-nf-call-iptables"] } },
    [],
    /sysctl -w net\.bridge\.bridge-nf-call-iptables=1/,
  ],
  ["kube-proxy", { inPlace: { ...inPlace!, hasIpvs: true } }, [], /iptables or nftables/],
  [
    "flow offload",
    { inPlace: { ...inPlace!, hooked: { flowtables: ["inet filter fast"], closed: [] } } },
    [],
    /nft delete flowtable inet filter fast/,
  ],
  [
    "neighbour discovery",
    { inPlace: { ...inPlace!, hooked: { flowtables: [], closed: ["ip6 filter FORWARD"] } } },
    [],
    /ICMPv6 of the types 133 to 136/,
  ],
  [
    "ends of connections",
    { inPlace: { ...inPlace!, untold: ["net.netfilter.nf_conntrack_acct"] } },
    [],
    /nf_conntrack_acct=1/,
  ],
  [
    "native addon",
    { addonError: "no", features: undefined },
    ["lab", "run", "af-xdp", "kernel", "capture", "sidecar", "node"],
    /glibc/,
  ],
  [
    "CAP_NET_ADMIN",
    { capabilities: new Set(["CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"]) },
    ["run", "af-xdp", "kernel", "sidecar", "node"],
    /AmbientCapabilities=CAP_NET_ADMIN/,
  ],
  [
    "CAP_NET_RAW",
    { user: 0, capabilities: new Set(["CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"]) },
    ["run", "af-xdp", "kernel", "capture", "sidecar"],
    /--cap-add NET_RAW/,
  ],
  [
    "CAP_BPF",
    { capabilities: new Set(["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"]) },
    ["af-xdp", "kernel", "node"],
    /AmbientCapabilities=CAP_BPF/,
  ],
  [
    "CAP_PERFMON",
    { capabilities: new Set(["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]) },
    ["kernel", "node"],
    /AmbientCapabilities=CAP_PERFMON/,
  ],
  ["/dev/net/tun", { features: { ...works, tun: ENOENT } }, ["lab", "kernel"], /mknod .*c 10 200/],
  [
    "/dev/net/tun",
    { features: { ...works, tun: EPERM } },
    ["lab", "kernel"],
    /--device \/dev\/net\/tun/,
  ],
  [
    "AF_PACKET",
    { features: { ...works, packetSocket: EAFNOSUPPORT } },
    ["run", "capture", "sidecar"],
    /modprobe af_packet/,
  ],
  ["AF_XDP", { features: { ...works, xdpSocket: EAFNOSUPPORT } }, ["af-xdp"], /CONFIG_XDP_SOCKETS/],
  [
    "BPF programs",
    { features: { ...works, loadProgram: EPERM } },
    ["af-xdp", "kernel"],
    /capabilities/,
  ],
  ["tcx", { features: { ...works, attachTcx: EINVAL } }, [], /6\.6/],
  ["seccomp", { features: { ...works, seccomp: EINVAL } }, [], /CONFIG_SECCOMP_FILTER/],
  [
    "user namespaces",
    { userNamespaceError: "no", userNamespaceLimits: ["user.max_user_namespaces=0"] },
    ["lab"],
    /sysctl -w user\.max_user_namespaces=15000/,
  ],
  [
    "user namespaces",
    {
      userNamespaceError: "no",
      userNamespaceLimits: ["kernel.apparmor_restrict_unprivileged_userns=1"],
    },
    ["lab"],
    /apparmor_restrict_unprivileged_userns=0/,
  ],
  ["fail open", { failOpen: ["eth1"] }, [], /a clean end of a run/],
  ["guard by name", { nameGuardErrors: new Map([["arp", EPERM]]) }, [], /CONFIG_NF_TABLES_INET/],
  [
    "guard that was left",
    { guardsLeft: [{ table: "sluice-guard-1", names: ["eth1"], live: false }] },
    [],
    /nft delete table inet sluice-guard-1; nft delete table arp/,
  ],
  ["locked memory", { lockedMemoryMax: 65_536 }, ["af-xdp"], /LimitMEMLOCK=infinity/],
  ["package cap", { capError: "no" }, ["capture"], /libpcap/],
];

for (const [name, less, notReady, remedy] of cases) {
  test(`lacking ${name} (${JSON.stringify(less.features ?? Object.keys(less))})`, () => {
    const found = lacking(less);
    expect(found.wrong.map((each) => each.name)).toEqual([name]);
    expect(found.wrong[0]?.remedy).toMatch(remedy);
    expect(found.wrong[0]?.status).toBe(notReady.length > 0 ? "missing" : "limited");
    expect(found.notReady).toEqual(notReady);
  });
}

test("who may make namespaces needs no user namespace, and CAP_IPC_LOCK no limit", () => {
  const capabilities = new Set([
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_SYS_ADMIN",
    "CAP_IPC_LOCK",
  ] as const);
  const { notReady } = lacking({ capabilities, userNamespaceError: "no", lockedMemoryMax: 0 });
  expect(notReady).toEqual([]);
});
