import { type Dirent, lstatSync, opendirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Diagnostic, diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import { IgnoreRules, patternLines } from "./ignore-rules.js";
import type { Limits } from "./limits.js";
import { FileRefusal, readRegularFile } from "./regular-file.js";

/** What a path stands for: a folder that is searched, what is read, or what is wrong with it. */
export type Found =
  | { readonly is: "folder" | "file"; readonly path: string }
  /** A folder that a renderer makes manifests of; a chart's is not searched. */
  | { readonly is: "chart" | "kustomization"; readonly path: string; readonly file: string }
  | { readonly is: "fault"; readonly path: string; readonly fault: Diagnostic };

/** What is still looked at, of what the bounds allow. */
export interface RestOfFiles {
  readonly bounds: Limits;
  /** Patterns that the user gave, of what is left out of every folder. */
  readonly ignore: readonly string[];
  files: number;
  entries: number;
  patterns: number;
  comparisons: number;
}

export function restOf(bounds: Limits, ignore: readonly string[] = []): RestOfFiles {
  const { files, entries, patterns, comparisons } = bounds;
  return { bounds, ignore, files, entries, patterns, comparisons };
}

/** The file that says what is left out of its folder, and of those below. */
const ignoreFile = ".sluiceignore";

export const chartFile = "Chart.yaml";

/** What a kustomization's file may be called. Source: kustomize, konfig.RecognizedKustomizationFileNames. */
export const kustomizationFiles: readonly string[] = [
  "kustomization.yaml",
  "kustomization.yml",
  "Kustomization",
];

/** Folders of other people's packages, which nobody means by a folder of manifests. */
const passedFolders: ReadonlySet<string> = new Set(["node_modules"]);

const ignoreFileBytesMax = 64 * 1024;

interface Waiting {
  readonly path: string;
  readonly rules: IgnoreRules;
}

/**
 * Finds the manifests of a path: folders are searched to the bottom, in the order of names.
 *
 * Links to folders are not followed but where they are the path itself: they could lead anywhere.
 *
 * Errors: none thrown; SL1011, SL1012.
 */
export function* manifestFiles(path: string, rest: RestOfFiles): Generator<Found> {
  if (isDescriptor(path)) {
    yield { is: "file", path };
    return;
  }
  const fault = (at: string, message: string): Found => ({
    is: "fault",
    path: at,
    fault: diagnostic("SL1012", startOfFile(at), message),
  });
  // A stack and no recursion: folders may be as deep as a path is long.
  const waiting: Waiting[] = [{ path, rules: new IgnoreRules(path, rest.ignore) }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const at = next.path;
    if (rest.files-- <= 0) {
      yield fault(at, `got more than ${rest.bounds.files} manifests and folders, want fewer`);
      return;
    }
    try {
      const stat = at === path ? statSync(at) : lstatSync(at);
      if (!stat.isDirectory()) {
        yield { is: "file", path: at };
        continue;
      }
      const { renders, inside } = openFolder(next, rest);
      yield renders ?? { is: "folder", path: at };
      waiting.push(...inside.reverse());
    } catch (error) {
      yield { is: "fault", path: at, fault: unreadable(at, error) };
    }
    if (rest.entries < 0) {
      yield fault(at, `got folders of more than ${rest.bounds.entries} entries, want fewer`);
      return;
    }
    if (rest.patterns < 0 || rest.comparisons < 0) {
      yield fault(at, "got too many patterns of files for so many entries, want fewer");
      return;
    }
  }
}

/** Finds every file below a folder, of which something is rendered. Errors: none; what cannot be read is left out. */
export function* everyFile(folder: string, rest: RestOfFiles): Generator<Found> {
  const waiting = [folder];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (rest.files-- <= 0 || rest.entries < 0) return;
    yield { is: "folder", path: next };
    try {
      for (const entry of entriesOf(next, rest)) {
        const path = join(next, entry.name);
        if (entry.isDirectory() && entry.name !== ".git") waiting.push(path);
        else if (entry.isFile() || entry.isSymbolicLink()) yield { is: "file", path };
      }
    } catch {
      // It is gone, or not ours to read: the renderer says so.
    }
  }
}

