import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { finish, root } from "../live/lab-harness.js";

const build = `
import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
const { aloneIn } = await import(process.argv[1]);
await aloneIn(process.argv[2], async () => {
  appendFileSync(process.argv[3], "begins\\n");
  await pause(100);
  appendFileSync(process.argv[3], "ends\\n");
});
`;

// Goal: two builds in one folder do not spoil each other, or compile the same twice at the same time.
test("one build at a time, and one that was killed holds up no other", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-lock-"));
  try {
    const gone = spawn("true");
    await finish(gone);
    symlinkSync(String(gone.pid), join(folder, "build.lock"));
    const log = join(folder, "log");
    const words = ["--input-type=module", "-e", build, join(root, "scripts/build-lock.mjs")];
    const run = () => finish(spawn(process.execPath, [...words, folder, log]));
    for (const start of [[run], [run, run]]) {
      for (const { code, stderr } of await Promise.all(start.map((each) => each())))
        expect(code, stderr).toBe(0);
    }
    expect(readFileSync(log, "utf8")).toBe("begins\nends\n".repeat(3));
    expect(readdirSync(folder)).toEqual(["log"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
