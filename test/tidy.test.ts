import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

// Goal: the import table of docs/architecture.md holds, no file is dead, no docs page is lost.
// Method: read every import and include as text; each finding is `file:line: reason`.

const root = fileURLToPath(new URL("..", import.meta.url));

/** What each room of src/ may import of ours; itself is always allowed. `*` is every room. */
const srcRooms: Record<string, readonly string[]> = {
  net: [],
  diagnostics: [],
  layout: [],
  manifest: ["net", "diagnostics"],
  policy: ["net", "diagnostics", "manifest"],
  compiler: ["net", "diagnostics", "policy", "layout"],
  dataplane: ["layout", "net"],
  analysis: ["net", "manifest", "policy", "compiler", "dataplane", "diagnostics", "layout"],
  observe: ["net", "layout", "manifest", "policy", "compiler", "dataplane"],
  metrics: ["dataplane"],
  control: [
    ...["net", "layout", "manifest", "policy", "compiler", "dataplane", "diagnostics"],
    ...["observe", "metrics"],
  ],
  kubernetes: ["diagnostics", "manifest", "policy", "control"],
  capture: ["net"],
  lab: [
    ...["net", "layout", "manifest", "policy", "compiler", "dataplane", "diagnostics"],
    ...["control", "observe"],
  ],
  node: [
    ...["net", "layout", "manifest", "policy", "compiler", "dataplane", "diagnostics"],
    ...["control", "observe", "metrics", "kubernetes"],
  ],
  doctor: ["dataplane"],
  bench: ["net", "manifest", "compiler", "dataplane"],
  cli: ["*"],
};

/** The same for native/. */
const nativeRooms: Record<string, readonly string[]> = {
  layout: [],
  packet: ["layout"],
  table: ["layout", "packet"],
  conntrack: ["layout", "packet"],
  io: ["layout", "packet"],
  event: ["layout", "packet"],
  host: ["layout", "packet"],
  worker: ["layout", "packet", "table", "conntrack", "io", "event"],
  bench: ["layout", "packet", "table", "conntrack", "worker"],
  binding: ["layout", "packet", "table", "conntrack", "io", "event", "host", "worker"],
  testing: ["*"],
};

/** Files that something other than an import starts. */
const entryPoints = new Set([
  "src/index.ts",
  "src/cli/main.ts",
  "src/cli/reference.ts",
  "src/layout/generate.ts",
  "native/binding/addon.cc",
  "native/binding/glibc-floor.cc",
]);

interface Reference {
  readonly from: string;
  readonly line: number;
  readonly to: string;
}

function filesBelow(folder: string, pattern: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => join(folder, file))
    .filter((file) => pattern.test(file))
    .sort();
}

function references(
  files: readonly string[],
  pattern: RegExp,
  resolveTo: (from: string, text: string) => string,
): Reference[] {
  return files.flatMap((from) =>
    readFileSync(join(root, from), "utf8")
      .split("\n")
      .flatMap((text, index) =>
        [...text.matchAll(pattern)].map((match) => ({
          from,
          line: index + 1,
          to: resolveTo(from, match[1] ?? ""),
        })),
      ),
  );
}

