import { getSystemErrorName } from "node:util";
import { addonRemedy } from "../dataplane/errors.js";
import type { Capability, KernelFeature } from "../dataplane/privilege.js";
import { capRemedy } from "./cap-package.js";
import type { InPlaceFacts } from "./in-place-facts.js";
import type { Machine } from "./machine.js";

/** The intended uses of a machine. */
export const purposes = ["lab", "run", "af-xdp", "kernel", "capture", "sidecar", "node"] as const;
export type Purpose = (typeof purposes)[number];

/** One check. */
export interface Check {
  readonly name: string;
  /** `missing` prevents `neededFor`; `limited` only makes something less good. */
  readonly status: "ok" | "missing" | "limited";
  readonly neededFor: readonly Purpose[];
  /** What is better with it, beside `neededFor`; absent: nothing. */
  readonly betterFor?: readonly Purpose[];
  readonly found: string;
  /** The line that grants it, or what is lost without it; absent when all is well. */
  readonly remedy?: string;
}

export interface Diagnosis {
  readonly checks: readonly Check[];
  readonly readyFor: Readonly<Record<Purpose, boolean>>;
}

/** Frames of two interfaces in AF_XDP's own memory. */
const lockedMemoryWanted = 32 << 20;

/** Says which uses a machine is ready for, and what prevents the others. */
export function diagnose(machine: Machine): Diagnosis {
  const checks = [
    addonCheck(machine),
    ...capabilityChecks(machine),
    ...kernelChecks(machine),
    userNamespaceCheck(machine),
    lockedMemoryCheck(machine),
    ...failOpenCheck(machine),
    ...nameGuardChecks(machine),
    capCheck(machine),
    ...inPlaceChecks(machine),
  ];
  const ready = (purpose: Purpose) =>
    !checks.some((each) => each.status === "missing" && each.neededFor.includes(purpose));
  return {
    checks,
    readyFor: {
      lab: ready("lab"),
      run: ready("run"),
      "af-xdp": ready("af-xdp"),
      kernel: ready("kernel"),
      capture: ready("capture"),
      sidecar: ready("sidecar"),
      node: ready("node"),
    },
  };
}

/** Whether a check says anything about one of these purposes. */
export function concerns({ neededFor, betterFor = [] }: Check, of: readonly Purpose[]): boolean {
  return [...neededFor, ...betterFor].some((each) => of.includes(each));
}

/** What `sluice node` needs of the kernel, and what it would not see: docs/in-place.md. */
function inPlaceChecks({ inPlace }: Machine): Check[] {
  if (inPlace === undefined) return [];
  const { hasTypes, hasProgramType, hasFileSystem, bridgesUnseen, hasIpvs, tracks, untold } =
    inPlace;
  const needed = (name: string, has: boolean, remedy: string): Check =>
    check(name, ["node"], has ? "there" : "not there", has ? undefined : remedy);
  const better = (name: string, found: string | undefined, remedy: string): Check =>
    check(name, [], found ?? "as it should be", found === undefined ? undefined : remedy, ["node"]);
  return [
    check(
      "kernel type information",
      ["kernel"],
      hasTypes ? "there" : "not there",
      hasTypes
        ? undefined
        : "a kernel with CONFIG_DEBUG_INFO_BTF; without it rules of nftables judge in place, by iptables' match or a queue",
      ["node"],
    ),
    better(
      "hook",
      hasProgramType ? undefined : "rules of nftables, by iptables' match or a queue",
      "Linux 6.4 or later with CONFIG_NETFILTER_BPF_LINK has programs at the hook, which are faster, and which alone can answer denied senders (--deny reject)",
    ),
    needed("bpf file system", hasFileSystem, "mount -t bpf bpf /sys/fs/bpf"),
    better(
      "connection tracking",
      tracks ? undefined : "not loaded",
      "modprobe nf_conntrack: the kernel loads it by itself where modules may be loaded",
    ),
    attachedCheck(inPlace),
    better(
      "bridged packets",
      bridgesUnseen.length === 0 ? undefined : `${bridgesUnseen.join(", ")} not 1`,
      `modprobe br_netfilter; sysctl -w ${bridgesUnseen.map((key) => `${key}=1`).join(" ")}: else packets between pods of one bridge are not judged`,
    ),
    better(
      "kube-proxy",
      hasIpvs ? "in IPVS mode (kube-ipvs0)" : undefined,
      "its mode iptables or nftables: by IPVS, traffic between pods of one node is not judged",
    ),
    ...hookedChecks(inPlace),
    better(
      "ends of connections",
      untold.length === 0 ? undefined : `${untold.join(", ")} not 1`,
      `sysctl -w ${untold.map((key) => `${key}=1`).join(" ")}: else a connection's end, or its bytes, are not reported`,
    ),
  ];
}

