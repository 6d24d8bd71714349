import { readFileSync, statSync } from "node:fs";

/**
 * The process that holds a flock() lock on a file or folder; undefined where there is none, or it cannot be seen from
 * here, as from another container.
 *
 * Source: man 5 proc_locks.
 */
export function lockHolder(path: string): number | undefined {
  try {
    const { dev, ino } = statSync(path);
    const major = (dev >>> 8) & 0xfff;
    const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
    const device = [major, minor].map((part) => part.toString(16).padStart(2, "0")).join(":");
    const locks = readFileSync("/proc/locks", "utf8");
    const held = new RegExp(`FLOCK +\\S+ +\\S+ +(\\d+) +${device}:${ino} `).exec(locks);
    const pid = Number(held?.[1] ?? 0);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
