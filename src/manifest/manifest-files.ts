import { lstatSync, opendirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Diagnostic, diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import type { Limits } from "./limits.js";

/** What a path stands for: a folder that is searched, a file to be read, or what is wrong with it. */
export type Found =
  | { readonly is: "folder" | "file"; readonly path: string }
  | { readonly is: "fault"; readonly path: string; readonly fault: Diagnostic };

/** What is still looked at, of what the bounds allow. */
export interface RestOfFiles {
  readonly bounds: Limits;
  files: number;
  entries: number;
}

export function restOf(bounds: Limits): RestOfFiles {
  return { bounds, files: bounds.files, entries: bounds.entries };
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
  // A stack and no recursion: folders may be as deep as a path is long.
  const waiting = [path];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (rest.files-- <= 0) {
      const message = `got more than ${rest.bounds.files} manifests and folders, want fewer`;
      yield { is: "fault", path: next, fault: diagnostic("SL1012", startOfFile(next), message) };
      return;
    }
    try {
      const stat = next === path ? statSync(next) : lstatSync(next);
      if (stat.isDirectory()) {
        yield { is: "folder", path: next };
        waiting.push(...manifestsIn(next, rest).reverse());
      } else {
        yield { is: "file", path: next };
      }
    } catch (error) {
      yield { is: "fault", path: next, fault: unreadable(next, error) };
    }
    if (rest.entries < 0) {
      const message = `got folders of more than ${rest.bounds.entries} entries, want fewer`;
      yield { is: "fault", path: next, fault: diagnostic("SL1012", startOfFile(next), message) };
      return;
    }
  }
}

/** Folders and manifests in a folder, in the order of their names. */
function manifestsIn(folder: string, rest: RestOfFiles): string[] {
  const found: string[] = [];
  const entries = opendirSync(folder, { bufferSize: 512 });
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      if (rest.entries-- <= 0) break;
      if (entry.name.startsWith(".")) continue;
      const inside = join(folder, entry.name);
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
export function isDescriptor(path: string): boolean {
  return path === "-" || path === "/dev/stdin" || /^\/(dev|proc\/self)\/fd\/\d+$/.test(path);
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
