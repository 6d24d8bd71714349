import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { RefusalError } from "../control/refusal.js";
import type { InterfaceState } from "./interface-state.js";

/**
 * How far a sidecar has come, and what it found. Written before the first change, so that whoever finds
 * the work half done knows how it was.
 *
 * While it stands, the interface in the workload's hands tells how things are; while one becomes the
 * other, `state` does.
 */
export interface SidecarRecord {
  readonly phase: "taking" | "standing" | "returning";
  readonly interface: string;
  /** Index of the interface that was there first. */
  readonly uplink: number;
  /** Index of the one in its place; 0: not made yet. */
  readonly front: number;
  readonly state: InterfaceState;
}

const version = 1;
const entryKinds = ["addresses", "nextHops", "routes", "neighbours"] as const;

/** Where records are kept when nobody says otherwise. */
export const defaultStateFolder = "/run/sluice";

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
   * Reads the record; undefined when there is none, or one of a machine's life before.
   *
   * Errors: RefusalError when somebody else could have written it, or it cannot be read.
   */
  read(): SidecarRecord | undefined {
    let text: string;
    try {
      const found = lstatSync(this.path);
      if (!found.isFile() || found.uid !== process.geteuid?.() || (found.mode & 0o022) !== 0) {
        throw refusal(`${this.path} may have been written by somebody else`);
      }
      text = readFileSync(this.path, "utf8");
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
      mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
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
      throw new RefusalError(
        "environment",
        `cannot keep the state of ${this.#interface} in ${this.#folder}: ${(error as Error).message}`,
        "name a folder that can be written to with --state-dir",
      );
    }
  }

  remove(): void {
    rmSync(this.path, { force: true });
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
      const { phase, uplink, front } = rest as SidecarRecord;
      const decoded = { ...state, ...Object.fromEntries(entries) } as InterfaceState;
      return { phase, interface: this.#interface, uplink, front, state: decoded };
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

/** Tells this network namespace from any other that lives. */
function namespaceId(): number {
  return statSync("/proc/self/ns/net").ino;
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
