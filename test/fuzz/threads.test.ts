import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { missingForFuzz } from "../../scripts/fuzz-build.mjs";

// Goal: no data race where threads meet; a planted one is reported.
// Method: scripts/threads.mjs builds the native tests of threads under ThreadSanitizer and runs them.

const root = fileURLToPath(new URL("../..", import.meta.url));
const missing = missingForFuzz();

function run(args: readonly string[], env: Record<string, string> = {}) {
  return spawnSync(process.execPath, ["scripts/threads.mjs", ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
}

describe("threads", () => {
  test("no race under ThreadSanitizer", { timeout: 3_600_000 }, (context) => {
    if (missing !== undefined) context.skip(`threads: ${missing}`);
    const { status, stdout, stderr } = run([]);
    expect(stdout.match(/^not ok.*$/gm) ?? [], stderr).toEqual([]);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^1\.\.[1-9]\d*$/m);
  });

  test("a planted race is reported", { timeout: 3_600_000 }, (context) => {
    if (missing !== undefined) context.skip(`threads: ${missing}`);
    const { status, stderr } = run(["a planted race"], { SLUICE_PLANT_RACE: "1" });
    expect(stderr).toContain("WARNING: ThreadSanitizer: data race");
    expect(status).not.toBe(0);
  });
});