/** What others have put beside what judges. */
function hookedChecks({ hooked }: InPlaceFacts): Check[] {
  const line = (name: string, found: string, remedy?: string) =>
    check(name, [], found, remedy, ["node"]);
  const names = ["flow offload", "neighbour discovery"] as const;
  if (hooked === undefined)
    return names.map((name) => line(name, "not asked: that takes CAP_NET_ADMIN and nftables"));
  const { flowtables, closed } = hooked;
  return [
    flowtables.length === 0
      ? line(names[0], "as it should be")
      : line(
          names[0],
          `flowtable ${flowtables.join(", ")}`,
          `nft delete flowtable ${flowtables[0]}, after the rules that name it: established connections in it pass without being judged`,
        ),
    closed.length === 0
      ? line(names[1], "as it should be")
      : line(
          names[1],
          `chain ${closed.join(", ")} drops by default`,
          "a rule there that lets ICMPv6 of the types 133 to 136 pass: else pods of one bridge may not find each other over IPv6",
        ),
  ];
}

/** What judges here, and what to do where no process keeps it. */
function attachedCheck({ attached }: InPlaceFacts): Check {
  const line = (found: string, remedy?: string) => check("in place", [], found, remedy, ["node"]);
  if (attached === undefined) return line("nothing is attached");
  const { byPrograms, pid } = attached;
  const by = byPrograms ? "by programs at netfilter's hook" : "by rules of nftables";
  if (pid !== undefined) return line(`pid ${pid} judges ${by}`);
  const remedy = "sluice node goes on with it; sluice node --remove takes it away";
  return byPrograms
    ? line(`the last table judges ${by}, without a process`, remedy)
    : line("pins without programs at the hook, without a process", remedy);
}

function check(
  name: string,
  neededFor: readonly Purpose[],
  found: string,
  remedy: string | undefined,
  betterFor: readonly Purpose[] = [],
): Check {
  const made = { name, neededFor, ...(betterFor.length > 0 && { betterFor }), found };
  if (remedy === undefined) return { ...made, status: "ok" };
  return { ...made, status: neededFor.length > 0 ? "missing" : "limited", remedy };
}

function addonCheck({ addonError, node }: Machine): Check {
  return check(
    "native addon",
    purposes,
    addonError ?? `loads in node ${node}`,
    addonError === undefined ? undefined : addonRemedy,
  );
}

/** A lab's own user namespace gives these capabilities, so they are not needed for a lab. */
function capabilityChecks(machine: Machine): Check[] {
  const wanted: readonly [Capability, readonly Purpose[], readonly Purpose[]][] = [
    ["CAP_NET_ADMIN", ["run", "af-xdp", "kernel", "sidecar", "node"], []],
    ["CAP_NET_RAW", ["run", "af-xdp", "kernel", "capture", "sidecar"], []],
    ["CAP_BPF", ["af-xdp", "kernel", "node"], ["run", "sidecar"]],
    ["CAP_PERFMON", ["kernel", "node"], ["run", "sidecar"]],
  ];
  return wanted.map(([name, neededFor, betterFor]) => {
    // CAP_SYS_ADMIN includes these two, on older kernels and on new ones.
    const isPart = name === "CAP_BPF" || name === "CAP_PERFMON";
    const stand = isPart && machine.capabilities.has("CAP_SYS_ADMIN");
    const has = stand || machine.capabilities.has(name);
    const found = has ? "held" : "not held";
    const lost = name === "CAP_PERFMON" ? "; without it --link auto does not choose kernel" : "";
    const remedy = has ? undefined : `${grant(machine, name)}${lost}`;
    return check(name, neededFor, found, remedy, betterFor);
  });
}

/** Shown only if there are any: failing open is a choice that an operator should remember. */
function failOpenCheck({ failOpen }: Machine): Check[] {
  if (failOpen === undefined || failOpen.length === 0) return [];
  const remedy =
    "traffic passes there unjudged while no sluice run holds them; a clean end of a run takes that away";
  return [check("fail open", [], failOpen.join(", "), remedy, ["run"])];
}

function nameGuardChecks({ nameGuardErrors, guardsLeft }: Machine): Check[] {
  const refused = [...(nameGuardErrors ?? [])].map(
    ([family, errno]) => `${family}: ${getSystemErrorName(-errno)}`,
  );
  const guard = check(
    "guard by name",
    [],
    refused.length === 0 ? "works" : refused.join(", "),
    refused.length === 0
      ? undefined
      : "CAP_NET_ADMIN, and a kernel with CONFIG_NF_TABLES_INET, _ARP and _BRIDGE; without it an interface that is made anew is the kernel's own until it is taken",
  );
  const left = guardsLeft.map(({ table, names }) =>
    check(
      "guard that was left",
      [],
      names.join(", "),
      `nothing passes there until the next sluice that takes these interfaces; by hand: ${["inet", "arp", "bridge"].map((family) => `nft delete table ${family} ${table}`).join("; ")}`,
    ),
  );
  return [...(nameGuardErrors === undefined ? [] : [guard]), ...left].map((each) => ({
    ...each,
    betterFor: ["run", "sidecar"],
  }));
}

