import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a folder, and those above it that are missing; one that exists stays as it is.
 *
 * `mkdirSync` with `recursive` never returns where the kernel answers ENOENT below a folder that exists, as
 * in /proc.
 *
 * Errors: those of `mkdirSync`.
 */
export function makeFolder(path: string, mode: number): void {
  for (const isAgain of [false, true]) {
    try {
      mkdirSync(path, { mode });
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST" && statSync(path).isDirectory()) return;
      const above = dirname(path);
      if (isAgain || code !== "ENOENT" || above === path) throw error;
      makeFolder(above, mode);
    }
  }
}
