import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { type Diagnostic, diagnostic, type Span } from "../diagnostics/diagnostic.js";
import { type Limits, limits } from "./limits.js";
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
interface Rest {
  readonly bounds: Limits;
  bytes: number;
  files: number;
  entries: number;
}

function* textsOf(
  paths: readonly string[],
  stdin: string | undefined,
  bounds: Limits,
): Generator<ManifestText | Diagnostic> {
  const { allBytes: bytes, files, entries } = bounds;
  const rest: Rest = { bounds, bytes, files, entries };
  const seen = new Set<string>();
  for (const path of paths) {
    for (const file of filesOf(path, rest)) {
      const read = typeof file === "string" ? readOnce(file, stdin, rest, seen) : file;
      if (read !== undefined) yield read;
    }
  }
}

/** The files that a path stands for. */
function* filesOf(path: string, rest: Rest): Generator<string | Diagnostic> {
  if (isDescriptor(path)) {
    yield path;
    return;
  }
  // A stack and no recursion: folders may be as deep as a path is long.
  const waiting = [path];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (rest.files-- <= 0) {
      const message = `got more than ${rest.bounds.files} manifests and folders, want fewer`;
      yield diagnostic("SL1012", startOf(next), message);
      return;
    }
    try {
      const stat = next === path ? statSync(next) : lstatSync(next);
      if (stat.isDirectory()) waiting.push(...manifestsIn(next, rest).reverse());
      else yield next;
    } catch (error) {
      yield unreadable(next, error);
    }
    if (rest.entries < 0) {
      const message = `got folders of more than ${rest.bounds.entries} entries, want fewer`;
      yield diagnostic("SL1012", startOf(next), message);
      return;
    }
  }
}

/** Folders and manifests in a folder, in the order of their names. */
function manifestsIn(folder: string, rest: Rest): string[] {
  const found: string[] = [];
  const entries = opendirSync(folder, { bufferSize: 512 });
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      if (rest.entries-- <= 0) break;
      if (entry.name.startsWith(".")) continue;
      const inside = join(folder, entry.name);
      // Links to folders are not followed: they could lead back up.
      const isWanted =
        entry.isDirectory() ||
        (/\.(yaml|yml|json)$/.test(entry.name) && !(entry.isSymbolicLink() && isFolder(inside)));
      if (isWanted && found.length <= rest.files) found.push(inside);
    }
  } finally {
    entries.closeSync();
  }
  return found.sort();
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    return false;
  }
}

/** Standard input, or what a shell hands over with `<(command)`: the caller's own, and no file's name. */
function isDescriptor(path: string): boolean {
  return path === "-" || path === "/dev/stdin" || /^\/(dev|proc\/self)\/fd\/\d+$/.test(path);
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
      ? diagnostic(error.code, startOf(name), error.message)
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

const reasons: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "no such file or folder"],
  ["EACCES", "a file that the system does not let us read"],
  ["EPERM", "a file that the system does not let us read"],
  ["EISDIR", "a folder where a file was"],
  ["ELOOP", "links that lead in a circle"],
  ["ENAMETOOLONG", "a path that is longer than the system takes"],
]);

function unreadable(path: string, error: unknown): Diagnostic {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const reason = (code === "ENOENT" && deadLink(path)) || reasons.get(code);
  const got = reason ?? message.toLowerCase();
  return diagnostic("SL1011", startOf(path), `got ${got}, want a file, a folder or -`);
}

/** Says where a link leads when there is nothing; undefined when it is no link. */
function deadLink(path: string): string | undefined {
  try {
    return `a link to "${readlinkSync(path)}", where nothing is`;
  } catch {
    return undefined;
  }
}

function startOf(file: string): Span {
  return { file, line: 1, column: 1, endLine: 1, endColumn: 1 };
}
