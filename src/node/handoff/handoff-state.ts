import { closeSync, fstatSync, readSync, writeSync } from "node:fs";

import { type Dataplane, type Totals, totalNames } from "../../dataplane/dataplane.js";
import {
  createMemoryFile,
  descriptorsOf,
  isSealed,
  type LinkHandoff,
  type QueueHandoff,
  sealMemoryFile,
} from "../../dataplane/descriptor-passing.js";
import { exemptKinds } from "../../dataplane/events.js";
import { linkTotalNames } from "../../dataplane/link-counts.js";
import {
  connClassWords,
  dropReasonWords,
  linkKindWords,
  SAVED_CONNECTIONS_VERSION,
  SavedConnection,
} from "../../layout/layout.gen.js";
import type { SavedHits } from "../../observe/hits.js";

/** A zone of the connection table, and the interfaces whose connections are in it. */
export interface ZoneHandoff {
  readonly interfaces: readonly string[];
  readonly zone: number;
  /** Of a sidecar: the folder of the record with its interface's original state. */
  readonly stateFolder?: string;
  /** By configured name: the indexes of interfaces that had it before, and must stay closed. */
  readonly former?: Readonly<Record<string, readonly number[]>>;
}

/** What a process leaves to its successor. docs/restart.md describes it. */
export interface HandoffState {
  /** Version of the program that wrote it. */
  readonly version: string;
  /** Generation of the last table in force. */
  readonly generation: number;
  readonly totals: Totals;
  /** Absent where the version that wrote it counted none. */
  readonly hits?: SavedHits;
  /** Of one that judges in place: behind it wait reports of connections that have ended. */
  readonly connectionEnds?: number;
  /** Where it answers Hubble's clients, as its config has it; absent: nowhere. */
  readonly hubbleListen?: string;
  readonly zones: readonly ZoneHandoff[];
  readonly links: readonly LinkHandoff[];
  readonly connections: { readonly version: number; readonly recordBytes: number };
}

/**
 * A handoff state as descriptors: a file in memory, and those of the links, which still own them.
 */
export interface PackedHandoff {
  /** Owner: the caller of `packHandoff` closes it. */
  readonly file: number;
  readonly descriptors: readonly number[];
}

/** A handoff state cannot be used; the message says why. */
export class HandoffError extends Error {
  override readonly name = "HandoffError";
}

// The file: these two words, the length of the JSON document, the document, then SavedConnection records up
// to the end. A descriptor's number is its position in PackedHandoff.
const magic = 0x54534553; // "SEST"
const formatVersion = 1;
const headBytes = 12;
const jsonBytesMax = 64 << 20;
const pieceRecords = 8_192;

/**
 * Saves all that a successor needs.
 *
 * Errors: DataplaneError; `state` unless the data plane is stopped.
 */
export function packHandoff(
  dataplane: Dataplane,
  about: Pick<HandoffState, "version" | "zones" | "hits" | "connectionEnds" | "hubbleListen">,
): PackedHandoff {
  const links = dataplane.handoffs();
  const { connectionEnds } = about;
  const ends = connectionEnds === undefined ? [] : [connectionEnds];
  const descriptors = [...links.flatMap(descriptorsOf), ...ends];
  const numbers = new Map(descriptors.map((descriptor, place) => [descriptor, place]));
  const { generation, drops, exempt, evictions, ...counters } = dataplane.counters();
  const totals = Object.fromEntries(totalNames.map((name) => [name, counters[name]]));
  const document = JSON.stringify({
    ...about,
    ...(ends.length === 0 ? {} : { connectionEnds: descriptors.length - 1 }),
    generation,
    totals: { ...totals, drops, exempt, evictions },
    links: links.map((link) => renumbered(link, (descriptor) => numbers.get(descriptor)!)),
    connections: { version: SAVED_CONNECTIONS_VERSION, recordBytes: SavedConnection.bytes },
  });
  const json = new TextEncoder().encode(document);
  const head = new DataView(new ArrayBuffer(headBytes));
  [magic, formatVersion, json.length].forEach((word, at) => {
    head.setUint32(at * 4, word, true);
  });
  const file = createMemoryFile("sluice-estate");
  try {
    writeAll(file, new Uint8Array(head.buffer));
    writeAll(file, json);
    // The next piece overwrites this one.
    for (const piece of dataplane.saveConnections()) writeAll(file, piece);
    sealMemoryFile(file);
    return { file, descriptors };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/**
 * Reads a predecessor's state without trusting it: links are checked again when they are added, connections
 * when they are loaded.
 *
 * Errors: HandoffError.
 */
export function readHandoff({ file, descriptors }: PackedHandoff): HandoffState {
  const size = fstatSync(file).size;
  if (!isSealed(file)) throw new HandoffError("it can still be changed by others");
  const head = new DataView(new ArrayBuffer(headBytes));
  if (readAt(file, new Uint8Array(head.buffer), 0) !== headBytes)
    throw new HandoffError("too short");
  const [first, format, jsonBytes] = [0, 4, 8].map((at) => head.getUint32(at, true));
  if (first !== magic) throw new HandoffError("it is no handoff state");
  if (format !== formatVersion) {
    throw new HandoffError(`got format ${format}, want ${formatVersion}`);
  }
  if (jsonBytes! > jsonBytesMax || headBytes + jsonBytes! > size)
    throw new HandoffError("too short");
  const json = new Uint8Array(jsonBytes!);
  readAt(file, json, headBytes);
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder().decode(json));
  } catch {
    throw new HandoffError("its document is no JSON");
  }
  return handoffOf(document, descriptors);
}

