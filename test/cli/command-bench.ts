import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import { fakeIo } from "./fake-io.js";

/** Files of a test's own in a folder that goes with the test. */
export function ownFiles(): (text: string, ending?: string) => string {
  const folder = mkdtempSync(join(tmpdir(), "sluice-test-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  let files = 0;
  return (text, ending = "yaml") => {
    const path = join(folder, `${files++}.${ending}`);
    writeFileSync(path, text);
    return path;
  };
}

/** Runs a command as the program does; returns its exit code and what it printed. */
export async function sluice(...words: string[]) {
  const io = fakeIo();
  const code = await runCli(words, io);
  return { code, out: io.out(), err: io.err() };
}
