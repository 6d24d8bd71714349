import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** Why a file is not read: it is none, it is too large, or it changed meanwhile. */
export class FileRefusal extends Error {
  readonly isTooLarge: boolean;

  constructor(message: string, isTooLarge = false) {
    super(message);
    this.name = "FileRefusal";
    this.isTooLarge = isTooLarge;
  }
}

/** Names an inode without opening what it stands for. Source: man 2 open; Node does not list it. */
const O_PATH = 0o10000000;

/**
 * Opens a regular file, and nothing else, for as long as `use` takes.
 *
 * To open a pipe waits, to open a device may do anything, and what a name stands for may change at any
 * moment: so the inode is held first, looked at, and opened only then.
 *
 * Errors: FileRefusal, those of the system, and those of `use`.
 */
export function withRegularFile<Result>(
  path: string,
  use: (descriptor: number, stat: BigIntStats) => Result,
): Result {
  const held = openSync(path, O_PATH);
  let descriptor: number;
  try {
    const stat = fstatSync(held, { bigint: true });
    if (!stat.isFile()) throw new FileRefusal(`got ${kindOf(stat)}, want a regular file`);
    descriptor = openSync(`/proc/self/fd/${held}`, constants.O_RDONLY | constants.O_NONBLOCK);
  } finally {
    closeSync(held);
  }
  try {
    return use(descriptor, fstatSync(descriptor, { bigint: true }));
  } finally {
    closeSync(descriptor);
  }
}

/** Reads a file that withRegularFile has opened. Errors: FileRefusal when its size is another by now. */
export function readWhole(descriptor: number, { size }: BigIntStats): Buffer {
  const bytes = Buffer.allocUnsafe(Number(size) + 1);
  let at = 0;
  while (at < bytes.length) {
    const count = readSync(descriptor, bytes, at, bytes.length - at, null);
    if (count === 0) break;
    at += count;
  }
  if (at !== Number(size)) {
    throw new FileRefusal("got a file that changed while it was read, want one that is whole");
  }
  return bytes.subarray(0, at);
}

/** Reads a regular file of so many bytes at most. Errors: FileRefusal, and those of the system. */
export function readRegularFile(path: string, bytesMax: number): Buffer {
  return withRegularFile(path, (descriptor, stat) => {
    if (stat.size > bytesMax) throw tooLarge(bytesMax);
    return readWhole(descriptor, stat);
  });
}

/**
 * Reads whatever a path stands for to its end, `-` for standard input: for the caller's own input, since it
 * waits for who writes a pipe.
 *
 * Errors: FileRefusal, and those of the system.
 */
export function readToEnd(path: string, bytesMax: number): Buffer {
  const chunks: Buffer[] = [];
  const descriptor = path === "-" ? 0 : openSync(path, "r");
  try {
    for (let size = 0; ; ) {
      const chunk = Buffer.allocUnsafe(64 * 1024);
      const count = readChunk(descriptor, chunk);
      if (count === 0) return Buffer.concat(chunks);
      size += count;
      if (size > bytesMax) throw tooLarge(bytesMax);
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    if (descriptor !== 0) closeSync(descriptor);
  }
}

function tooLarge(bytesMax: number): FileRefusal {
  return new FileRefusal(`got more than ${bytesMax} bytes, want a smaller file`, true);
}

function kindOf(stat: BigIntStats): string {
  if (stat.isFIFO()) return "a pipe";
  if (stat.isSocket()) return "a socket";
  if (stat.isDirectory()) return "a folder where a file was";
  return "a device";
}

/** Reads what there is; waits when standard input is a terminal that has nothing yet. */
function readChunk(descriptor: number, chunk: Buffer): number {
  for (;;) {
    try {
      return readSync(descriptor, chunk);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EOF") return 0;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