/**
 * Loads the connections of a handoff state whose zones are in `zones`. Returns how many it had (`saved`) and
 * how many were loaded (`taken`).
 *
 * Errors: HandoffError when their version is unknown.
 */
export function loadConnections(
  file: number,
  { connections }: HandoffState,
  zones: ReadonlySet<number>,
  dataplane: Dataplane,
): { readonly saved: number; readonly taken: number } {
  if (
    connections.version !== SAVED_CONNECTIONS_VERSION ||
    connections.recordBytes !== SavedConnection.bytes
  ) {
    throw new HandoffError(
      `connections are of version ${connections.version}, want ${SAVED_CONNECTIONS_VERSION}`,
    );
  }
  const head = new DataView(new ArrayBuffer(headBytes));
  readAt(file, new Uint8Array(head.buffer), 0);
  const piece = new Uint8Array(pieceRecords * SavedConnection.bytes);
  let at = headBytes + head.getUint32(8, true);
  let saved = 0;
  let taken = 0;
  for (;;) {
    const bytes = readAt(file, piece, at);
    const whole = bytes - (bytes % SavedConnection.bytes);
    if (whole === 0) return { saved, taken };
    at += whole;
    saved += whole / SavedConnection.bytes;
    const kept = keepZones(piece.subarray(0, whole), zones);
    taken += dataplane.loadConnections(kept);
  }
}

/** Moves the records of these zones to the front. */
function keepZones(records: Uint8Array, zones: ReadonlySet<number>): Uint8Array {
  const view = new DataView(records.buffer, records.byteOffset);
  let end = 0;
  for (let at = 0; at < records.length; at += SavedConnection.bytes) {
    if (!zones.has(view.getUint32(at + SavedConnection.zone, true))) continue;
    records.copyWithin(end, at, at + SavedConnection.bytes);
    end += SavedConnection.bytes;
  }
  return records.subarray(0, end);
}

function renumbered(link: LinkHandoff, numberOf: (descriptor: number) => number): LinkHandoff {
  return {
    ...link,
    ways: link.ways.map(({ descriptors, words }) => ({
      descriptors: descriptors.map(numberOf),
      words,
    })),
    guard: link.guard.map(numberOf),
    program: link.program.map(numberOf),
  };
}

