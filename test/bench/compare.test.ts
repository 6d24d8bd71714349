import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

// Goal: bench:compare tells a slower tree from a faster one, refuses what it cannot compare, and
// leaves nothing behind, also when the other commit does not build or somebody stops it.
// Method: a repository in small, whose build writes a program that takes turns like native_bench and
// is as slow as the commit says.

const compare = fileURLToPath(new URL("../../bench/compare/compare.mjs", import.meta.url));
let folder: string;
let repository: string;
let temporary: string;

/** Writes `build/Release/native_bench`, which says that an item takes `ns`. */
const buildScript = (ns: number) => `
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
mkdirSync("build/Release", { recursive: true });
writeFileSync("build/Release/native_bench", \`#!\${process.execPath}
console.log(JSON.stringify({ setupMs: 0, memoryBytes: 0 }));
require("readline").createInterface({ input: process.stdin }).on("line", () =>
  console.log(JSON.stringify({ ns: ${ns}, p50: ${ns}, p99: ${ns}, answers: 1 })));
\`);
chmodSync("build/Release/native_bench", 0o755);
`;

function git(...words: string[]): void {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
  const result = spawnSync("git", [...identity, ...words], { cwd: repository, encoding: "utf8" });
  expect(result.status, result.stderr).toBe(0);
}

function commit(script: string, tag: string): void {
  writeFileSync(join(repository, "scripts/build-native.mjs"), script);
  git("add", "-A");
  git("commit", "-qm", tag);
  git("tag", tag);
}

const env = () => ({ ...process.env, TMPDIR: temporary, BENCH_ROUNDS: "3" });

function run(...words: string[]) {
  return spawnSync(process.execPath, [compare, ...words], {
    cwd: repository,
    encoding: "utf8",
    env: env(),
  });
}

function expectNothingLeft(): void {
  expect(readdirSync(temporary)).toEqual([]);
  const { stdout } = spawnSync("git", ["worktree", "list"], { cwd: repository, encoding: "utf8" });
  expect(stdout.trim().split("\n")).toHaveLength(1);
}

let child: ChildProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-test-compare-"));
  repository = join(folder, "repository");
  temporary = join(folder, "temporary");
  mkdirSync(join(repository, "scripts"), { recursive: true });
  mkdirSync(temporary);
  git("init", "-q");
  writeFileSync(join(repository, ".gitignore"), "build/\n");
  commit(buildScript(10), "slow");
  commit("process.stderr.write('no compiler'); process.exit(1);", "broken");
  commit(`${buildScript(10)}\nsetInterval(() => {}, 1000);`, "endless");
  commit(buildScript(5), "fast");
});

afterEach(() => {
  child?.kill("SIGKILL");
  child = undefined;
  rmSync(folder, { recursive: true, force: true });
});

test("a tree that takes half the time has half the ratio", () => {
  const { status, stdout, stderr } = run("slow", "--", "connections, batch");
  expect(status, stderr).toBe(0);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(rows.map(({ name }) => name)).toEqual([
    "native: connections, batch, 1000 flows",
    "native: connections, batch, 100000 flows",
  ]);
  for (const row of rows) {
    expect(row).toMatchObject({ ratio: 0.5, spread: 0, against: "slow", value: 5, base: 10 });
  }
  expect(stderr).toContain("faster");
  expectNothingLeft();
});

test("what cannot be compared is refused in a sentence", () => {
  const cases: readonly (readonly [words: string[], status: number, text: string])[] = [
    [[], 2, "which commit?"],
    [["nosuchcommit"], 2, 'git knows no commit "nosuchcommit"'],
    [["slow", "--", "nosuchbench"], 2, "nothing has nosuchbench in its name"],
    [["broken", "--", "connections"], 4, "building broken failed:\nno compiler"],
  ];
  for (const [words, status, text] of cases) {
    const result = run(...words);
    expect(result.stderr).toContain(text);
    expect(result.status).toBe(status);
    expect(result.stdout).toBe("");
    expectNothingLeft();
  }
});

test("a comparison that is stopped takes its worktree with it", async () => {
  const words = [compare, "endless", "--", "connections"];
  const started = spawn(process.execPath, words, { cwd: repository, env: env() });
  child = started;
  let stderr = "";
  started.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<number | null>((resolve) => started.on("close", resolve));
  // Its build never ends, but has written the program when it is well under way.
  const isBuilding = () =>
    readdirSync(temporary).some((name) =>
      existsSync(join(temporary, name, "base/build/Release/native_bench")),
    );
  for (let tries = 0; tries < 400 && !isBuilding(); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(isBuilding(), stderr).toBe(true);
  started.kill("SIGTERM");
  expect(await ended).toBe(130);
  expect(stderr).toContain("stopped by SIGTERM");
  expectNothingLeft();
});
