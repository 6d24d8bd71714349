import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Bench, labObstacle, named } from "./lab-harness.js";

describe.skipIf(labObstacle !== undefined)(named("demo", labObstacle), () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  test("shows matrix, denial, swap and latency, and leaves nothing", async () => {
    const { code, stdout, stderr } = await bench.run("demo");
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toContain("all 204 connections behave as the table says");
    expect(stdout).toMatch(/DENIED\s+shop\/frontend .* -> shop\/database .* 5432\/tcp/);
    expect(stdout).toMatch(/three-tier\/policies\.yaml:\d+:\d+/);
    expect(stdout).toMatch(/ok {2}shop\/payment -> shop\/database .* checksum equal/);
    expect(stdout).toMatch(/ok {2}shop\/frontend -> shop\/payment .* 0 bytes since/);
    expect(stdout).toMatch(/the filter adds, each packet +p50 +-?[\d.]+ µs +p99 +-?[\d.]+ µs/);
    expect(stdout).toMatch(
      /ok {2}window -> http:\/\/orders\/ +allowed: bakery\/orders-\S+ answers/,
    );
    expect(stdout).toMatch(/ok {2}window -> http:\/\/ledger-0\.ledger:7070\/ +denied: no answer/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colour is what must not be there.
    expect(stdout).not.toMatch(/\x1b/);
    expect(bench.left()).toEqual([]);
  });

  test("asks by a client of Node's where there is no curl", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-path-"));
    const programs = ["nsenter", "unshare", "sh", "mount", "umount", "hostname", "env"];
    try {
      for (const program of programs) symlinkSync(which(program), join(folder, program));
      const poor = new Bench([join(folder, "env"), `PATH=${folder}`]);
      const { code, stdout, stderr } = await poor.run("demo").finally(() => poor.close());
      expect(code, stdout + stderr).toBe(0);
      expect(stdout).toContain(
        "6. A repository: Deployments and Services of examples/bakery, its plain files",
      );
      expect(stdout).toContain("7. a client of Node in the pods");
      expect(stdout).toMatch(/ok {2}orders -> \S+ +allowed: bakery\/ledger-0 answers/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function which(program: string): string {
  return spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" }).stdout.trim();
}
