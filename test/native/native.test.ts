import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// Goal: the C++ unit tests pass under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
// Method: run build/Debug/native_test (built without Node by scripts/build-native.mjs --sanitize) and
// report each of its TAP lines.

const root = fileURLToPath(new URL("../..", import.meta.url));
const program = `${root}build/Debug/native_test`;

test("native unit tests, sanitized", { timeout: 300_000 }, () => {
  expect(existsSync(program), "run `node scripts/build-native.mjs --sanitize` first").toBe(true);
  const result = spawnSync(program, [], {
    encoding: "utf8",
    env: { ...process.env, ASAN_OPTIONS: "detect_leaks=1", UBSAN_OPTIONS: "print_stacktrace=1" },
    maxBuffer: 64 * 1024 * 1024,
  });
  const failed = result.stdout.split("\n").filter((line) => line.startsWith("not ok"));
  expect(failed, result.stderr).toEqual([]);
  expect(result.status, result.stderr).toBe(0);
  expect(result.stdout).toMatch(/^1\.\.[1-9]\d*$/m);
});
