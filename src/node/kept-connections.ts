import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { Tell } from "../diagnostics/tell.js";
import { SAVED_CONNECTIONS_VERSION, SavedConnection } from "../layout/layout.gen.js";
import type { ZoneHandoff } from "./handoff/handoff-state.js";

// The file: a head of these three words, the JSON document, then SavedConnection records up to the end.
const magic = 0x4e4f4353; // "SCON"
const formatVersion = 1;
const headBytes = 12;
const jsonBytesMax = 1 << 20;

/** How many connections a file holds at most: 14 MiB. */
const keptMax = 131_072;
/** Connections in a file older than this have timed out. */
const ageMaxMs = 600_000;

/** Shortest and longest pause between two writes of changes, and between two whole writes. */
const roundMs = 1_000;
const longRoundMs = 5_000;
const refreshMs = 10_000;
/** A pause lasts this many times the previous round; a round takes longer for a larger table. */
const pauseShare = 50;

/**
 * Rounds to write after a change: whether a new connection lasts is known only some rounds later.
 */
const roundsAfterChange = 3;

export interface KeptConnectionsOptions {
  readonly dataplane: Dataplane;
  /** Wires and their zones, as they are now. */
  readonly wires: () => readonly ZoneHandoff[];
  /** The file. Its folder is there. */
  readonly path: string;
  readonly tell: Tell;
}

/**
 * Saves connections to a file for the next process, however this one ends: docs/restart.md.
 *
 * The file is written while packets flow, about once a second, and once more at a clean end. A reader checks
 * everything in it, and policy judges each connection again on its next packet.
 */
export class KeptConnections {
  readonly #options: KeptConnectionsOptions;
  #timer: NodeJS.Timeout | undefined;
  #changes = -1;
  #roundsLeft = 0;
  #savedAtMs = 0;
  #failure = "";
  #hasStarted = false;

  constructor(options: KeptConnectionsOptions) {
    this.#options = options;
  }

  /**
   * Loads the connections that a previous process saved for the same interfaces; reports how many.
   */
  load(): void {
    const { path, dataplane, wires, tell } = this.#options;
    try {
      const kept = readKept(path);
      if (kept === undefined) return;
      const records = ofZones(kept.records, kept.zones, wires());
      const count = records.length / SavedConnection.bytes;
      const taken = count === 0 ? 0 : dataplane.loadConnections(records);
      tell(`${taken} of ${count} connections of the previous process are taken up`);
    } catch (error) {
      tell(
        `${path}: connections of the previous process are not taken up: ${messageOf(error)}`,
        "warning",
      );
    }
  }

  /** Starts to write the file regularly. */
  start(): void {
    this.#hasStarted = true;
    this.#schedule(0);
  }