function grant({ user }: Machine, name: Capability): string {
  const short = name.replace("CAP_", "");
  return user === 0
    ? `in a container: docker run --cap-add ${short}, or securityContext.capabilities.add: ["${short}"]`
    : `sudo, or in a systemd unit: AmbientCapabilities=${name}`;
}

function kernelChecks({ features, user }: Machine): Check[] {
  if (features === undefined) return [];
  const word = (feature: KernelFeature): string =>
    features[feature] === 0 ? "works" : getSystemErrorName(-features[feature]);
  const refused = (feature: KernelFeature, remedy: string): string | undefined =>
    features[feature] === 0 ? undefined : remedy;
  /** If privilege is missing, the line of the capability above says so. */
  const lacking = (feature: KernelFeature, driver: string): string | undefined =>
    refused(feature, ["EPERM", "EACCES"].includes(word(feature)) ? "see the capabilities" : driver);
  const nobody = user === 0 ? "" : "sudo ";
  return [
    check(
      "/dev/net/tun",
      ["lab", "kernel"],
      word("tun"),
      refused(
        "tun",
        ["EPERM", "EACCES"].includes(word("tun"))
          ? `${nobody}chmod 0666 /dev/net/tun; in a container: --device /dev/net/tun`
          : `${nobody}sh -c 'modprobe tun; mkdir -p /dev/net; mknod -m 666 /dev/net/tun c 10 200'; in a container: --device /dev/net/tun`,
      ),
      ["run", "sidecar"],
    ),
    check(
      "AF_PACKET",
      ["run", "capture", "sidecar"],
      word("packetSocket"),
      lacking("packetSocket", `${nobody}modprobe af_packet (CONFIG_PACKET)`),
    ),
    check(
      "AF_XDP",
      ["af-xdp"],
      word("xdpSocket"),
      lacking(
        "xdpSocket",
        "a kernel with CONFIG_XDP_SOCKETS; `run --link af-packet` works without",
      ),
    ),
    check(
      "BPF programs",
      ["af-xdp", "kernel"],
      word("loadProgram"),
      lacking(
        "loadProgram",
        "a kernel with CONFIG_BPF_SYSCALL; `run --link af-packet` works without",
      ),
    ),
    check(
      "tcx",
      [],
      word("attachTcx"),
      refused(
        "attachTcx",
        "linux 6.6 and CAP_BPF; without it a wire holds the kernel off by a tc filter, which stays after a kill -9 until the next start, nothing can fail open, and with --link kernel what was admitted passes for two seconds after a kill -9",
      ),
      ["run", "af-xdp", "kernel", "sidecar", "node"],
    ),
    check(
      "seccomp",
      [],
      word("seccomp"),
      refused(
        "seccomp",
        "a kernel with CONFIG_SECCOMP_FILTER; without it packet threads run unconfined",
      ),
      ["lab", "run", "af-xdp", "sidecar"],
    ),
  ];
}

/** Not needed by a process that can make network namespaces without a user namespace. */
function userNamespaceCheck(machine: Machine): Check {
  const { capabilities, userNamespaceError: error, userNamespaceLimits: limits } = machine;
  const privileged = capabilities.has("CAP_NET_ADMIN") && capabilities.has("CAP_SYS_ADMIN");
  const cures = limits.map((each) => {
    const [name, value] = each.split("=");
    const better = name?.startsWith("user.max") ? "15000" : value === "0" ? "1" : "0";
    return `sudo sysctl -w ${name}=${better}`;
  });
  const remedy =
    error === "unshare is not installed"
      ? "apt-get install util-linux"
      : cures.length > 0
        ? cures.join("; ")
        : "run the lab as root; in a container: --security-opt seccomp=unconfined, or --privileged";
  return check(
    "user namespaces",
    privileged ? [] : ["lab"],
    error === undefined ? "can be made" : [error, ...limits].join(", "),
    error === undefined ? undefined : remedy,
    ["lab"],
  );
}

function lockedMemoryCheck({ lockedMemoryMax: most, capabilities }: Machine): Check {
  const enough = most >= lockedMemoryWanted || capabilities.has("CAP_IPC_LOCK");
  const found = Number.isFinite(most) ? `${Math.floor(most / 1024)} KiB` : "unlimited";
  return check(
    "locked memory",
    ["af-xdp"],
    capabilities.has("CAP_IPC_LOCK") ? `${found}, and CAP_IPC_LOCK` : found,
    enough ? undefined : "ulimit -l unlimited, or in a systemd unit: LimitMEMLOCK=infinity",
  );
}

function capCheck({ capError }: Machine): Check {
  return check("package cap", ["capture"], capError ?? "loads", capError && capRemedy());
}
