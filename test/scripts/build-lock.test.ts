import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { finish, root, until } from "../live/lab-harness.js";

/** Writes down when it begins and ends; one that is to be killed does not end. */
const build = `
import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
const [lock, folder, log, killed] = process.argv.slice(1);
const { aloneIn } = await import(lock);
await aloneIn(folder, async () => {
  appendFileSync(log, killed === undefined ? "begins\\n" : "is to be killed\\n");
  await pause(killed === undefined ? 20 : 1e9);
  appendFileSync(log, "ends\\n");
});
`;

// Goal: two builds in one folder do not spoil each other, or compile the same twice at the same time, also when they
// all wait for one that is killed.
test("one build at a time, and one that is killed holds up no other", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-lock-"));
  const log = join(folder, "log");
  const words = ["--input-type=module", "-e", build, join(root, "scripts/build-lock.mjs")];
  const start = (...more: string[]) => spawn(process.execPath, [...words, folder, log, ...more]);
  const killed = start("killed");
  try {
    const said = () => readFileSync(log, { encoding: "utf8", flag: "a+" });
    await until("the one that is to be killed", () => said() !== "");
    const others = Array.from({ length: 6 }, () => finish(start()));
    killed.kill("SIGKILL");
    for (const { code, stderr } of await Promise.all(others)) expect(code, stderr).toBe(0);
    expect(said()).toBe(`is to be killed\n${"begins\nends\n".repeat(6)}`);
    expect(readdirSync(folder)).toEqual(["log"]);
  } finally {
    killed.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});