  /**
   * Stops writing. At a clean end without a successor it writes once more first, after packets have stopped.
   * Never fails.
   */
  end(isSucceeded: boolean): void {
    clearTimeout(this.#timer);
    if (!this.#hasStarted) return;
    this.#hasStarted = false;
    const { dataplane, wires, path } = this.#options;
    if (isSucceeded || wires().length === 0) return;
    let file: NextFile | undefined;
    try {
      for (const piece of dataplane.saveConnections("lasting")) {
        file ??= new NextFile(path, documentOf(wires()));
        if (!file.add(piece)) break;
      }
      if (file === undefined) rmSync(path, { force: true });
      else file.commit();
    } catch (error) {
      this.#tellFailure(error);
    } finally {
      file?.close();
    }
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(() => {
      const from = performance.now();
      void this.#round().then(() => {
        if (!this.#hasStarted) return;
        const pauseMs = pauseShare * (performance.now() - from);
        this.#schedule(Math.min(longRoundMs, Math.max(roundMs, pauseMs)));
      });
    }, delayMs);
    this.#timer.unref();
  }

  /** Writes the file if there is something to write. Never fails. */
  async #round(): Promise<void> {
    try {
      if (this.#options.wires().length === 0) return;
      const { opened, closed, cut } = this.#options.dataplane.counters();
      const changes = opened + closed + cut;
      if (changes !== this.#changes) this.#roundsLeft = roundsAfterChange;
      this.#changes = changes;
      const isOld = performance.now() - this.#savedAtMs >= refreshMs;
      if (this.#roundsLeft === 0 && !isOld) return;
      if (this.#roundsLeft > 0) this.#roundsLeft--;
      await this.#save();
    } catch (error) {
      // After `end` the data plane has nothing to list, so an error means nothing.
      if (this.#hasStarted) this.#tellFailure(error);
    }
  }

  async #save(): Promise<void> {
    const { dataplane, wires, path } = this.#options;
    let file: NextFile | undefined;
    try {
      for await (const piece of dataplane.lastingConnections()) {
        // `end` may have run meanwhile, and written the file.
        if (!this.#hasStarted) return;
        file ??= new NextFile(path, documentOf(wires()));
        if (!file.add(piece)) break;
      }
      if (!this.#hasStarted) return;
      if (file === undefined) rmSync(path, { force: true });
      else file.commit();
      this.#savedAtMs = performance.now();
      this.#failure = "";
    } finally {
      file?.close();
    }
  }

  #tellFailure(error: unknown): void {
    const message = messageOf(error);
    if (message !== this.#failure) {
      this.#options.tell(`connections are not kept for a restart: ${message}`, "warning");
    }
    this.#failure = message;
  }
}

interface Document {
  readonly boot: string;
  /** The network namespace. */
  readonly namespace: number;
  /** On the machine's monotonic clock. */
  readonly savedAtMs: number;
  readonly connections: { readonly version: number; readonly recordBytes: number };
  readonly zones: readonly { readonly interfaces: readonly string[]; readonly zone: number }[];
}

function documentOf(wires: readonly ZoneHandoff[]): Document {
  return {
    boot: bootId(),
    namespace: namespaceId(),
    savedAtMs: monotonicMs(),
    connections: { version: SAVED_CONNECTIONS_VERSION, recordBytes: SavedConnection.bytes },
    zones: wires.map(({ interfaces, zone }) => ({ interfaces, zone })),
  };
}

/**
 * A file that replaces another by a rename: a reader sees the whole old file or the whole new one.
 */
class NextFile {
  readonly #path: string;
  readonly #next: string;
  readonly #fd: number;
  #room = keptMax * SavedConnection.bytes;
  #isOpen = true;

  constructor(path: string, document: Document) {
    const json = new TextEncoder().encode(JSON.stringify(document));
    const head = new DataView(new ArrayBuffer(headBytes));
    [magic, formatVersion, json.length].forEach((word, at) => {
      head.setUint32(at * 4, word, true);
    });
    this.#path = path;
    this.#next = `${path}.${randomBytes(6).toString("hex")}`;
    this.#fd = openSync(this.#next, "wx", 0o600);
    try {
      this.#write(new Uint8Array(head.buffer));
      this.#write(json);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Adds records up to the file's limit; false when the limit is reached. */
  add(records: Uint8Array): boolean {
    const fitting = records.subarray(0, this.#room);
    this.#write(fitting);
    this.#room -= fitting.length;
    return this.#room > 0;
  }

  commit(): void {
    renameSync(this.#next, this.#path);
  }

  /** Closes the file; without `commit` its content is lost. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#fd);
    rmSync(this.#next, { force: true });
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
  }
}

/**
 * Reads the file; undefined when there is none, or its connections have timed out.
 *
 * Errors: an Error that says why the file cannot be used.
 */
function readKept(
  path: string,
): { readonly zones: Document["zones"]; readonly records: Uint8Array } | undefined {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const found = fstatSync(fd);
    if (!found.isFile() || found.uid !== process.geteuid?.() || (found.mode & 0o022) !== 0) {
      throw new Error("somebody else may have written it");
    }
    const bytesMax = headBytes + jsonBytesMax + keptMax * SavedConnection.bytes;
    if (found.size > bytesMax) throw new Error(`got ${found.size} bytes, want ${bytesMax} at most`);
    const bytes = new Uint8Array(found.size);
    for (let at = 0; at < bytes.length; ) {
      const count = readSync(fd, bytes, at, bytes.length - at, at);
      if (count === 0) throw new Error("it has just become shorter");
      at += count;
    }
    return parse(bytes);
  } finally {
    closeSync(fd);
  }
}

function parse(bytes: Uint8Array): ReturnType<typeof readKept> {
  if (bytes.length < headBytes) throw new Error("it is too short");
  const view = new DataView(bytes.buffer);
  const [first, format, jsonBytes = 0] = [0, 4, 8].map((at) => view.getUint32(at, true));
  if (first !== magic) throw new Error("it is no file of connections");
  if (format !== formatVersion) throw new Error(`got format ${format}, want ${formatVersion}`);
  const from = headBytes + jsonBytes;
  if (jsonBytes > jsonBytesMax || from > bytes.length) throw new Error("it is too short");
  const document = checked(JSON.parse(new TextDecoder().decode(bytes.subarray(headBytes, from))));
  const { version, recordBytes } = document.connections;
  if (version !== SAVED_CONNECTIONS_VERSION || recordBytes !== SavedConnection.bytes) {
    throw new Error(`got connections of version ${version}, want ${SAVED_CONNECTIONS_VERSION}`);
  }
  const ageMs = monotonicMs() - document.savedAtMs;
  const isHere = document.boot === bootId() && document.namespace === namespaceId();
  if (!isHere || ageMs < 0 || ageMs > ageMaxMs) return undefined;
  const whole = bytes.length - from - ((bytes.length - from) % SavedConnection.bytes);
  // A copy, so that the records begin on a word boundary and can be read in place.
  return { zones: document.zones, records: bytes.slice(from, from + whole) };
}

/** Checks the JSON document. Errors: an Error when it is malformed. */
function checked(value: unknown): Document {
  const { boot, namespace, savedAtMs, connections, zones } = (value ?? {}) as Partial<Document>;
  const isZone = (each: unknown): boolean => {
    const { interfaces, zone } = (each ?? {}) as Partial<ZoneHandoff>;
    return (
      Number.isInteger(zone) &&
      Array.isArray(interfaces) &&
      interfaces.every((name) => typeof name === "string")
    );
  };
  const isDocument =
    typeof boot === "string" &&
    Number.isInteger(namespace) &&
    Number.isFinite(savedAtMs) &&
    typeof connections === "object" &&
    connections !== null &&
    Array.isArray(zones) &&
    zones.every(isZone);
  if (!isDocument) throw new Error("its document is not what it should be");
  return value as Document;
}

/** The records of interfaces that this process has too, with their present zones. */
function ofZones(
  records: Uint8Array,
  before: Document["zones"],
  now: readonly ZoneHandoff[],
): Uint8Array {
  const zones = new Map(now.map(({ interfaces, zone }) => [JSON.stringify(interfaces), zone]));
  const zoneNow = new Map(
    before.map(({ interfaces, zone }) => [zone, zones.get(JSON.stringify(interfaces))]),
  );
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  let end = 0;
  for (let at = 0; at < records.length; at += SavedConnection.bytes) {
    const zone = zoneNow.get(view.getUint32(at + SavedConnection.zone, true));
    if (zone === undefined) continue;
    view.setUint32(at + SavedConnection.zone, zone, true);
    records.copyWithin(end, at, at + SavedConnection.bytes);
    end += SavedConnection.bytes;
  }
  return records.subarray(0, end);
}

function messageOf(error: unknown): string {
  return (error as Error).message;
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

function namespaceId(): number {
  return statSync("/proc/self/ns/net").ino;
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
