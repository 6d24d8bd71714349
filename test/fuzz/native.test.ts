import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { fuzzTargets, missingForFuzz } from "../../scripts/fuzz-build.mjs";

// Goal: no fuzz target finds anything in 10 seconds; a target that has a fault to find, finds it, and
// says how to find it again.
// Method: run scripts/fuzz.mjs, which builds the targets with clang; the second time each of them with
// its planted fault. The seed is fixed: a gate is to tell of a change, not of luck, so that what it
// finds was not there before. Searching further is what npm run fuzz is for, whose seed is not.
// SLUICE_FUZZ_SECONDS is for how long each runs: the gate has no more time, npm run fuzz takes a minute.

const root = fileURLToPath(new URL("../..", import.meta.url));
const seconds = Number(process.env["SLUICE_FUZZ_SECONDS"] ?? 10);
const targets = Object.keys(fuzzTargets);
/** The build may have to wait for a busy machine. */
const timeoutMs = 3_600_000 + seconds * 1000;

function fuzz(...args: readonly string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["scripts/fuzz.mjs", ...args], { cwd: root });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    child.on("close", (status) => resolve({ status, output }));
  });
}

describe("fuzz", () => {
  test("no target finds anything", { timeout: timeoutMs }, async (context) => {
    const missing = missingForFuzz();
    if (missing !== undefined) context.skip(`fuzz: ${missing}`);
    const { status, output } = await fuzz(
      ...["--seconds", `${seconds}`, "--seed", "1", "--jobs", `${targets.length}`],
      // On a faster machine too, no inputs that nobody has seen.
      ...["--runs", `${5_000 * seconds}`],
    );
    for (const name of targets) expect(output).toContain(`${name}: nothing found`);
    expect(status).toBe(0);
  });

  test("a seed gives the same inputs each time", { timeout: 3_600_000 }, async (context) => {
    const missing = missingForFuzz();
    if (missing !== undefined) context.skip(`fuzz: ${missing}`);
    const figures = [];
    for (let time = 0; time < 2; time++) {
      const { output } = await fuzz("--seed", "2", "--runs", "400");
      const lines = output.matchAll(/^(\w+): .*(, \d+ edges, \d+ features)$/gm);
      // Targets run side by side: which of them ends first is no matter.
      figures.push(Array.from(lines, ([, name, counts]) => `${name}${counts}`).sort());
    }
    expect(figures[0]).toHaveLength(targets.length);
    expect(figures[1]).toEqual(figures[0]);
  });

  test("every target finds the fault that is planted in it", {
    timeout: 3_600_000,
  }, async (context) => {
    const missing = missingForFuzz();
    if (missing !== undefined) context.skip(`fuzz: ${missing}`);
    const { status, output } = await fuzz("--canary", "--seconds", "1800", "--seed", "1");
    for (const name of targets) expect(output).toContain(`${name}: found its fault`);
    expect(status).toBe(0);
  });
});
