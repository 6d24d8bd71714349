import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type Diagnostic, diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import { type Limits, limits } from "./limits.js";
import {
  isDescriptor,
  manifestFiles,
  type RestOfFiles,
  restOf,
  unreadable,
} from "./manifest-files.js";
import { type Manifests, type ManifestText, parseTexts } from "./parse.js";

/**
 * Reads manifests from files, folders and standard input (`-`).
 *
 * Shape:  folders are searched to the bottom for .yaml, .yml and .json, in the order of their names;
 *         names that begin with a dot are passed over. A file that is named twice is read once.
 *         `stdin` is standard input's text where somebody has read it already.
 * Errors: none thrown; SL1002, SL1010, SL1011, SL1012 beside those of `parseManifests`.
 */
export function readManifests(
  paths: readonly string[],
  stdin?: string,
  bounds = limits,
): Manifests {
  const place = paths.map((path) => (path === "-" ? "<stdin>" : path)).join(",");
  return parseTexts(textsOf(paths, stdin, bounds), place, bounds);
}

/**
 * Reads the same files without looking into them, for whoever else is to parse them.
 *
 * Errors: none thrown; SL1002, SL1011, SL1012.
 */
export function readManifestTexts(
  paths: readonly string[],
  stdin?: string,
  bounds = limits,
): { readonly texts: readonly ManifestText[]; readonly diagnostics: readonly Diagnostic[] } {
  const texts: ManifestText[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const read of textsOf(paths, stdin, bounds)) {
    if ("text" in read) texts.push(read);
    else diagnostics.push(read);
  }
  return { texts, diagnostics };
}

/** What is still read, of what the bounds allow. */
interface Rest extends RestOfFiles {
  bytes: number;
}

function* textsOf(
  paths: readonly string[],
  stdin: string | undefined,
  bounds: Limits,
): Generator<ManifestText | Diagnostic> {
  const rest: Rest = { ...restOf(bounds), bytes: bounds.allBytes };
  const seen = new Set<string>();
  for (const path of paths) {
    for (const found of manifestFiles(path, rest)) {
      if (found.is === "fault") yield found.fault;
      if (found.is !== "file") continue;
      const read = readOnce(found.path, stdin, rest, seen);
      if (read !== undefined) yield read;
    }
  }
}

/** Reads a text; undefined when that was read before. */
function readOnce(
  file: string,
  stdin: string | undefined,
  rest: Rest,
  seen: Set<string>,
): ManifestText | Diagnostic | undefined {
  const name = file === "-" ? "<stdin>" : file;
  try {
    if (isDescriptor(file)) {
      if (seen.has(file)) return undefined;
      seen.add(file);
      if (file === "-" && stdin !== undefined) return { name, text: stdin };
      return decode(readStream(file, rest), name);
    }
    const place = openRegular(file);
    try {
      const { dev, ino, size } = fstatSync(place, { bigint: true });
      const identity = `${dev} ${ino}`;
      if (seen.has(identity)) return undefined;
      seen.add(identity);
      checkSize(Number(size), rest);
      return decode(readWhole(place, Number(size)), name);
    } finally {
      closeSync(place);
    }
  } catch (error) {
    return error instanceof Refused
      ? diagnostic(error.code, startOfFile(name), error.message)
      : unreadable(name, error);
  }
}

/** Why a file is not read; never leaves this file. */
class Refused extends Error {
  readonly code: "SL1011" | "SL1012";

  constructor(code: "SL1011" | "SL1012", message: string) {
    super(message);
    this.code = code;
  }
}

/** Names an inode without opening what it stands for. Source: man 2 open; Node does not list it. */
const O_PATH = 0o10000000;

/**
 * Opens a regular file, and nothing else.
 *
 * To open a pipe waits, to open a device may do anything, and what a name stands for may change at any
 * moment: so the inode is held first, looked at, and opened only then.
 *
 * Errors: Refused, and those of the system.
 */
function openRegular(path: string): number {
  const held = openSync(path, O_PATH);
  try {
    const stat = fstatSync(held, { bigint: true });
    if (!stat.isFile()) throw new Refused("SL1011", `got ${kindOf(stat)}, want a regular file`);
    return openSync(`/proc/self/fd/${held}`, constants.O_RDONLY | constants.O_NONBLOCK);
  } finally {
    closeSync(held);
  }
}

function kindOf(stat: BigIntStats): string {
  if (stat.isFIFO()) return "a pipe";
  if (stat.isSocket()) return "a socket";
  if (stat.isDirectory()) return "a folder where a file was";
  return "a device";
}

/** Takes a size from what is left. Errors: Refused. */
function checkSize(size: number, rest: Rest): void {
  if (size > rest.bounds.fileBytes) {
    throw new Refused(
      "SL1012",
      `got more than ${rest.bounds.fileBytes} bytes, want a smaller file`,
    );
  }
  rest.bytes -= size;
  if (rest.bytes < 0) {
    const message = `got more than ${rest.bounds.allBytes} bytes with the files before, want fewer`;
    throw new Refused("SL1012", message);
  }
}

/** Reads a file of which `size` is known. Errors: Refused when it is longer or shorter by now. */
function readWhole(descriptor: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size + 1);
  let at = 0;
  while (at < bytes.length) {
    const count = readSync(descriptor, bytes, at, bytes.length - at, null);
    if (count === 0) break;
    at += count;
  }
  if (at !== size) {
    throw new Refused(
      "SL1011",
      "got a file that changed while it was read, want one that is whole",
    );
  }
  return bytes.subarray(0, size);
}

/** Reads standard input or another descriptor of ours to its end. */
function readStream(file: string, rest: Rest): Buffer {
  const chunks: Buffer[] = [];
  const descriptor = file === "-" ? 0 : openSync(file, "r");
  try {
    let size = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(64 * 1024);
      const count = readChunk(descriptor, chunk);
      if (count === 0) break;
      size += count;
      if (size > rest.bounds.fileBytes) break;
      chunks.push(chunk.subarray(0, count));
    }
    checkSize(size, rest);
  } finally {
    if (descriptor !== 0) closeSync(descriptor);
  }
  return Buffer.concat(chunks);
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

function decode(bytes: Buffer, name: string): ManifestText | Diagnostic {
  try {
    // A byte order mark in front is dropped by the decoder.
    return { name, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    const before = new TextDecoder("utf-8").decode(bytes).split("\ufffd", 1)[0] ?? "";
    const line = before.split("\n").length;
    const column = before.length - before.lastIndexOf("\n");
    const span = { file: name, line, column, endLine: line, endColumn: column };
    return diagnostic("SL1002", span, "got bytes that are not UTF-8, want text");
  }
}