/** Reads the document, and replaces descriptor numbers by this process's descriptors. */
function handoffOf(document: unknown, descriptors: readonly number[]): HandoffState {
  const used = new Set<number>();
  const descriptorOf = (value: unknown): number => {
    const place = wordOf(value);
    const descriptor = descriptors[place];
    if (descriptor === undefined || used.has(place))
      throw new HandoffError("descriptors are missing");
    used.add(place);
    return descriptor;
  };
  const root = objectOf(document);
  const connections = objectOf(root["connections"]);
  const totals = objectOf(root["totals"]);
  return {
    version: textOf(root["version"]),
    generation: wordOf(root["generation"]),
    totals: {
      ...countsOf(totals, totalNames),
      drops: countsOf(totals["drops"], dropReasonWords),
      exempt: countsOf(totals["exempt"] ?? {}, exemptKinds),
      evictions: countsOf(totals["evictions"] ?? {}, connClassWords),
    },
    zones: listOf(root["zones"]).map((value) => {
      const { interfaces, zone, stateFolder, former } = objectOf(value);
      return {
        interfaces: listOf(interfaces).map(textOf),
        zone: wordOf(zone),
        ...(stateFolder === undefined ? {} : { stateFolder: textOf(stateFolder) }),
        ...(former === undefined ? {} : { former: indexesOf(former) }),
      };
    }),
    links: listOf(root["links"]).map((value): LinkHandoff => {
      const link = objectOf(value);
      const kind = linkKindWords.find((each) => each === link["kind"]);
      if (kind === undefined) throw new HandoffError(`got a link of kind ${link["kind"]}`);
      return {
        interface: textOf(link["interface"]),
        kind,
        ways: listOf(link["ways"]).map((each): QueueHandoff => {
          const way = objectOf(each);
          return {
            descriptors: listOf(way["descriptors"]).map(descriptorOf),
            words: listOf(way["words"]).map(wordOf),
          };
        }),
        guard: listOf(link["guard"]).map(descriptorOf),
        program: listOf(link["program"]).map(descriptorOf),
        counts: countsOf(link["counts"], linkTotalNames),
      };
    }),
    ...(root["hits"] === undefined ? {} : { hits: hitsOf(root["hits"]) }),
    ...(root["connectionEnds"] === undefined
      ? {}
      : { connectionEnds: descriptorOf(root["connectionEnds"]) }),
    ...(root["hubbleListen"] === undefined ? {} : { hubbleListen: textOf(root["hubbleListen"]) }),
    connections: {
      version: wordOf(connections["version"]),
      recordBytes: wordOf(connections["recordBytes"]),
    },
  };
}

function hitsOf(value: unknown): SavedHits {
  const { policies, others, since } = objectOf(value);
  const sums = (value: unknown): SavedHits["others"] =>
    listOf(value).map((sum) => {
      const [key, ...counts] = listOf(sum);
      const [packets = 0, bytes = 0, connections = 0, lastMs = 0] = counts.map(countOf);
      return [textOf(key), packets, bytes, connections, lastMs];
    });
  return {
    policies: listOf(policies).map((value) => {
      const { kind, namespace, name, since, sums: its } = objectOf(value);
      const identity = { kind: textOf(kind), namespace: textOf(namespace), name: textOf(name) };
      return { ...identity, since: countOf(since), sums: sums(its) };
    }),
    others: sums(others),
    since: countOf(since),
  };
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new HandoffError("its document is not what it should be");
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new HandoffError("its document is not what it should be");
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw new HandoffError("its document is not what it should be");
}

function indexesOf(value: unknown): Readonly<Record<string, readonly number[]>> {
  const names = Object.entries(objectOf(value));
  return Object.fromEntries(names.map(([name, all]) => [name, listOf(all).map(wordOf)]));
}

function wordOf(value: unknown): number {
  if (Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32)
    return Number(value);
  throw new HandoffError("its document is not what it should be");
}

/** Counts by name; a count that the other version did not have is 0. */
function countsOf<Name extends string>(
  value: unknown,
  names: readonly Name[],
): { readonly [Each in Name]: number } {
  const counts = objectOf(value);
  return Object.fromEntries(names.map((name) => [name, countOf(counts[name] ?? 0)])) as {
    readonly [Each in Name]: number;
  };
}

function countOf(value: unknown): number {
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value);
  throw new HandoffError("its document is not what it should be");
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

/**
 * Reads from `position` until `bytes` is full or the file ends. Returns how many bytes were read.
 */
function readAt(file: number, bytes: Uint8Array, position: number): number {
  let at = 0;
  while (at < bytes.length) {
    const count = readSync(file, bytes, at, bytes.length - at, position + at);
    if (count === 0) break;
    at += count;
  }
  return at;
}
