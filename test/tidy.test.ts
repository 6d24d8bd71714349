import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  brokenRooms,
  circles,
  importsOf,
  includesOf,
  longFunctions,
  longLines,
  namedPaths,
  packetReaders,
  references,
  roomOf,
  roomsOf,
  secondJudges,
  type Tree,
  untestedWays,
  unusedExports,
} from "./tidy-rules.js";

// Goal: the table of rooms in docs/architecture.md holds, no file is dead, no docs page is lost.
// Method: read every import and include as text; each finding is `file:line: reason`. That a planted fault is
// found is tested first.

const root = fileURLToPath(new URL("..", import.meta.url));

/** Files that something other than an import starts. */
const entryPoints = new Set([
  "src/index.ts",
  "src/cli/main.ts",
  "src/cli/reference.ts",
  "src/layout/generate.ts",
  "src/ui/page/main.tsx",
  "native/binding/addon.cc",
  "native/binding/glibc-floor.cc",
  "native/cni/main.cc",
]);

function filesBelow(folder: string, pattern: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => join(folder, file))
    .filter((file) => pattern.test(file))
    .sort();
}

function treeOf(files: readonly string[]): Tree {
  return new Map(files.map((file) => [file, readFileSync(join(root, file), "utf8")]));
}

const sources = filesBelow("src", /\.tsx?$/);
const nativeFiles = filesBelow("native", /\.(cc|h|bpf\.c)$/);
const tree = treeOf([...sources, ...nativeFiles]);
const imports = importsOf(tree);
const includes = includesOf(tree);
const pages = [
  ...readdirSync(root).filter((file) => file.endsWith(".md")),
  ...filesBelow("docs", /\.md$/),
].sort();
const architecture = readFileSync(join(root, "docs/architecture.md"), "utf8");

function foldersOf(top: string): string[] {
  return readdirSync(join(root, top), { withFileTypes: true })
    .flatMap((each) => (each.isDirectory() ? [each.name] : []))
    .sort();
}

/** Files with a C++ function of more than 70 lines, and why. */
const excused = [
  // The vector code of a batch: its parts share more registers than a function could be given.
  "native/table/table-batch.cc",
];

