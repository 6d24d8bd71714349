import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Bench, labObstacle, named } from "./lab-harness.js";

describe.skipIf(labObstacle !== undefined)(named("demo", labObstacle), () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  test("shows matrix, denial, swap and latency in under a minute, and leaves nothing", async () => {
    const start = performance.now();
    const { code, stdout, stderr } = await bench.run("demo");
    expect(code, stdout + stderr).toBe(0);
    expect(performance.now() - start).toBeLessThan(60_000);
    expect(stdout).toContain("all 204 connections behave as the table says");
    expect(stdout).toMatch(/DENIED\s+shop\/frontend .* -> shop\/database .* 5432\/tcp/);
    expect(stdout).toMatch(/three-tier\/policies\.yaml:\d+:\d+/);
    expect(stdout).toMatch(/ok {2}shop\/payment -> shop\/database .* checksum equal/);
    expect(stdout).toMatch(/ok {2}shop\/frontend -> shop\/payment .* 0 bytes since/);
    expect(stdout).toMatch(/the filter adds, each packet +p50 +-?[\d.]+ µs +p99 +-?[\d.]+ µs/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colour is what must not be there.
    expect(stdout).not.toMatch(/\x1b/);
    expect(bench.left()).toEqual([]);
  });
});
