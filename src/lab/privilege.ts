import { readlinkSync } from "node:fs";
import { effectiveCapabilities } from "../dataplane/privilege.js";

/**
 * Set for the program that `unshare` starts, so that it does not call `unshare` again if the kernel gives no
 * capabilities there.
 */
export const enteredVariable = "SLUICE_LAB_ENTERED";

/** Reports whether this process may make network namespaces and interfaces. */
export function mayMakeNamespaces(): boolean {
  const has = effectiveCapabilities();
  return has.has("CAP_NET_ADMIN") && has.has("CAP_SYS_ADMIN");
}

/**
 * The command that starts a program as root of a new user namespace and a new network namespace.
 */
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
