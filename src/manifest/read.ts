import { type Diagnostic, diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import { decodeText } from "./decode.js";
import { type Limits, limits } from "./limits.js";
import {
  isDescriptor,
  manifestFiles,
  type RestOfFiles,
  restOf,
  unreadable,
} from "./manifest-files.js";
import { type Manifests, type ManifestText, parseTexts } from "./parse.js";
import { FileRefusal, readToEnd, readWhole, withRegularFile } from "./regular-file.js";

/**
 * Reads manifests from files, folders and standard input (`-`).
 *
 * Shape:  folders are searched to the bottom for .yaml, .yml and .json, in the order of their names;
 *         names that begin with a dot are passed over. A file that is named twice is read once.
 *         `stdin` is standard input's text where somebody has read it already; `namespace` is that
 *         of objects that name none.
 * Errors: none thrown; SL1002, SL1010, SL1011, SL1012 beside those of `parseManifests`.
 */
export function readManifests(
  paths: readonly string[],
  stdin?: string,
  bounds = limits,
  namespace?: string,
): Manifests {
  const place = paths.map((path) => (path === "-" ? "<stdin>" : path)).join(",");
  return parseTexts(textsOf(paths, stdin, bounds), place, bounds, namespace);
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
      const bytes = readToEnd(file, rest.bounds.fileBytes);
      takeBytes(bytes.length, rest);
      return decode(bytes, name);
    }
    return withRegularFile(file, (descriptor, stat) => {
      const identity = `${stat.dev} ${stat.ino}`;
      if (seen.has(identity)) return undefined;
      seen.add(identity);
      takeBytes(Number(stat.size), rest);
      return decode(readWhole(descriptor, stat), name);
    });
  } catch (error) {
    if (!(error instanceof FileRefusal)) return unreadable(name, error);
    const code = error.isTooLarge ? "SL1012" : "SL1011";
    return diagnostic(code, startOfFile(name), error.message);
  }
}

/** Takes a size from what is left. Errors: FileRefusal. */
function takeBytes(size: number, rest: Rest): void {
  const { fileBytes, allBytes } = rest.bounds;
  if (size > fileBytes) {
    throw new FileRefusal(`got more than ${fileBytes} bytes, want a smaller file`, true);
  }
  rest.bytes -= size;
  if (rest.bytes < 0) {
    const message = `got more than ${allBytes} bytes with the files before, want fewer`;
    throw new FileRefusal(message, true);
  }
}

function decode(bytes: Buffer, name: string): ManifestText | Diagnostic {
  const text = decodeText(bytes);
  if (typeof text === "string") return { name, text };
  const { line, column } = text;
  const span = { file: name, line, column, endLine: line, endColumn: column };
  return diagnostic(
    "SL1002",
    span,
    "got bytes that are neither UTF-8 nor marked as UTF-16, want text",
  );
}
