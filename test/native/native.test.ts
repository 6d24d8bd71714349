import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { finish, root } from "../live/lab-harness.js";

// Goal: the C++ unit tests pass under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
// Method: build native_test without Node (scripts/build-native.mjs --sanitize), run it and report each of
// its TAP lines. To build it here, not before all tests, uses the processors that other tests leave.

test("native unit tests, sanitized", { timeout: 3_600_000 }, async () => {
  const run = (command: string, ...args: string[]) =>
    finish(
      spawn(command, args, {
        cwd: root,
        env: {
          ...process.env,
          ASAN_OPTIONS: "detect_leaks=1",
          UBSAN_OPTIONS: "print_stacktrace=1",
        },
      }),
    );
  const built = await run(process.execPath, "scripts/build-native.mjs", "--sanitize");
  expect(built.code, built.stderr).toBe(0);
  const { code, stdout, stderr } = await run("build/Debug/native_test");
  expect(
    stdout.split("\n").filter((line) => line.startsWith("not ok")),
    stderr,
  ).toEqual([]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^1\.\.[1-9]\d*$/m);
});
