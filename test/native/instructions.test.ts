import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// Goal: looking up, tracking and parsing take no more instructions, and no fewer, than golden.json
// says; a count that is off is told by name.
// Method: count with valgrind (bench/instructions/count.mjs), once against the golden file and once
// against a copy in which one count is another.

const root = fileURLToPath(new URL("../..", import.meta.url));
const golden = join(root, "bench/instructions/golden.json");
const count = (...words: string[]) =>
  spawnSync(process.execPath, ["bench/instructions/count.mjs", ...words], {
    cwd: root,
    encoding: "utf8",
  });

const valgrind = (process.env["PATH"] ?? "")
  .split(":")
  .some((folder) => existsSync(join(folder, "valgrind")));
const obstacle =
  process.arch !== "x64" ? "x86-64" : valgrind ? undefined : "valgrind: apt-get install valgrind";

describe.skipIf(obstacle !== undefined)(
  obstacle === undefined ? "instruction counts" : `instruction counts (need ${obstacle})`,
  () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "sluice-test-instructions-"));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    test("are those of the golden file", () => {
      const { status, stdout, stderr } = count();
      expect(stdout).not.toContain("DIFFER");
      expect(status, stdout + stderr).toBe(0);
      const { instructionsPerItem } = JSON.parse(readFileSync(golden, "utf8"));
      for (const name of Object.keys(instructionsPerItem))
        expect(stdout).toContain(`ok     ${name}:`);
    });

    test("that are off are told by name", () => {
      const name = "connection, expiry";
      const doctored = JSON.parse(readFileSync(golden, "utf8"));
      doctored.instructionsPerItem[name] /= 1.5;
      const file = join(folder, "golden.json");
      writeFileSync(file, JSON.stringify(doctored));
      const { status, stdout } = count("--golden", file, "--only", "connection, ");
      expect(stdout).toContain(`DIFFER ${name}:`);
      expect(stdout).toContain("ok     connection, hit, batch:");
      expect(status).toBe(1);
    });

    test("that nobody knows of are refused", () => {
      const { status, stderr } = count("--only", "no such count");
      expect(stderr).toContain('no count has "no such count" in its name');
      expect(status).toBe(4);
    });
  },
);
