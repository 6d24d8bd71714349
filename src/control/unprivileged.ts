import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { confineListener } from "../dataplane/privilege.js";

/**
 * Turns this process into a harmless helper of the enforcing process. It has the lowest CPU priority, is the
 * first that the kernel kills when memory runs out, ends with the enforcing process and not by signals, and
 * can use only its open descriptors.
 *
 * Errors: DataplaneError.
 */
export function becomeUnprivileged(limits: Parameters<typeof confineListener>[0]): void {
  // A terminal or service manager signals both processes; only the enforcing one must act on it.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  setPriority(15);
  try {
    writeFileSync("/proc/self/oom_score_adj", "900");
  } catch {
    // If it cannot be written, the kernel chooses by size.
  }
  confineListener(limits);
}
