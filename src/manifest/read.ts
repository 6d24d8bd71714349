import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { type Diagnostic, diagnostic, type Span } from "../diagnostics/diagnostic.js";
import { joinTexts, type Manifests, type ParsedText, parseText } from "./parse.js";

/** Bytes of one file; somewhat less than one string of V8 can hold. */
const FILE_BYTES_MAX = 400 * 1024 * 1024;

/**
 * Reads manifests from files, folders and standard input (`-`).
 *
 * Shape:  folders are searched to the bottom for .yaml, .yml and .json, in the order of their names;
 *         names that begin with a dot are passed over. A file that is named twice is read once.
 *         `stdin` is standard input's text where somebody has read it already.
 * Errors: none thrown; SL1002, SL1010, SL1011, SL1012 beside those of `parseManifests`.
 */
export function readManifests(paths: readonly string[], stdin?: string): Manifests {
  const texts: ParsedText[] = [];
  for (const read of textsOf(paths, stdin)) {
    texts.push("text" in read ? parseText(read.text, read.name) : failed(read));
  }
  return joinTexts(texts, paths.map((path) => (path === "-" ? "<stdin>" : path)).join(","));
}

/** A text, and the name that its spans carry. */
export interface ManifestText {
  readonly name: string;
  readonly text: string;
}

/**
 * Reads the same files without looking into them, for whoever else is to parse them.
 *
 * Errors: none thrown; SL1002, SL1011, SL1012.
 */
export function readManifestTexts(
  paths: readonly string[],
  stdin?: string,
): { readonly texts: readonly ManifestText[]; readonly diagnostics: readonly Diagnostic[] } {
  const texts: ManifestText[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const read of textsOf(paths, stdin)) {
    if ("text" in read) texts.push(read);
    else diagnostics.push(read);
  }
  return { texts, diagnostics };
}

function* textsOf(
  paths: readonly string[],
  stdin: string | undefined,
): Generator<ManifestText | Diagnostic> {
  const seen = new Set<string>();
  for (const path of paths) {
    for (const file of filesOf(path)) {
      if (typeof file !== "string") {
        yield file;
        continue;
      }
      const identity = file === "-" ? file : identityOf(file);
      if (seen.has(identity)) continue;
      seen.add(identity);

      const name = file === "-" ? "<stdin>" : file;
      const text = file === "-" && stdin !== undefined ? stdin : readText(file, name);
      yield typeof text === "string" ? { name, text } : text;
    }
  }
}

/** What tells one file from another; a pipe has no path but the one it was given by. */
function identityOf(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}

function failed(found: Diagnostic): ParsedText {
  return { objects: [], diagnostics: [found], documents: 0 };
}

/** The files that a path stands for. */
function filesOf(path: string): readonly (string | Diagnostic)[] {
  if (path === "-") return ["-"];
  try {
    if (!statSync(path).isDirectory()) return [path];
    const files: (string | Diagnostic)[] = [];
    const entries = readdirSync(path, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const inside = join(path, entry.name);
      // Links to folders are not followed: they could lead back up.
      if (entry.isDirectory()) files.push(...filesOf(inside));
      else if (/\.(yaml|yml|json)$/.test(entry.name) && !isFolder(inside)) files.push(inside);
    }
    return files;
  } catch (error) {
    return [unreadable(path, error)];
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Reads a file, a pipe or standard input, within bounds. */
function readText(file: string, name: string): string | Diagnostic {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    const descriptor = file === "-" ? 0 : openSync(file, "r");
    try {
      const stat = fstatSync(descriptor);
      const chunkBytes = Math.max(64 * 1024, Math.min(stat.size + 1, FILE_BYTES_MAX));
      for (;;) {
        const chunk = Buffer.allocUnsafe(chunkBytes);
        const count = readChunk(descriptor, chunk);
        if (count === 0) break;
        size += count;
        if (size > FILE_BYTES_MAX) {
          const message = `got more than ${FILE_BYTES_MAX} bytes, want a smaller file`;
          return diagnostic("SL1012", startOf(name), message);
        }
        chunks.push(chunk.subarray(0, count));
      }
    } finally {
      if (descriptor !== 0) closeSync(descriptor);
    }
  } catch (error) {
    return unreadable(name, error);
  }
  return decode(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), name);
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

function decode(bytes: Buffer, name: string): string | Diagnostic {
  try {
    // A byte order mark in front is dropped by the decoder.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const before = new TextDecoder("utf-8").decode(bytes).split("\ufffd", 1)[0] ?? "";
    const line = before.split("\n").length;
    const column = before.length - before.lastIndexOf("\n");
    const span = { file: name, line, column, endLine: line, endColumn: column };
    return diagnostic("SL1002", span, "got bytes that are not UTF-8, want text");
  }
}

function unreadable(path: string, error: unknown): Diagnostic {
  const { code, message } = error as NodeJS.ErrnoException;
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "no such file or folder",
    EACCES: "the system does not let us read it",
    EISDIR: "a folder where a file was",
    ELOOP: "links that lead in a circle",
  };
  const reason = reasons[code ?? ""] ?? message.toLowerCase();
  return diagnostic("SL1011", startOf(path), `got ${reason}, want a file, a folder or -`);
}

function startOf(file: string): Span {
  return { file, line: 1, column: 1, endLine: 1, endColumn: 1 };
}