describe("a planted fault is found", () => {
  const page = [
    "| room | what it is for | may know of |",
    "| [src/a](../src/a) | x | nothing |",
    "| [src/b](../src/b) | x | a |",
    "| [src/c](../src/c) | x | every room |",
  ].join("\n");
  const rooms = roomsOf(page, "src");
  const planted = (files: Record<string, string>) => new Map(Object.entries(files));

  test("a room that looks where it may not", () => {
    const files = {
      "src/a/one.ts": 'import { x } from "../b/two.js";',
      "src/b/two.ts": 'import { x } from "../a/one.js";',
      "src/c/three.ts": 'const x = await import("../b/two.js");',
      "src/d/four.ts": '\nexport * from "../a/one.js";',
    };
    expect(brokenRooms(importsOf(planted(files)), "src", rooms)).toEqual([
      "src/a/one.ts:1: src/a may not know of src/b/two.ts (allowed: nothing)",
      "src/d/four.ts:2: src/d is not in the table of rooms",
    ]);
  });

  test("a circle, through types too", () => {
    const files = {
      "src/a/one.ts": 'import type { x } from "./two.js";',
      "src/a/two.ts": 'import { y } from "./three.js";',
      "src/a/three.ts": 'import { z } from "./one.js";',
    };
    expect(circles(importsOf(planted(files)))).toEqual([
      "src/a/one.ts -> src/a/two.ts -> src/a/three.ts -> src/a/one.ts",
    ]);
    expect(
      circles(includesOf(planted({ "native/a/b.h": '#include "native/a/b.h"' }))),
    ).toHaveLength(1);
  });

  test("a command that reads packets, or keeps connections beside the filter", () => {
    const files = {
      "src/cli/one.ts": "const port = bytes.readUInt16BE(offset + 2);",
      "src/cli/two.ts": "\nif (type === 0x0800 || type === 0x86DD) {",
      "src/capture/three.ts": 'const decoders = require("cap/lib/Decoders.js");',
      "src/capture/four.ts": "const length = view.getUint16(at + 2);\nview.getUint16(at, little);",
      "src/net/five.ts": "bytes.readUInt16BE(0);",
    };
    expect(packetReaders(planted(files)).map((each) => each.split(": have")[0])).toEqual([
      "src/cli/one.ts:1: readUInt16BE",
      "src/cli/two.ts:2: 0x0800",
      "src/cli/two.ts:2: 0x86DD",
      "src/capture/three.ts:1: cap/lib",
      "src/capture/four.ts:1: getUint16(at + 2)",
    ]);
    const asks = 'import { Table } from "../dataplane/table.js";\n';
    const judges = 'import { CaptureJudge } from "../dataplane/capture-judge.js";';
    const importing = {
      "src/cli/a.ts": asks,
      "src/cli/b.ts": judges,
      "src/cli/c.ts": asks + judges,
    };
    expect(secondJudges(importsOf(planted(importing))).map((each) => each.split(":")[0])).toEqual([
      "src/cli/c.ts",
    ]);
  });

  test("a long function", () => {
    const body = "  step();\n".repeat(70);
    const files = {
      "native/a/long.cc": `namespace x {\nint f(int a,\n      int b) {\n${body}}\n}  // namespace x`,
      "native/a/short.cc": "namespace x {\nint f() {\n  step();\n}\n}  // namespace x",
    };
    expect(longFunctions(planted(files), 70)).toEqual([
      "native/a/long.cc:2: 73 lines, want at most 70",
    ]);
  });

  test("a long line of a page, but for tables and what a program prints", () => {
    const long = "word ".repeat(25);
    const page = `# Page\n${long}\n| ${long} |\n\`\`\`\n${long}\n\`\`\`\n- ${long}`;
    expect(longLines(planted({ "docs/page.md": page }), 120)).toEqual([
      "docs/page.md:2: 125 columns, want at most 120",
      "docs/page.md:7: 127 columns, want at most 120",
    ]);
  });

  test("a way to end the process whose test is not there", () => {
    const page = `# Page
| way | who has it | what holds it | test |
|---|---|---|---|
| a frame | peer | a check | "no frame" in \`test/a.test.ts\` |
| a file | author | a bound | \`test/a.test.ts\`, \`test/gone.test.ts\` |
| a word | author | luck | nobody |

After.`;
    expect(untestedWays(page, planted({ "test/a.test.ts": 'test("another")' }))).toEqual([
      'SECURITY.md: "a frame" has not "no frame" in test/a.test.ts',
      'SECURITY.md: "a file" has not test/gone.test.ts',
      'SECURITY.md: "a word" has not any test',
    ]);
  });

  test("a value that is exported for nobody", () => {
    const files = {
      "src/a/one.ts": [
        "export const taken = 1;",
        "export async function asked() {}",
        "export function alone() {}",
        "export class Alone {}",
        "export interface Shape {}",
      ].join("\n"),
      "src/a/two.ts": 'import { taken } from "./one.js";',
      "src/a/three.ts": "alone();",
      "scripts/four.mjs": 'const { asked } = await import("../dist/a/one.js");',
    };
    expect(unusedExports(planted(files))).toEqual([
      "src/a/one.ts:3: alone is exported, and no other file takes it",
      "src/a/one.ts:4: Alone is exported, and no other file takes it",
    ]);
  });

  test("a path that a page names and nobody has", () => {
    const page = "# Page\n\n1. `src/a/one.ts`, then `npm run x` and `native/a`.\n2. `GONE.md`";
    const named = namedPaths(planted({ "HACKING.md": page }));
    expect(named.map(({ line, to }) => `${line}: ${to}`)).toEqual([
      "3: src/a/one.ts",
      "3: native/a",
      "4: GONE.md",
    ]);
  });
});