const sources = filesBelow("src", /\.ts$/);
const imports = references(
  sources,
  /(?:from|import\(|import|new URL\()\s*"(\.{1,2}\/[^"]+)"/g,
  (from, text) => relative(root, resolve(root, dirname(from), text)).replace(/\.js$/, ".ts"),
);
const nativeFiles = filesBelow("native", /\.(cc|h)$/);
const includes = references(nativeFiles, /#include "(native\/[^"]+)"/g, (_from, text) => text);

function roomOf(file: string): string {
  return file.split("/")[1] ?? "";
}

function brokenRules(
  found: readonly Reference[],
  top: string,
  rooms: Record<string, readonly string[]>,
): string[] {
  return found.flatMap(({ from, line, to }) => {
    const room = roomOf(from);
    // Files at the top of src/ are the package's doors and may use every room.
    if (from.split("/").length < 3 || !to.startsWith(`${top}/`) || room === roomOf(to)) return [];
    const allowed = rooms[room];
    if (allowed === undefined)
      return [`${from}:${line}: ${top}/${room} is not in the table of rooms`];
    if (allowed.includes("*") || allowed.includes(roomOf(to))) return [];
    return [
      `${from}:${line}: ${top}/${room} may not know of ${to} (allowed: ${allowed.join(", ") || "nothing"})`,
    ];
  });
}

describe("tidy", () => {
  test("rooms import only what the table allows", () => {
    expect(brokenRules(imports, "src", srcRooms)).toEqual([]);
    expect(brokenRules(includes, "native", nativeRooms)).toEqual([]);
  });

  test("imports and includes lead somewhere", () => {
    const lost = [...imports, ...includes].filter(({ to }) => !existsSync(join(root, to)));
    expect(lost.map(({ from, line, to }) => `${from}:${line}: ${to} does not exist`)).toEqual([]);
  });

  test("only native/binding knows of Node", () => {
    const found = references(
      nativeFiles,
      /#include <(napi\.h|node_api\.h)>/g,
      (_from, text) => text,
    );
    const wrong = found.filter(({ from }) => roomOf(from) !== "binding");
    expect(wrong.map(({ from, line }) => `${from}:${line}: napi.h outside native/binding`)).toEqual(
      [],
    );
  });

  test("only src/dataplane touches the addon", () => {
    const wrong = imports.filter(
      ({ from, to }) => to === "src/dataplane/addon.ts" && roomOf(from) !== "dataplane",
    );
    expect(wrong.map(({ from, line }) => `${from}:${line}: use src/dataplane's classes`)).toEqual(
      [],
    );
  });

  // A second evaluator begins with asking the manifests who isolates whom.
  test("only the compiler's side asks the manifests which policies apply", () => {
    const asks = /\{[^}]*\b(isolates|subjectMatches)\b[^}]*\} from "[^"]*\/policy\/resolve\.js"/;
    const wrong = sources.filter(
      (file) =>
        !["policy", "compiler"].includes(roomOf(file)) &&
        asks.test(readFileSync(join(root, file), "utf8")),
    );
    expect(wrong.map((file) => `${file}:1: ask the table's Provenance or the Ruleset`)).toEqual([]);
  });

  test("every file is used", () => {
    const used = new Set([...imports, ...includes].map(({ to }) => to));
    // A .cc is compiled by its folder; it is used when the header that it includes first, its own, is.
    const ownHeader = new Map([...includes].reverse().map(({ from, to }) => [from, to]));
    const program = /^native\/(testing|bench)\//;
    const unused = [...sources, ...nativeFiles].filter((file) => {
      const alone = program.test(file) || entryPoints.has(file);
      const header = file.endsWith(".cc") ? (ownHeader.get(file) ?? "") : "";
      return !alone && !used.has(file) && !used.has(header);
    });
    expect(unused.map((file) => `${file}:1: used by nobody`)).toEqual([]);
  });

  test("every docs page can be reached from the README", () => {
    const pages = filesBelow("docs", /\.md$/);
    const reached = new Set<string>();
    const queue = ["README.md"];
    for (let page = queue.pop(); page !== undefined; page = queue.pop()) {
      if (reached.has(page) || !existsSync(join(root, page))) continue;
      reached.add(page);
      for (const link of readFileSync(join(root, page), "utf8").matchAll(
        /\]\(([^)#]+?)(?:#[^)]*)?\)/g,
      )) {
        const target = relative(root, resolve(root, dirname(page), link[1] ?? ""));
        if (/^[a-z]+:/.test(link[1] ?? "")) continue;
        if (target.endsWith(".md")) queue.push(target);
      }
    }
    expect(
      pages.filter((page) => !reached.has(page)).map((page) => `${page}:1: no page links here`),
    ).toEqual([]);
  });

  test("links in documents lead somewhere", () => {
    const pages = ["README.md", "CHANGELOG.md", ...filesBelow("docs", /\.md$/)].filter((page) =>
      existsSync(join(root, page)),
    );
    const broken = references(pages, /\]\(([^)#\s]+?)(?:#[^)]*)?\)/g, (from, text) =>
      /^[a-z]+:/.test(text) ? "README.md" : relative(root, resolve(root, dirname(from), text)),
    ).filter(({ to }) => !existsSync(join(root, to)));
    expect(broken.map(({ from, line, to }) => `${from}:${line}: ${to} does not exist`)).toEqual([]);
  });
});
