import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";

/** A program to run, and what it may cost. */
export interface ProgramRun {
  /** Its path. */
  readonly file: string;
  readonly args: readonly string[];
  /** All of its environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeMs: number;
  /** Of its standard output. */
  readonly bytesMax: number;
  /** Of the memory that it and each process that it starts may write, by prlimit(1), which every Debian has. */
  readonly memoryBytes: number;
}

export type Ran = { readonly output: Buffer } | { readonly failed: string };

/** As much of what a program says on standard error is kept. */
const SAID_MAX = 16 * 1024;

/** What a pipe that outlives its program may still bring. */
const REST_MS = 1_000;

/**
 * Finds a program as a shell would, but only in folders that PATH names in full: what stands in the folder where
 * somebody works is not run.
 */
export function findProgram(name: string, path: string | undefined): string | undefined {
  const places = (path ?? "").split(":").filter(isAbsolute);
  return places.map((folder) => join(folder, name)).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Runs a program without a shell and without input, and takes what it prints.
 *
 * It has a process group of its own, which is killed when it takes too long, prints too much, has ended (with whatever
 * it left behind), or when this process is told to end.
 *
 * Errors: none; `failed` says why there is no output, in words that follow "it".
 */
export function runProgram(run: ProgramRun): Promise<Ran> {
  // The folder decides nothing: what stands in one may configure a program.
  const [command, ...words] = [...limiter(run.memoryBytes), run.file, ...run.args];
  const child = spawn(command!, words, {
    cwd: "/",
    env: { ...run.env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const release = endWithUs(child);
  const output: Buffer[] = [];
  let [size, said, failed] = [0, "", undefined as string | undefined];
  const fail = (why: string) => {
    failed ??= why;
    killGroup(child);
  };
  const timer = setTimeout(() => fail(`did not end within ${run.timeMs / 1_000} s`), run.timeMs);
  child.stdout!.on("data", (bytes: Buffer) => {
    size += bytes.length;
    if (size <= run.bytesMax) output.push(bytes);
    else fail(`printed more than ${run.bytesMax} bytes`);
  });
  child.stderr!.on("data", (bytes: Buffer) => {
    if (said.length < SAID_MAX) said += bytes.toString("utf8");
  });
  return new Promise((resolve) => {
    child.once("error", (error) => {
      failed ??= `cannot be started: ${error.message}`;
      if (child.pid === undefined) child.emit("close");
    });
    child.once("exit", (code, signal) => {
      killGroup(child);
      const how = signal === null ? `failed with exit code ${code}` : `was ended by ${signal}`;
      if (code !== 0) failed ??= how;
      // Whoever has left the group may hold the pipes for ever.
      setTimeout(() => {
        child.stdout!.destroy();
        child.stderr!.destroy();
      }, REST_MS).unref();
    });
    child.once("close", () => {
      clearTimeout(timer);
      release();
      if (failed === undefined) resolve({ output: Buffer.concat(output) });
      else resolve({ failed: said.trim() === "" ? failed : `${failed}: ${sentence(said)}` });
    });
  });
}

/** The words before a program that bound its memory; none where prlimit is missing. */
function limiter(memoryBytes: number): readonly string[] {
  const prlimit = findProgram("prlimit", "/usr/bin:/bin");
  return prlimit === undefined ? [] : [prlimit, `--data=${memoryBytes}`, "--"];
}

/** What a program said, on one line, and no longer than anybody reads. */
function sentence(said: string): string {
  const line = said.replace(/[\s\p{Cc}]+/gu, " ").trim();
  return line.length > 600 ? `${line.slice(0, 400)} … ${line.slice(-200)}` : line;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}

const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Takes a child's group along when this process ends; the answer calls that off. */
function endWithUs(child: ChildProcess): () => void {
  const end = () => killGroup(child);
  const handlers = endingSignals.map((signal) => {
    const handler = () => {
      end();
      release();
      // What the signal does to this process is not for the child's sake to change.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  process.on("exit", end);
  const release = () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
    process.off("exit", end);
  };
  return release;
}
