#!/usr/bin/env node
import { systemReason } from "../diagnostics/system-reason.js";
import { report, runCli } from "./frame.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { isJournal } from "./journal.js";

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
  isTerminal: {
    stdin: process.stdin.isTTY === true,
    stdout: process.stdout.isTTY === true,
    stderr: process.stderr.isTTY === true,
  },
  hasJournal: isJournal(process.env, 2),
};

/**
 * The exit code of a program that SIGPIPE ends: the reader has closed the pipe, which is no error.
 */
const readerGone = 141;

/**
 * Picks the exit code for output that could not be written, and prints the reason if it is an error.
 */
function unwritten(error: NodeJS.ErrnoException): number {
  if (error.code === "EPIPE") return readerGone;
  return report(
    new CommandError(exitCodes.environment, `cannot write the output: ${systemReason(error)}`),
    io,
  );
}

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error) => process.exit(unwritten(error)));
}
process.on("uncaughtException", (error) => process.exit(report(error, io)));

const exitCode = await runCli(process.argv.slice(2), io);
// A pipe may take output slowly: exit only after it has taken all of it, or failed.
process.stdout.write("", (refused) => {
  // After a failed write, each later one only says that the stream is closed.
  const error = process.stdout.errored ?? refused;
  const code = error ? unwritten(error) : exitCode;
  process.stderr.write("", () => process.exit(code));
});
