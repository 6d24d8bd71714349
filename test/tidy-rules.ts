import { dirname, join, normalize } from "node:path";

/** Files by their path from the root, with `/` between folders. */
export type Tree = ReadonlyMap<string, string>;

/** What each room of a top folder may know of, itself aside; undefined: of every room there. */
export type Rooms = ReadonlyMap<string, readonly string[] | undefined>;

/** One file that names another. */
export interface Reference {
  readonly from: string;
  readonly line: number;
  readonly to: string;
}

const importPattern = /(?:from|import\(|import|new URL\()\s*"(\.{1,2}\/[^"]+)"/g;
const staticPattern = /(?:from|import)\s*"(\.{1,2}\/[^"]+)"/g;
const includePattern = /#include "(native\/[^"]+)"/g;

/** Reads the table of rooms of docs/architecture.md for `src` or `native`. */
export function roomsOf(page: string, top: string): Rooms {
  const rooms = new Map<string, readonly string[] | undefined>();
  const row = new RegExp(`^\\| \\[${top}/([a-z]+)\\]\\([^|]*\\|[^|]*\\| ([^|]*) \\|$`, "gm");
  for (const [, room = "", allowed = ""] of page.matchAll(row)) {
    const every = /^every (native )?room$/.test(allowed);
    const listed = allowed === "nothing" ? [] : allowed.split(", ");
    rooms.set(room, every ? undefined : listed);
  }
  return rooms;
}

/** Finds every import of ours in TypeScript; `static`: but for those that are made when they are needed. */
export function importsOf(tree: Tree, which: "all" | "static" = "all"): Reference[] {
  const pattern = which === "all" ? importPattern : staticPattern;
  return references(tree, /\.tsx?$/, pattern, (from, text) => {
    const path = join(dirname(from), text).replace(/\.js$/, ".ts");
    return tree.has(`${path}x`) ? `${path}x` : path;
  });
}

/**
 * Finds values that a file of src/ exports and no other file takes; `users` are all files that may take them.
 * Types are passed over: what an exported function takes or returns is better named.
 */
export function unusedExports(users: Tree): string[] {
  const importers = new Map<string, string[]>();
  for (const { from, to } of references(users, /\.m?tsx?$|\.mjs$/, importPattern, (from, text) =>
    join(dirname(from), text).replace(/\.js$/, ".ts"),
  )) {
    const source = to.replace(/^dist\//, "src/");
    importers.set(source, [...(importers.get(source) ?? []), users.get(from) ?? ""]);
  }
  const exported = /^export (?:async |abstract )*(?:const|let|function\*?|class) (\w+)/gm;
  return references(users, /^src\/.*(?<!\.gen)\.ts$/, exported, (_from, text) => text).flatMap(
    ({ from, line, to: name }) => {
      const taken = (importers.get(from) ?? []).some((text) =>
        new RegExp(`\\b${name}\\b`).test(text),
      );
      return taken ? [] : [`${from}:${line}: ${name} is exported, and no other file takes it`];
    },
  );
}

/** Finds every include of ours in C++. */
export function includesOf(tree: Tree): Reference[] {
  return references(tree, /^native\/.*\.(c|cc|h)$/, includePattern, (_from, text) => text);
}

/** Finds what `pattern` names in the files whose paths match; `resolveTo` makes paths of the texts. */
export function references(
  tree: Tree,
  path: RegExp,
  pattern: RegExp,
  resolveTo: (from: string, text: string) => string,
): Reference[] {
  return [...tree]
    .filter(([from]) => path.test(from))
    .flatMap(([from, content]) =>
      content.split("\n").flatMap((text, index) =>
        [...text.matchAll(pattern)].map((match) => ({
          from,
          line: index + 1,
          to: normalize(resolveTo(from, match[1] ?? "")),
        })),
      ),
    );
}

const pathPattern =
  /`((?:bench|deploy|docs|examples|native|schema|scripts|src|test)\/[^`\s]*|[A-Z]+\.md|package\.json)`/g;

/** Finds what pages name as code and begins as a path of the repository does. */
export function namedPaths(tree: Tree): Reference[] {
  return references(tree, /\.md$/, pathPattern, (_from, text) => text);
}

/**
 * Finds the ways to end, stall or restart the process (the rows of SECURITY.md's table of them) that name no test, and
 * tests that are named by their title in a file that has none of that title. `tests` are all files of tests.
 */
export function untestedWays(page: string, tests: Tree): string[] {
  const start = page.indexOf("\n| way | who has it |");
  const table = start < 0 ? "" : page.slice(start + 1, page.indexOf("\n\n", start + 1));
  const rows = table.split("\n").slice(2);
  if (rows.length === 0) return ["SECURITY.md:1: no table of ways"];
  const files = [...tests.keys()];
  return rows.flatMap((row) => {
    const cells = row.split(" | ");
    const [way = "", last = ""] = [cells[0]?.slice(2), cells.at(-1)];
    const named = [...last.matchAll(/`((?:test|native\/testing)[^`]*)`/g)].map(([, path]) => path!);
    const isThere = (path: string) =>
      files.some((file) => file === path || file.startsWith(`${path}/`));
    const gone = named.filter((path) => !isThere(path));
    const titles = [...last.matchAll(/"([^"]+)" in `([^`]+)`/g)]
      .filter(([, title = "", path = ""]) => !tests.get(path)?.includes(title))
      .map(([, title, path]) => `"${title}" in ${path}`);
    const missing = [...(named.length === 0 ? ["any test"] : []), ...gone, ...titles];
    return missing.map((each) => `SECURITY.md: "${way}" has not ${each}`);
  });
}

