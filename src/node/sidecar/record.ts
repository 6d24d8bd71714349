import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../control/make-folder.js";
import { RefusalError } from "../../control/refusal.js";
import { tryLock } from "../../dataplane/host.js";
import { readWhole, withRegularFile } from "../../manifest/regular-file.js";
import type { InterfaceState } from "../../netlink/interface-state.js";

/**
 * A sidecar's progress and the interface's original state. It is written before the first change, so that the
 * next process can undo a half-done one.
 *
 * In phase `standing` the front has the present settings; in the other phases `state` has them.
 */
export interface SidecarRecord {
  readonly phase: "taking" | "standing" | "returning";
  readonly interface: string;
  /** Index of the original interface. */
  readonly uplink: number;
  /** Index of the front; 0: not made yet. */
  readonly front: number;
  readonly state: InterfaceState;
  /** The process has ended cleanly and left all in place; absent: it runs, or was killed. */
  readonly hasEnded?: true;
}

const version = 1;
/** Enough for the addresses, routes and neighbours of one interface. */
const recordBytesMax = 16 * 1024 * 1024;
const entryKinds = ["addresses", "nextHops", "routes", "neighbours"] as const;

/** How long to wait for another process's change, such as a restore. */
const lockWaitMs = 10_000;
const lockPauseMs = 10;

/** The record of one interface of this process's network namespace. */
export class RecordFile {
  readonly path: string;
  readonly #interface: string;
  readonly #folder: string;

  constructor(folder: string, interfaceName: string) {
    this.#folder = folder;
    this.#interface = interfaceName;
    this.path = join(folder, `sidecar-${interfaceName}-${namespaceId()}.json`);
  }

  /**
   * Reads the record; undefined when there is none, or the record is from a previous boot.
   *
   * Errors: RefusalError when another user could have written it, or it cannot be read.
   */
  read(): SidecarRecord | undefined {
    let text: string;
    try {
      text = withRegularFile(this.path, (descriptor, stat) => {
        const isOurs = Number(stat.uid) === process.geteuid?.() && (stat.mode & 0o022n) === 0n;
        if (!isOurs || lstatSync(this.path).isSymbolicLink()) {
          throw refusal(`${this.path} may have been written by somebody else`);
        }
        if (stat.size > recordBytesMax) throw refusal(`${this.path} is too large for a record`);
        return readWhole(descriptor, stat).toString("utf8");
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error instanceof RefusalError ? error : refusal((error as Error).message);
    }
    return this.#decode(text);
  }

  /** Writes the record in one step. Errors: RefusalError. */
  write(record: SidecarRecord): void {
    const next = `${this.path}.${randomBytes(6).toString("hex")}`;
    try {
      makeFolder(this.#folder, 0o755);
      const fd = openSync(next, "wx", 0o600);
      try {
        writeSync(fd, encode(record));
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(next, this.path);
    } catch (error) {
      rmSync(next, { force: true });
      throw this.#cannotKeep(error as Error);
    }
  }

  remove(): void {
    rmSync(this.path, { force: true });
  }

  /**
   * Runs `act` while no other process changes the same interface: two processes that start at once, or one
   * that starts while another ends, would undo each other's steps. The lock of a killed process is released.
   *
   * Errors: RefusalError when the other process does not finish in time.
   */
  exclusively<Result>(act: () => Result): Result {
    const path = `${this.path}.lock`;
    const fd = this.#lock(path);
    try {
      return act();
    } finally {
      rmSync(path, { force: true });
      closeSync(fd);
    }
  }

  /** Returns a descriptor; we hold the lock until it is closed. */
  #lock(path: string): number {
    const { O_CREAT, O_RDWR, O_NOFOLLOW } = constants;
    for (let waitedMs = 0; ; waitedMs += lockPauseMs) {
      let fd: number;
      try {
        makeFolder(this.#folder, 0o755);
        fd = openSync(path, O_CREAT | O_RDWR | O_NOFOLLOW, 0o600);
      } catch (error) {
        throw this.#cannotKeep(error as Error);
      }
      // The previous holder may have removed the file: a lock on a removed file excludes no one.
      if (tryLock(fd) && fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino) {
        return fd;
      }
      closeSync(fd);
      if (waitedMs >= lockWaitMs) {
        throw new RefusalError(
          "environment",
          `another process is at work on ${this.#interface}`,
          "wait for it to end",
        );
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lockPauseMs);
    }
  }

  #cannotKeep(error: Error): RefusalError {
    return new RefusalError(
      "environment",
      `cannot keep the state of ${this.#interface} in ${this.#folder}: ${error.message}`,
      "name a folder that can be written to with --state-dir",
    );
  }

  #decode(text: string): SidecarRecord | undefined {
    try {
      const { boot, state, ...rest } = JSON.parse(text);
      if (rest.version !== version) throw new Error(`version ${rest.version}, want ${version}`);
      if (boot !== bootId()) return undefined;
      if (rest.interface !== this.#interface) throw new Error(`it is of ${rest.interface}`);
      const entries = entryKinds.map((kind) => [
        kind,
        (state[kind] as string[]).map((each) => new Uint8Array(Buffer.from(each, "base64"))),
      ]);
      const { phase, uplink, front, hasEnded } = rest as SidecarRecord;
      const decoded = { ...state, ...Object.fromEntries(entries) } as InterfaceState;
      return {
        phase,
        interface: this.#interface,
        uplink,
        front,
        state: decoded,
        ...(hasEnded === true ? { hasEnded } : {}),
      };
    } catch (error) {
      throw refusal(`${this.path} is no record: ${(error as Error).message}`);
    }
  }
}

function encode(record: SidecarRecord): string {
  const entries = entryKinds.map((kind) => [
    kind,
    record.state[kind].map((body) => Buffer.from(body).toString("base64")),
  ]);
  const state = { ...record.state, ...Object.fromEntries(entries) };
  return JSON.stringify({ version, boot: bootId(), ...record, state });
}

function refusal(reason: string): RefusalError {
  return new RefusalError(
    "environment",
    `cannot read how the interface was: ${reason}`,
    "look at the file; without it, what the interface has now is what it is given back",
  );
}

/** An id of this network namespace, unique among those that exist now. */
function namespaceId(): number {
  return statSync("/proc/self/ns/net").ino;
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
