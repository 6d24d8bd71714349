import { constants } from "node:fs";
import { type FileHandle, lstat, open, rename } from "node:fs/promises";

export interface Rotation {
  readonly bytesMax: number;
  readonly keep: number;
  /** What each file begins with. */
  readonly head?: Uint8Array;
}

/**
 * A file that texts are appended to. When it would become too large it is renamed to `path.1`, that to `path.2`, and
 * so on. It is opened again when another has renamed or removed it, as logrotate does.
 *
 * Several processes may append at the same time, as at a take-over: each text is written whole.
 */
export class RotatingFile {
  readonly #path: string;
  readonly #rotation: Rotation;
  #handle: FileHandle | undefined;

  constructor(path: string, rotation: Rotation) {
    this.#path = path;
    this.#rotation = rotation;
  }

  /** Appends all of a text or, after an error, nothing. Errors: of the system. */
  async append(added: Buffer): Promise<void> {
    const { bytesMax, head = new Uint8Array() } = this.#rotation;
    let [handle, size] = await this.#open();
    if (size > 0 && size + added.length > bytesMax) {
      await this.#rotate();
      [handle, size] = await this.#open();
    }
    const text = size === 0 ? Buffer.concat([head, added]) : added;
    try {
      for (let written = 0; written < text.length; ) {
        written += (await handle.write(text, written)).bytesWritten;
      }
    } catch (error) {
      // Half a line would spoil the next one.
      await handle.truncate(size).catch(() => {});
      throw error;
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => {});
  }

  /** The file that is at the path now, and its size. */
  async #open(): Promise<[handle: FileHandle, size: number]> {
    const there = await lstat(this.#path).catch(() => undefined);
    const own = await this.#handle?.stat();
    if (this.#handle !== undefined && own?.ino === there?.ino && own?.dev === there?.dev) {
      return [this.#handle, own!.size];
    }
    await this.close();
    // Not through a link that somebody else has put there, and without waiting for who reads a pipe.
    const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    const flags = O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK;
    const handle = await open(this.#path, flags, 0o640);
    const status = await handle.stat();
    if (!status.isFile()) {
      await handle.close();
      throw new Error("it is not a regular file");
    }
    this.#handle = handle;
    return [handle, status.size];
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
