import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { release } from "node:os";
import { listFailOpen } from "../dataplane/host.js";
import {
  type FoundNameGuard,
  type GuardFamily,
  listNameGuards,
  tryNameGuard,
} from "../dataplane/interfaces.js";
import { readSetting } from "../dataplane/kernel-settings.js";
import {
  type Capability,
  effectiveCapabilities,
  type KernelFeature,
  tryKernelFeatures,
} from "../dataplane/privilege.js";
import { type InPlaceFacts, readInPlaceFacts } from "./in-place-facts.js";

/** The facts about a machine. */
export interface Machine {
  readonly kernel: string;
  readonly node: string;
  readonly user: number;
  /** Why the addon cannot be loaded; undefined when it can. */
  readonly addonError: string | undefined;
  readonly capabilities: ReadonlySet<Capability>;
  /** The errno of each refusal, 0 when it works; undefined without the addon. */
  readonly features: Readonly<Record<KernelFeature, number>> | undefined;
  /**
   * Interfaces of this namespace that are set to fail open, or are failing open; undefined when unknown.
   */
  readonly failOpen: readonly string[] | undefined;
  /**
   * The errno of each family that does not support the guard by interface names; undefined: unknown.
   */
  readonly nameGuardErrors: ReadonlyMap<GuardFamily, number> | undefined;
  /** Guards in this namespace whose processes are gone. */
  readonly guardsLeft: readonly FoundNameGuard[];
  /** Why no user namespace can be made; undefined when one can. */
  readonly userNamespaceError: string | undefined;
  /** Settings that forbid user namespaces, by their sysctl names. */
  readonly userNamespaceLimits: readonly string[];
  /** Bytes of memory that this process may lock: Infinity when there is no limit. */
  readonly lockedMemoryMax: number;
  /** What `sluice node` meets in this network namespace; undefined where nobody looked. */
  readonly inPlace?: InPlaceFacts;
  /** Why the package `cap`, which `sluice capture` needs, cannot be loaded; undefined when it can. */
  readonly capError: string | undefined;
}

/** Examines this machine; leaves nothing behind. */
export function readMachine(): Machine {
  const addonError = errorOf(() => tryKernelFeatures());
  return {
    kernel: release(),
    node: process.versions.node,
    user: process.geteuid?.() ?? -1,
    addonError,
    capabilities: effectiveCapabilities(),
    features: addonError === undefined ? tryKernelFeatures() : undefined,
    failOpen: addonError === undefined ? unlessRefused(listFailOpen) : undefined,
    nameGuardErrors: addonError === undefined ? unlessRefused(tryNameGuard) : undefined,
    guardsLeft:
      (addonError === undefined ? unlessRefused(listNameGuards) : undefined)?.filter(
        ({ live }) => !live,
      ) ?? [],
    userNamespaceError: userNamespaceError(),
    userNamespaceLimits: userNamespaceLimits(),
    lockedMemoryMax: lockedMemoryMax(),
    inPlace: readInPlaceFacts(),
    capError: errorOf(() => createRequire(import.meta.url)("cap")),
  };
}

function errorOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return (error as Error).message.split("\n", 1)[0];
  }
}

function unlessRefused<Result>(look: () => Result): Result | undefined {
  try {
    return look();
  } catch {
    return undefined; // not ours to ask
  }
}

/** Makes a user and a network namespace, as a lab without root does. */
function userNamespaceError(): string | undefined {
  const words = ["--user", "--map-root-user", "--net", "true"];
  const tried = spawnSync("unshare", words, { encoding: "utf8" });
  if (tried.error !== undefined) return "unshare is not installed";
  return tried.status === 0 ? undefined : tried.stderr.trim().split("\n", 1)[0];
}

function userNamespaceLimits(): string[] {
  const against = [
    { name: "user.max_user_namespaces", value: "0" },
    { name: "user.max_net_namespaces", value: "0" },
    { name: "kernel.unprivileged_userns_clone", value: "0" },
    { name: "kernel.apparmor_restrict_unprivileged_userns", value: "1" },
  ];
  return against
    .filter(({ name, value }) => readSetting(name) === value)
    .map(({ name, value }) => `${name}=${value}`);
}

function lockedMemoryMax(): number {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? "unlimited";
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}
