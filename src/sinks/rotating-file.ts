import { constants } from "node:fs";
import { type FileHandle, lstat, open, rename } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { tryLock } from "../dataplane/host.js";

export interface Rotation {
  readonly bytesMax: number;
  readonly keep: number;
  /** What each file begins with. */
  readonly head?: Uint8Array;
}

/** How long a lock may be waited for. Who may only read the file can hold it for ever; then it is written without. */
const lockMs = 1_000;
const lockRetryMs = 5;
const triesMax = 100;

/**
 * A file that texts are appended to. When it would become too large it is renamed to `path.1`, that to `path.2`, and
 * so on. It is opened for each text: another may rename or remove it in between, as logrotate does.
 *
 * Several processes may append at the same time, as at a take-over: each has it locked while it writes, takes back half
 * a text, or renames it.
 */
export class RotatingFile {
  readonly #path: string;
  readonly #rotation: Rotation;

  constructor(path: string, rotation: Rotation) {
    this.#path = path;
    this.#rotation = rotation;
  }

  /** Appends all of a text or, after an error, nothing. Errors: of the system. */
  async append(added: Buffer): Promise<void> {
    for (let tries = 0; tries < triesMax; tries++) {
      const handle = await openRegular(this.#path);
      try {
        await lock(handle);
        if (await this.#appendTo(handle, added)) return;
      } finally {
        await handle.close();
      }
    }
    throw new Error("others rename it again and again");
  }

  /** Whether the text is in the file; otherwise another file has to be opened at the path. */
  async #appendTo(handle: FileHandle, added: Buffer): Promise<boolean> {
    const { bytesMax, head = new Uint8Array() } = this.#rotation;
    const { size, dev, ino } = await handle.stat();
    const there = await lstat(this.#path).catch(() => undefined);
    if (there?.ino !== ino || there.dev !== dev) return false;
    if (size > 0 && size + added.length > bytesMax) {
      await this.#rotate();
      return false;
    }
    await writeWhole(handle, size, size === 0 ? Buffer.concat([head, added]) : added);
    return true;
  }

  async #rotate(): Promise<void> {
    for (let number = this.#rotation.keep - 1; number >= 0; number--) {
      const from = number === 0 ? this.#path : `${this.#path}.${number}`;
      await rename(from, `${this.#path}.${number + 1}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
      });
    }
  }
}

/** Opens a file to append to it: not through a link that somebody else has put there, and no pipe. */
async function openRegular(path: string): Promise<FileHandle> {
  const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0o640);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new Error("it is not a regular file");
}

/** Locks a file until it is closed. */
async function lock({ fd }: FileHandle): Promise<void> {
  const untilMs = performance.now() + lockMs;
  while (!tryLock(fd) && performance.now() < untilMs) await pause(lockRetryMs);
}

/** Writes a text behind `size` bytes. Errors: of the system; then nothing of it is there. */
async function writeWhole(handle: FileHandle, size: number, text: Buffer): Promise<void> {
  let written = 0;
  try {
    while (written < text.length) written += (await handle.write(text, written)).bytesWritten;
  } catch (error) {
    // Half a line would spoil the next one; what somebody without the lock has appended meanwhile stays.
    const now = await handle.stat().catch(() => undefined);
    if (now?.size === size + written) await handle.truncate(size).catch(() => {});
    throw error;
  }
}
