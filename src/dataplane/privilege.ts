import { readFileSync } from "node:fs";
import { kernelFeatureWords } from "../layout/layout.gen.js";
import { addon } from "./addon.js";
import { native } from "./errors.js";

/** The capabilities that this program uses, by number. Source: man 7 capabilities. */
export const capabilities = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof capabilities;

/**
 * Reads which of these capabilities this process has in effect.
 *
 * The user id does not tell it: root in a container may have none, and the first user of a user namespace has
 * all of them there.
 */
export function effectiveCapabilities(): Set<Capability> {
  const status = readFileSync("/proc/self/status", "utf8");
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const names = Object.keys(capabilities) as Capability[];
  return new Set(names.filter((name) => (bits >> BigInt(capabilities[name])) & 1n));
}

/**
 * Drops every capability except `keep` in all threads of this process, and sets no_new_privs: no program that
 * it starts can gain more. It cannot be undone.
 *
 * Errors: DataplaneError.
 */
export function dropCapabilities(keep: readonly Capability[]): void {
  const bits = keep.reduce((sum, name) => sum | (1n << BigInt(capabilities[name])), 0n);
  native("drop capabilities", () => addon().dropCapabilities(bits));
}

/**
 * Limits this process to answering on the sockets that it has: no capability, no file by name, no program, no
 * new socket, no other process, and bounded descriptors and memory. It cannot be undone.
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

/** A kernel feature that the data plane uses. */
export type KernelFeature = (typeof kernelFeatureWords)[number];

/** Tests each kernel feature that the data plane uses. Shape: its errno, 0 when it works. */
export function tryKernelFeatures(): Readonly<Record<KernelFeature, number>> {
  const errors = addon().tryKernelFeatures();
  const named = kernelFeatureWords.map((name, index) => [name, errors[index] ?? 0]);
  return Object.fromEntries(named) as Record<KernelFeature, number>;
}
