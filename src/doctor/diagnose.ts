import { getSystemErrorName } from "node:util";
import { addonRemedy } from "../dataplane/errors.js";
import type { Capability, KernelFeature } from "../dataplane/privilege.js";
import { capRemedy } from "./cap-package.js";
import type { Machine } from "./machine.js";

/** The intended uses of a machine. */
export const purposes = ["lab", "run", "af-xdp", "capture"] as const;
export type Purpose = (typeof purposes)[number];

/** One check. */
export interface Check {
  readonly name: string;
  /** `missing` prevents `neededFor`; `limited` only makes something less good. */
  readonly status: "ok" | "missing" | "limited";
  readonly neededFor: readonly Purpose[];
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
  ];
  const ready = (purpose: Purpose) =>
    !checks.some((each) => each.status === "missing" && each.neededFor.includes(purpose));
  return {
    checks,
    readyFor: {
      lab: ready("lab"),
      run: ready("run"),
      "af-xdp": ready("af-xdp"),
      capture: ready("capture"),
    },
  };
}

function check(
  name: string,
  neededFor: readonly Purpose[],
  found: string,
  remedy: string | undefined,
): Check {
  if (remedy === undefined) return { name, status: "ok", neededFor, found };
  return { name, status: neededFor.length > 0 ? "missing" : "limited", neededFor, found, remedy };
}

function addonCheck({ addonError, node }: Machine): Check {
  return check(
    "native addon",
    ["lab", "run", "af-xdp", "capture"],
    addonError ?? `loads in node ${node}`,
    addonError === undefined ? undefined : addonRemedy,
  );
}

/** A lab's own user namespace gives these capabilities, so they are not needed for a lab. */
function capabilityChecks(machine: Machine): Check[] {
  const wanted: readonly [Capability, readonly Purpose[]][] = [
    ["CAP_NET_ADMIN", ["run", "af-xdp"]],
    ["CAP_NET_RAW", ["run", "af-xdp", "capture"]],
    ["CAP_BPF", ["af-xdp"]],
  ];
  return wanted.map(([name, neededFor]) => {
    // CAP_SYS_ADMIN includes CAP_BPF, on older kernels and on new ones.
    const stand = name === "CAP_BPF" && machine.capabilities.has("CAP_SYS_ADMIN");
    const has = stand || machine.capabilities.has(name);
    return check(
      name,
      neededFor,
      has ? "held" : "not held",
      has ? undefined : grant(machine, name),
    );
  });
}

/** Shown only if there are any: failing open is a choice that an operator should remember. */
function failOpenCheck({ failOpen }: Machine): Check[] {
  if (failOpen === undefined || failOpen.length === 0) return [];
  const remedy =
    "traffic passes there unjudged while no sluice run holds them; a clean end of a run takes that away";
  return [check("fail open", [], failOpen.join(", "), remedy)];
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
  return [...(nameGuardErrors === undefined ? [] : [guard]), ...left];
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
      ["lab"],
      word("tun"),
      refused(
        "tun",
        ["EPERM", "EACCES"].includes(word("tun"))
          ? `${nobody}chmod 0666 /dev/net/tun; in a container: --device /dev/net/tun`
          : `${nobody}sh -c 'modprobe tun; mkdir -p /dev/net; mknod -m 666 /dev/net/tun c 10 200'; in a container: --device /dev/net/tun`,
      ),
    ),
    check(
      "AF_PACKET",
      ["run", "capture"],
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
      ["af-xdp"],
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
        "linux 6.6 and CAP_BPF; without it a wire holds the kernel off by a tc filter, which stays after a kill -9 until the next start, and nothing can fail open",
      ),
    ),
    check(
      "seccomp",
      [],
      word("seccomp"),
      refused(
        "seccomp",
        "a kernel with CONFIG_SECCOMP_FILTER; without it packet threads run unconfined",
      ),
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
