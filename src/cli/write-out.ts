import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { systemReason } from "../diagnostics/system-reason.js";
import { CommandError, exitCodes, type Io } from "./io.js";

/** Adds text or bytes to a file that is being written. */
export type Write = (chunk: string | Uint8Array) => void;

/** A file under construction. */
export interface OutFile {
  readonly write: Write;
  /** Ends the file. A regular file gets its new content now. */
  close(): void;
  /** Gives up. A regular file keeps what it had. */
  abandon(): void;
}

/** Symbolic links that lead one to another, before they count as a circle. Source: Linux, path_resolution(7). */
const linksMax = 40;

/**
 * Writes what a flag such as `--out` names.
 *
 * `-` and `/dev/stdout` are standard output. Symbolic links are followed. A regular file is replaced
 * atomically and keeps its mode and owner: a reader sees the old content or the new content. A device,
 * a FIFO or a socket is written in place and never replaced.
 *
 * Errors: CommandError (environment) with the path and the reason.
 */
export function writeOut(path: string, io: Io, fill: (write: Write) => void): void {
  const file = openOut(path, io);
  try {
    fill(file.write);
  } catch (error) {
    file.abandon();
    throw error;
  }
  file.close();
}

/** The same, for a file that grows while others may read it: a regular file is written in place. */
export function openGrowing(path: string, io: Io): OutFile {
  return isStandardOutput(path) ? standardOutput(io) : inPlace(path, "w");
}

/** Where a command reports when `path` takes its content: not among that content. */
export function reportingIo(path: string | undefined, io: Io): Io {
  return path !== undefined && isStandardOutput(path) ? { ...io, stdout: io.stderr } : io;
}

function openOut(path: string, io: Io): OutFile {
  if (isStandardOutput(path)) return standardOutput(io);
  const before = guarded(path, () => statSync(path, { throwIfNoEntry: false }));
  return before === undefined || before.isFile()
    ? replacing(path, before)
    : inPlace(path, constants.O_WRONLY);
}

function isStandardOutput(path: string): boolean {
  return path === "-" || path === "/dev/stdout";
}

function standardOutput(io: Io): OutFile {
  return { write: (chunk) => void io.stdout.write(chunk), close() {}, abandon() {} };
}

function inPlace(path: string, flags: "w" | number): OutFile {
  const file = guarded(path, () => openSync(path, flags));
  const close = () => guarded(path, () => closeSync(file));
  return { write: (chunk) => guarded(path, () => writeAll(file, chunk)), close, abandon: close };
}

function replacing(path: string, before: Stats | undefined): OutFile {
  const target = guarded(path, () => targetOf(path));
  const draft = `${target}.${process.pid}.tmp`;
  const file = guarded(path, () => openSync(draft, "wx"));
  let isOpen = true;
  const abandon = () => {
    if (isOpen) closeSync(file);
    isOpen = false;
    rmSync(draft, { force: true });
  };
  const attempt = <Result>(step: () => Result): Result => {
    try {
      return step();
    } catch (error) {
      abandon();
      throw refusal(path, error);
    }
  };
  return {
    write: (chunk) => attempt(() => writeAll(file, chunk)),
    close: () =>
      attempt(() => {
        closeSync(file);
        isOpen = false;
        if (before !== undefined) keepTraits(draft, before);
        renameSync(draft, target);
      }),
    abandon,
  };
}

/** Follows symbolic links, also those that lead to a file that is still to be made. */
function targetOf(path: string): string {
  let target = path;
  for (let links = 0; links < linksMax; links++) {
    try {
      return realpathSync(target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    try {
      target = resolve(dirname(target), readlinkSync(target));
    } catch {
      return target;
    }
  }
  throw new Error("too many symbolic links");
}

function keepTraits(draft: string, { mode, uid, gid }: Stats): void {
  try {
    chownSync(draft, uid, gid);
  } catch {
    // Only root gives files away; the file is then its writer's, as any new file.
  }
  chmodSync(draft, mode & 0o7777);
}

function writeAll(file: number, chunk: string | Uint8Array): void {
  const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

function guarded<Result>(path: string, step: () => Result): Result {
  try {
    return step();
  } catch (error) {
    throw refusal(path, error);
  }
}

function refusal(path: string, error: unknown): CommandError {
  return error instanceof CommandError
    ? error
    : new CommandError(exitCodes.environment, `cannot write ${path}: ${systemReason(error)}`);
}
