import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { LabError } from "../lab/lab-error.js";
import { enteredVariable, enterUserNamespace, mayMakeNamespaces } from "../lab/privilege.js";
import type { Io } from "./io.js";

/**
 * The command line that starts this program again. If the process lacks the capabilities for network
 * namespaces, it starts as root of a new user namespace.
 *
 * Errors: LabError (environment) when a user namespace was tried and did not give the capabilities.
 */
export function selfWords(words: readonly string[], io: Io): [program: string, ...string[]] {
  const main = fileURLToPath(new URL("./main.js", import.meta.url));
  const node: [string, ...string[]] = [process.execPath, ...process.execArgv, main, ...words];
  if (mayMakeNamespaces()) return node;
  if (io.env[enteredVariable] !== undefined) {
    throw new LabError(
      "environment",
      "a user namespace of its own did not give CAP_NET_ADMIN and CAP_SYS_ADMIN",
      "run it as root",
    );
  }
  return [...enterUserNamespace, ...node] as [string, ...string[]];
}

/** The environment of the restarted program. */
export function selfEnvironment(
  io: Io,
  more: Readonly<Record<string, string>> = {},
): NodeJS.ProcessEnv {
  return { ...io.env, [enteredVariable]: "1", ...more };
}

/**
 * Runs this program again in a user namespace, in this terminal, and answers with its exit code.
 *
 * The terminal's Ctrl-C reaches the child too; what is sent to this process alone is passed on.
 */
export async function runEntered(
  words: readonly string[],
  io: Io,
  more: Readonly<Record<string, string>> = {},
  stdin?: string,
): Promise<number> {
  const [program, ...rest] = selfWords(words, io);
  const child = spawn(program, rest, {
    env: selfEnvironment(io, more),
    stdio: [stdin === undefined ? "ignore" : "pipe", "inherit", "inherit"],
  });
  child.stdin?.end(stdin ?? "");
  return waitThrough(child);
}

/** Waits for a child that has the terminal, and passes signals on to it. */
export async function waitThrough(child: ChildProcess): Promise<number> {
  const ignore = () => {};
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  process.on("SIGINT", ignore).on("SIGQUIT", ignore).on("SIGTERM", pass).on("SIGHUP", pass);
  try {
    return await exitOf(child);
  } finally {
    process.off("SIGINT", ignore).off("SIGQUIT", ignore).off("SIGTERM", pass).off("SIGHUP", pass);
  }
}

/**
 * Waits for a child's end: its exit code, or 128 and the number of the signal that ended it.
 *
 * Errors: LabError (environment) when it could not be started.
 */
export function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      const program = child.spawnfile;
      reject(
        error.code === "ENOENT"
          ? new LabError("environment", `${program} is not installed`, "apt-get install util-linux")
          : new LabError("environment", `cannot start ${program}: ${error.message}`),
      );
    });
    child.once("exit", (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