/**
 * Finds lines of pages that are too long to be read side by side with a change of them. Tables cannot be
 * broken, nor can what stands between fences: it is what a program prints.
 */
export function longLines(tree: Tree, columnsMax: number): string[] {
  return [...tree].flatMap(([file, content]) => {
    let fenced = false;
    return content.split("\n").flatMap((text, index) => {
      const isFence = /^\s*```/.test(text);
      if (isFence) fenced = !fenced;
      if (isFence || fenced || text.startsWith("|") || text.length <= columnsMax) return [];
      return [`${file}:${index + 1}: ${text.length} columns, want at most ${columnsMax}`];
    });
  });
}

/** Finds references from a room to one that its row does not list. */
export function brokenRooms(found: readonly Reference[], top: string, rooms: Rooms): string[] {
  return found.flatMap(({ from, line, to }) => {
    const room = roomOf(from);
    // Files at the top of src/ are the package's doors and may use every room.
    if (from.split("/").length < 3 || !to.startsWith(`${top}/`) || room === roomOf(to)) return [];
    if (!rooms.has(room)) return [`${from}:${line}: ${top}/${room} is not in the table of rooms`];
    const allowed = rooms.get(room);
    if (allowed === undefined || allowed.includes(roomOf(to))) return [];
    return [
      `${from}:${line}: ${top}/${room} may not know of ${to} (allowed: ${allowed.join(", ") || "nothing"})`,
    ];
  });
}

export function roomOf(file: string): string {
  return file.split("/")[1] ?? "";
}

/** Finds circles of imports, types included: each as one of its ways round. */
export function circles(found: readonly Reference[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to } of found) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const circular: string[] = [];
  const visit = (file: string, way: readonly string[]): void => {
    const start = way.indexOf(file);
    if (start >= 0) circular.push([...way.slice(start), file].join(" -> "));
    if (start >= 0 || done.has(file)) return;
    for (const to of next.get(file) ?? []) visit(to, [...way, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return circular;
}

/**
 * Finds where commands and captures begin to read packets themselves, which the native filter does: a number in
 * network order, an ethertype, another's decoder.
 */
export function packetReaders(tree: Tree): string[] {
  const signs =
    /(read(?:Big)?U?Int(?:16|32|64)BE|get(?:Big)?U?int(?:16|32|64)\([^,()]+\)|0x0?80[06]\b|0x86dd\b|0x8100\b|cap\/lib)/gi;
  return references(tree, /^src\/(cli|capture)\//, signs, (_from, text) => text).map(
    ({ from, line, to }) => `${from}:${line}: ${to}: have the native filter read frames`,
  );
}

/** Finds the files that have frames judged and also ask a table about packets: a second tracker. */
export function secondJudges(imports: readonly Reference[]): string[] {
  const importers = (pattern: RegExp) =>
    imports.filter(({ to }) => pattern.test(to)).map(({ from }) => from);
  const asking = new Set(importers(/^src\/dataplane\/table\.ts$/));
  const judging = importers(/^src\/(dataplane\/capture-judge|capture\/.*)\.ts$/);
  return [...new Set(judging)]
    .filter((file) => asking.has(file))
    .map((file) => `${file}:1: the judge of frames knows their connections, Table does not`);
}

/**
 * Finds C++ functions of more than `linesMax` lines, by what clang-format makes of them: a lone `}` ends what the
 * last line at its indentation has begun. src/ has a lint rule for the same.
 */
export function longFunctions(tree: Tree, linesMax: number): string[] {
  return [...tree]
    .filter(([file]) => /^native\/(?!testing|bench).*(?<!\.gen)\.(cc|h)$/.test(file))
    .flatMap(([file, content]) => {
      const lines = content.split("\n");
      return lines.flatMap((text, end) => {
        const [, indent] = /^( {0,2})\}$/.exec(text) ?? [];
        if (indent === undefined) return [];
        const begins = new RegExp(`^${indent}[^ #}/]`);
        const start = lines.findLastIndex((each, index) => index < end && begins.test(each));
        const length = end - start + 1;
        if (length <= linesMax) return [];
        return [`${file}:${start + 1}: ${length} lines, want at most ${linesMax}`];
      });
    });
}
