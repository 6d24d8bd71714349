import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { confineListener } from "../dataplane/privilege.js";

/**
 * Makes this process one that only works for the process that enforces, and for nobody's harm: it gives way to
 * everything else, goes first where memory runs out, ends with the other and not by itself, and can reach nothing
 * but what it has open.
 *
 * Errors: DataplaneError.
 */
export function becomeUnprivileged(limits: Parameters<typeof confineListener>[0]): void {
  // Who is told to end, by a terminal or a service manager, is the other.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  setPriority(15);
  try {
    writeFileSync("/proc/self/oom_score_adj", "900");
  } catch {
    // Where that is not to be written, the kernel chooses by size.
  }
  confineListener(limits);
}
