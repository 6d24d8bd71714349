import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** Writes 20 MB of messages, says how much of that it holds, and writes one more when it is asked to. */
const script = `
import { unblocked } from ${JSON.stringify(join(root, "dist/cli/unblocked.js"))};
const io = unblocked({ stderr: process.stderr, stdout: process.stdout });
for (let each = 0; each < 20_000; each++) io.stderr.write("x".repeat(1_000));
process.stdout.write(String(process.stderr.writableLength));
process.stdin.once("data", () => { io.stderr.write("one more\\n"); process.exit(0); });
`;

// Goal: messages that a socket does not take, such as a journal's that stands still, neither fill memory nor stop
// the process, and are counted.
// Method: a child whose standard error is a socket that nobody reads; Node makes its pipes to children so.
test("messages to a socket that nobody reads are lost and counted, not kept", async () => {
  const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
  children.push(child);
  child.stderr.pause();
  const [held] = (await once(child.stdout, "data")) as [Buffer];
  expect(Number(held)).toBe(0);
  let said = "";
  let quiet: NodeJS.Timeout | undefined;
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    clearTimeout(quiet);
    quiet = setTimeout(() => child.stdin.end("go\n"), 100);
  });
  child.stderr.resume();
  await once(child, "close");
  clearTimeout(quiet);
  expect(said.length).toBeLessThan(2_000_000);
  expect(said).toMatch(/sluice: \d{4,} messages could not be written\none more\n$/);
});

// Goal: whoever reads may go, and the process stays.
// Method: a child with the error handlers of every command, whose pipes are closed before it writes.
test("a process whose readers have gone goes on", async () => {
  const child = spawn(process.execPath, [
    "--input-type=module",
    "-e",
    `
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => process.exit(141));
const { unblocked } = await import(${JSON.stringify(join(root, "dist/cli/unblocked.js"))});
unblocked({ stderr: process.stderr, stdout: process.stdout });
process.stdin.once("data", () => {
  process.stdout.write("ready\\n");
  process.emitWarning("a warning of Node's own");
  setTimeout(() => process.exit(7), 200);
});
`,
  ]);
  children.push(child);
  child.stdout.destroy();
  child.stderr.destroy();
  child.stdin.write("go\n");
  const [code] = await once(child, "exit");
  expect(code).toBe(7);
});
