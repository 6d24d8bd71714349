#!/usr/bin/env node
import { report, runCli } from "./frame.js";
import type { Io } from "./io.js";

/**
 * The process around a command line. SIGINT and SIGTERM keep their default meaning here (the shell
 * sees 130 and 143, even in the middle of a long compile); a command that has something to clean
 * up listens for them itself.
 */

const io: Io = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  isTerminal: { stdout: process.stdout.isTTY === true, stderr: process.stderr.isTTY === true },
};

/** What a program that SIGPIPE ends leaves in its shell: the reader has gone, and that is no fault. */
const readerGone = 141;

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? readerGone : report(error, io));
  });
}
process.on("uncaughtException", (error) => process.exit(report(error, io)));

const exitCode = await runCli(process.argv.slice(2), io);
// A pipe takes what was written in its own time; exit only when it has all of it, or refuses it.
process.stdout.write("", (refused) => {
  process.stderr.write("", () => process.exit(refused ? readerGone : exitCode));
});