describe("tidy", () => {
  test("rooms import only what the table allows", () => {
    const known = [roomsOf(architecture, "src"), roomsOf(architecture, "native")] as const;
    expect(known.map((rooms) => [...rooms.keys()].sort())).toEqual([
      foldersOf("src"),
      foldersOf("native"),
    ]);
    expect(brokenRooms(imports, "src", known[0])).toEqual([]);
    expect(brokenRooms(includes, "native", known[1])).toEqual([]);
  });

  test("no imports go in a circle", () => {
    expect(circles([...importsOf(tree, "static"), ...includes])).toEqual([]);
  });

  // Every start of sluice loads all of them.
  test("a command's spec imports little before its command runs", () => {
    const light = /^src\/(cli\/(command-spec|shared-options|readers)|control\/settings)\.ts$/;
    const early = importsOf(tree, "static").filter(({ from }) =>
      /^src\/cli\/.*-spec\.ts$/.test(from),
    );
    const wrong = early.filter(
      ({ from, to }) => from !== "src/cli/command-spec.ts" && !light.test(to),
    );
    expect(early.length).toBeGreaterThan(wrong.length);
    expect(wrong.map(({ from, line, to }) => `${from}:${line}: import ${to} in run`)).toEqual([]);
  });

  test("C++ functions have 70 lines at most", () => {
    const long = longFunctions(tree, 70);
    expect(long.filter((each) => !excused.some((file) => each.startsWith(file)))).toEqual([]);
    expect(excused.filter((file) => !long.some((each) => each.startsWith(file)))).toEqual([]);
  });

  test("imports and includes lead somewhere", () => {
    const lost = [...imports, ...includes].filter(({ to }) => !existsSync(join(root, to)));
    expect(lost.map(({ from, line, to }) => `${from}:${line}: ${to} does not exist`)).toEqual([]);
  });

  test("only native/binding knows of Node", () => {
    const found = references(
      tree,
      /^native\//,
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
      (file) => !["policy", "compiler"].includes(roomOf(file)) && asks.test(tree.get(file) ?? ""),
    );
    expect(wrong.map((file) => `${file}:1: ask the table's Provenance or the Ruleset`)).toEqual([]);
  });

  test("only native/bpf makes the bpf() call", () => {
    const found = references(tree, /^native\//, /\bsyscall\(SYS_bpf\b/g, (_from, text) => text);
    const wrong = found.filter(({ from }) => roomOf(from) !== "bpf");
    expect(found.length).toBeGreaterThan(wrong.length);
    expect(wrong.map(({ from, line }) => `${from}:${line}: use native/bpf`)).toEqual([]);
  });

  test("netlink's numbers stand in one file", () => {
    const number = /\bconst (?:RTM|IFLA|IFA|RTA|NDA|NUD|NHA|NLM)_\w+ =/g;
    const found = references(tree, /^src\//, number, (_from, text) => text);
    const wrong = found.filter(({ from }) => from !== "src/netlink/constants.ts");
    expect(found.length).toBeGreaterThan(wrong.length);
    expect(wrong.map(({ from, line }) => `${from}:${line}: use src/netlink/constants.ts`)).toEqual(
      [],
    );
  });

  test("commands and captures read no packets, and keep no connections", () => {
    expect(packetReaders(tree)).toEqual([]);
    expect(secondJudges(imports)).toEqual([]);
  });

  test("every file is used", () => {
    const used = new Set([...imports, ...includes].map(({ to }) => to));
    // A .cc is compiled by its folder; it is used when the header that it includes first, its own, is.
    const ownHeader = new Map([...includes].reverse().map(({ from, to }) => [from, to]));
    const program = /^native\/(testing|bench)\/|\.bpf\.c$/;
    const unused = [...sources, ...nativeFiles].filter((file) => {
      const alone = program.test(file) || entryPoints.has(file);
      const header = file.endsWith(".cc") ? (ownHeader.get(file) ?? "") : "";
      return !alone && !used.has(file) && !used.has(header);
    });
    expect(unused.map((file) => `${file}:1: used by nobody`)).toEqual([]);
  });

  test("what is exported is used", () => {
    const others = ["test", "scripts", "bench"].flatMap((top) => filesBelow(top, /\.m?ts$|\.mjs$/));
    expect(unusedExports(treeOf([...sources, ...others]))).toEqual([]);
  });

  test("every docs page can be reached from the README", () => {
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

  test("lines of documents have 120 columns at most", () => {
    expect(longLines(treeOf(pages), 120)).toEqual([]);
  });

  test("paths that a guide for changes names are there", () => {
    const named = namedPaths(treeOf(["HACKING.md", "RELEASING.md", "SECURITY.md"]));
    expect(named.length).toBeGreaterThan(50);
    const gone = named.filter(({ to }) => !existsSync(join(root, to)));
    expect(gone.map(({ from, line, to }) => `${from}:${line}: ${to} does not exist`)).toEqual([]);
  });

  test("each way to end, stall or restart the process has a test, by its name", () => {
    const files = [...filesBelow("test", /\.test\.ts$/), ...filesBelow("native/testing", /\.cc$/)];
    const tests = treeOf(files);
    expect(untestedWays(readFileSync(join(root, "SECURITY.md"), "utf8"), tests)).toEqual([]);
  });

  test("links in documents lead somewhere", () => {
    const broken = references(
      treeOf(pages),
      /\.md$/,
      /\]\(([^)#\s]+?)(?:#[^)]*)?\)/g,
      (from, text) => (/^[a-z]+:/.test(text) ? "README.md" : join(dirname(from), text)),
    ).filter(({ to }) => !existsSync(join(root, to)));
    expect(broken.map(({ from, line, to }) => `${from}:${line}: ${to} does not exist`)).toEqual([]);
  });
});