/** Looks into a folder: whether it is one to render, and the folders and manifests in it in the order of names. */
function openFolder(
  { path, rules: above }: Waiting,
  rest: RestOfFiles,
): { readonly renders: Found | undefined; readonly inside: Waiting[] } {
  const entries = entriesOf(path, rest);
  const names = new Map(entries.map((entry) => [entry.name, entry]));
  const rules = names.has(ignoreFile) ? rulesOf(path, above, rest) : above;
  const isWanted = (name: string, isFolder: boolean) => {
    rest.comparisons -= rules.size;
    // Beyond the bound nothing is compared any more, and the folder is refused.
    return rest.comparisons < 0 || !rules.ignores(join(path, name), isFolder);
  };
  const fileOf = (each: readonly string[]) =>
    each.find((name) => names.get(name)?.isDirectory() === false && isWanted(name, false));
  const [chart, kustomization] = [fileOf([chartFile]), fileOf(kustomizationFiles)];
  const renders: Found | undefined =
    kustomization !== undefined
      ? { is: "kustomization", path, file: join(path, kustomization) }
      : chart !== undefined
        ? { is: "chart", path, file: join(path, chart) }
        : undefined;
  const inside = entries.filter((entry) => {
    const { name } = entry;
    // All below a chart is the chart's.
    if (chart !== undefined) return false;
    if (name.startsWith(".") || kustomizationFiles.includes(name)) return false;
    if (entry.isDirectory()) return !passedFolders.has(name) && isWanted(name, true);
    return (
      /\.(yaml|yml|json)$/.test(name) &&
      isWanted(name, false) &&
      !(entry.isSymbolicLink() && isFolder(join(path, name)))
    );
  });
  const found = inside.map(({ name }) => join(path, name)).sort();
  return { renders, inside: found.map((each) => ({ path: each, rules })) };
}

/** Entries of a folder, as many as are still looked at. */
function entriesOf(folder: string, rest: RestOfFiles): Dirent[] {
  const found: Dirent[] = [];
  const entries = opendirSync(folder, { bufferSize: 512 });
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      if (rest.entries-- <= 0) break;
      found.push(entry);
    }
  } finally {
    entries.closeSync();
  }
  return found;
}

/** Reads a folder's own patterns. Errors: FileRefusal, and those of the system. */
function rulesOf(folder: string, above: IgnoreRules, rest: RestOfFiles): IgnoreRules {
  const lines = patternLines(textOfRules(join(folder, ignoreFile)));
  rest.patterns -= lines.length;
  return new IgnoreRules(folder, rest.patterns < 0 ? [] : lines, above);
}

function textOfRules(path: string): string {
  try {
    return readRegularFile(path, ignoreFileBytesMax).toString("utf8");
  } catch (error) {
    if (!(error instanceof FileRefusal)) throw error;
    throw new FileRefusal(`${ignoreFile}: ${error.message}`, error.isTooLarge);
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    return false;
  }
}

/** Standard input, or what a shell hands over with `<(command)`: the caller's own, and no file's name. */
export function isDescriptor(path: string): boolean {
  return path === "-" || path === "/dev/stdin" || /^\/(dev|proc\/self)\/fd\/\d+$/.test(path);
}

/** An address that is fetched, where a command does that. */
export function isUrl(path: string): boolean {
  return /^https?:\/\//i.test(path);
}

const reasons: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "no such file or folder"],
  ["EACCES", "a file that the system does not let us read"],
  ["EPERM", "a file that the system does not let us read"],
  ["EISDIR", "a folder where a file was"],
  ["ELOOP", "links that lead in a circle"],
  ["ENAMETOOLONG", "a path that is longer than the system takes"],
]);

/** Words why a path cannot be read. */
export function unreadable(path: string, error: unknown): Diagnostic {
  if (error instanceof FileRefusal) {
    return diagnostic(error.isTooLarge ? "SL1012" : "SL1011", startOfFile(path), error.message);
  }
  const { code = "", message } = error as NodeJS.ErrnoException;
  const reason = (code === "ENOENT" && deadLink(path)) || reasons.get(code);
  const got = reason ?? message.toLowerCase();
  return diagnostic("SL1011", startOfFile(path), `got ${got}, want a file, a folder or -`);
}

/** Says where a link leads when there is nothing; undefined when it is no link. */
function deadLink(path: string): string | undefined {
  try {
    return `a link to "${readlinkSync(path)}", where nothing is`;
  } catch {
    return undefined;
  }
}
