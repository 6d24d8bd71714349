import { constants, fstatSync, openSync, writeSync } from "node:fs";
import type { Io, Output } from "./io.js";

const standardError = 2;

/**
 * Writes messages without waiting. A message that a full pipe, a stopped terminal or a full disk does not
 * take is lost; the next message that is written says how many were lost.
 *
 * An enforcing process must not block or end because no one reads its messages. Node would write to a pipe
 * and wait until it has been read.
 */
export function unblocked(io: Io): Io {
  if (io.stderr !== process.stderr) return io;
  // Nor may it end because the reader has closed the pipe, which ends every other command.
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners("error").on("error", () => {});
  }
  const fd = descriptorThatDoesNotWait();
  return fd === undefined ? io : { ...io, stderr: new Messages(fd) };
}

/** Undefined when there is none: messages then queue in Node's memory. */
function descriptorThatDoesNotWait(): number | undefined {
  const kind = fstatSync(standardError);
  // A socket, such as the journal's, does not wait since `process.stderr` has been made of it.
  if (kind.isFile() || kind.isSocket()) return standardError;
  if (!kind.isFIFO() && !kind.isCharacterDevice()) return undefined;
  try {
    // Opened again: a flag on the old descriptor would affect every process that shares it.
    return openSync(`/proc/self/fd/${standardError}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}

class Messages implements Output {
  readonly #fd: number;
  /** The rest of a message that was written in part. */
  #rest: Uint8Array = new Uint8Array();
  #lost = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(chunk: string | Uint8Array): boolean {
    const told = this.#lost > 0 ? `sluice: ${this.#lost} messages could not be written\n` : "";
    this.#take(this.#rest);
    // A message never begins within another.
    if (this.#rest.length === 0 && this.#take(Buffer.concat([Buffer.from(told), bytesOf(chunk)]))) {
      this.#lost = 0;
    } else {
      this.#lost++;
    }
    return true;
  }

  /** Whether at least the beginning was taken: then the end will be, or nothing after it. */
  #take(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    try {
      this.#rest = bytes.subarray(writeSync(this.#fd, bytes));
      return true;
    } catch {
      return false;
    }
  }
}

function bytesOf(chunk: string | Uint8Array): Uint8Array {
  return typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}
