import { readFileSync, readlinkSync } from "node:fs";

const capNetAdmin = 12;
const capSysAdmin = 21;

/** Set on what `unshare` starts, so that a kernel that gives no capabilities there is not asked twice. */
export const enteredVariable = "SLUICE_LAB_ENTERED";

/**
 * Reports whether this process may make network namespaces and interfaces.
 *
 * The effective capabilities are asked, not the user: root in a container may have none, and the
 * first user of a user namespace has all that count there.
 */
export function mayMakeNamespaces(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  if (effective === undefined) return false;
  const bits = BigInt(`0x${effective}`);
  return [capNetAdmin, capSysAdmin].every((bit) => (bits >> BigInt(bit)) & 1n);
}

/** The words that start a program as root of a user and a network namespace of its own. */
export const enterUserNamespace: readonly string[] = [
  "unshare",
  "--user",
  "--map-root-user",
  "--net",
  "--",
];

/** Reports whether a process is in another user namespace than this one. Errors: as readlink's. */
export function isInOtherUserNamespace(pid: number): boolean {
  return readlinkSync(`/proc/${pid}/ns/user`) !== readlinkSync("/proc/self/ns/user");
}
