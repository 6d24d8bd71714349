import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

// Goal: a figure that rises by more than its spread fails the gate by its name, and nothing else does.
// Method: the real script, against a line that it has just written and copies in which a figure is another. It
// measures twice: all other comparisons are of the first line.

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;
let measured: string;
let line: ReturnType<typeof JSON.parse>;

function figures(file: string, ...words: string[]) {
  return spawnSync(process.execPath, ["scripts/figures.mjs", "--file", file, ...words], {
    cwd: root,
    encoding: "utf8",
  });
}

/** What is said when the line before has `change` made to it; `words` may have it measured anew. */
function against(change: (before: typeof line) => void, words = ["--now", measured]) {
  const before = structuredClone(line);
  change(before);
  const file = join(folder, "changed.jsonl");
  writeFileSync(file, `{"an": "older line"}\n${JSON.stringify(before)}\n`);
  return figures(file, ...words);
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-figures-"));
  measured = join(folder, "one.jsonl");
  writeFileSync(measured, "");
  const { status, stderr } = figures(measured, "--append");
  expect(status, stderr).toBe(0);
  line = JSON.parse(readFileSync(measured, "utf8"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a line has the commit and every figure", () => {
  expect(line.commit).toMatch(/^[0-9a-f]{12}$/);
  expect(Object.keys(line.instructions)).toContain("whole path, established, batch");
  expect(line.lines.src).toBeGreaterThan(10_000);
  expect(line.lines.native).toBeGreaterThan(10_000);
});

test("what is as before passes, and so does what fell", () => {
  expect(against(() => {}, []).status).toBe(0);
  const fallen = against((before) => {
    before.lines.src *= 2;
    before.instructions["connection, expiry"] *= 2;
  });
  expect(fallen.stdout).toContain("(-50.0 %)");
  expect(fallen.status).toBe(0);
});

test.each([
  ["instructions", "connection, expiry", 1.02],
  ["lines", "src", 1.06],
  ["lines", "native", 1.06],
  ["bytes", "addon", 1.06],
  ["bytes", "package", 1.06],
])("%s, %s that rose too far are told by name", (group, name, factor) => {
  const { status, stdout } = against((before) => {
    before[group][name] /= factor;
  });
  expect(stdout.match(/^HIGH .*$/gm)).toEqual([expect.stringContaining(`HIGH ${group}, ${name}:`)]);
  expect(stdout).toContain("npm run figures -- --append");
  expect(status).toBe(1);
});

test("sizes are compared with those of the same compiler alone", () => {
  const bytes = { addon: 1, package: 1 };
  const other = against((before) => Object.assign(before, { compiler: "another", bytes }));
  expect(other.stdout).toContain("passed over: bytes");
  expect(other.status).toBe(0);
});
