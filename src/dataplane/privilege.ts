import { readFileSync } from "node:fs";
import { kernelFeatureWords } from "../layout/layout.gen.js";
import { addon } from "./addon.js";
import { native } from "./errors.js";

/** The capabilities that somebody here asks about, by their numbers. Source: man 7 capabilities. */
export const capabilities = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof capabilities;

/**
 * Reads which of these capabilities this process has in effect.
 *
 * The user is not asked: root in a container may have none, and the first user of a user namespace has
 * all that count there.
 */
export function effectiveCapabilities(): Set<Capability> {
  const status = readFileSync("/proc/self/status", "utf8");
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const names = Object.keys(capabilities) as Capability[];
  return new Set(names.filter((name) => (bits >> BigInt(capabilities[name])) & 1n));
}

/**
 * Takes every capability but those in `keep` from all threads of this process, and sets no_new_privs:
 * no program that it starts can have more. There is no way back.
 *
 * Errors: DataplaneError.
 */
export function dropCapabilities(keep: readonly Capability[]): void {
  const bits = keep.reduce((sum, name) => sum | (1n << BigInt(capabilities[name])), 0n);
  native("drop capabilities", () => addon().dropCapabilities(bits));
}

/**
 * Leaves this process what it takes to answer on sockets that it has, and nothing else: no capability, no
 * file by its name, no program, no other socket, no other process, and bounded descriptors and memory. There
 * is no way back.
 *
 * Errors: DataplaneError.
 */
export function confineListener(limits: {
  readonly descriptorsMax: number;
  readonly dataBytesMax: number;
}): void {
  native("confine the listener", () =>
    addon().confineListener(limits.descriptorsMax, limits.dataBytesMax),
  );
}

/** Reports whether files and folders can be opened for reading by this user without any capability. */
export function readableWithoutCapabilities(paths: readonly string[]): boolean {
  return addon().readableWithoutCapabilities(paths);
}

/** What the data plane asks of a kernel. */
export type KernelFeature = (typeof kernelFeatureWords)[number];

/** Tries what the data plane asks of a kernel. Shape: the errno of each refusal, 0 when it works. */
export function tryKernelFeatures(): Readonly<Record<KernelFeature, number>> {
  const errors = addon().tryKernelFeatures();
  const named = kernelFeatureWords.map((name, index) => [name, errors[index] ?? 0]);
  return Object.fromEntries(named) as Record<KernelFeature, number>;
}
