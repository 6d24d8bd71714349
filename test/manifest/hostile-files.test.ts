import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { renderDiagnostic } from "../../src/diagnostics/render.js";
import { limits } from "../../src/manifest/limits.js";
import { parseManifests, parseTexts } from "../../src/manifest/parse.js";
import { readManifests } from "../../src/manifest/read.js";

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\n";
/** A hang is caught, and a busy machine is none. */
const boundMs = 30_000;

// Goal: whatever stands in a folder of manifests, reading it ends, in memory and time that have bounds, with
// a diagnostic at the file that is at fault; what is beside it is read.
// Method: real files of each sort.
describe("files that whoever writes manifests can make", () => {
  let folder = "";
  let server: Server | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-hostile-"));
    writeFileSync(join(folder, "good.yaml"), pod);
  });
  afterEach(() => {
    server?.close();
    server = undefined;
    rmSync(folder, { recursive: true });
  });

  const at = (name: string) => join(folder, name);
  function found(bounds = limits): string[] {
    const { objects, diagnostics } = readManifests([folder], { bounds });
    expect(objects.map(({ meta }) => meta.name)).toEqual(["good"]);
    return diagnostics.map(({ code, span, message }) => {
      expect([span.line, span.column]).toEqual([1, 1]);
      return `${code} ${span.file.replace(folder, "")}: ${message}`;
    });
  }

  const sorts: readonly [what: string, make: () => unknown, want: RegExp][] = [
    ["a pipe", () => execFileSync("mkfifo", [at("x.yaml")]), /^SL1011 \/x.yaml: got a pipe, want/],
    [
      "a link to a pipe",
      () => {
        execFileSync("mkfifo", [at("pipe")]);
        symlinkSync("pipe", at("x.yaml"));
      },
      /^SL1011 \/x.yaml: got a pipe, want/,
    ],
    [
      "a link to a device that never ends",
      () => symlinkSync("/dev/zero", at("x.yaml")),
      /^SL1011 \/x.yaml: got a device, want/,
    ],
    [
      "a link to a file that is longer than it says",
      () => symlinkSync("/proc/self/status", at("x.yaml")),
      /^SL1011 \/x.yaml: got a file that changed while it was read/,
    ],
    [
      "a link that leads to itself",
      () => symlinkSync("x.yaml", at("x.yaml")),
      /^SL1011 \/x.yaml: got links that lead in a circle/,
    ],
    [
      "a link to nowhere",
      () => symlinkSync("../gone.yaml", at("x.yaml")),
      /^SL1011 \/x.yaml: got a link to "\.\.\/gone.yaml", where nothing is/,
    ],
    [
      "a file of ten terabytes",
      () => {
        writeFileSync(at("x.yaml"), "");
        truncateSync(at("x.yaml"), 1e13);
      },
      /^SL1012 \/x.yaml: got more than 67108864 bytes/,
    ],
    [
      "a name with an escape sequence and the end of a line",
      () => execFileSync("mkfifo", [at("\u001b[2J\nREADY=1.yaml")]),
      /^SL1011 /,
    ],
    [
      "a name of bytes that are no text",
      () =>
        writeFileSync(
          Buffer.from([...Buffer.from(`${folder}/`), 0xff, ...Buffer.from(".yaml")]),
          pod,
        ),
      /^SL1011 /,
    ],
  ];
  test.each(sorts)("%s", { timeout: boundMs }, (_, make, want) => {
    make();
    const messages = found();
    expect(messages).toHaveLength(1);
    expect(messages[0]).toMatch(want);
    const [diagnostic] = readManifests([folder]).diagnostics;
    expect(renderDiagnostic(diagnostic!).replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });

  test("a socket", async () => {
    await new Promise<void>((resolve) => {
      server = createServer().listen(at("x.yaml"), resolve);
    });
    expect(found()).toEqual(["SL1011 /x.yaml: got a socket, want a regular file"]);
  });

  test("links that lead out of the folder to a file, and the links of a ConfigMap volume, are followed", () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "sluice-elsewhere-"));
    try {
      writeFileSync(join(elsewhere, "a.yaml"), pod);
      rmSync(at("good.yaml"));
      symlinkSync(join(elsewhere, "a.yaml"), at("good.yaml"));
      expect(found()).toEqual([]);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
    rmSync(at("good.yaml"));
    mkdirSync(at("..1"));
    writeFileSync(at("..1/good.yaml"), pod);
    symlinkSync("..1", at("..data"));
    symlinkSync("..data/good.yaml", at("good.yaml"));
    expect(found()).toEqual([]);
  });

  test("a link to a folder is not followed, by whatever name, nor is one that took a folder's place", () => {
    symlinkSync("/", at("root"));
    symlinkSync("/", at("root.yaml"));
    mkdirSync(at("b.yaml"));
    expect(found()).toEqual([]);
  });

  test("more manifests than are read", () => {
    for (let each = 0; each < 20; each++) writeFileSync(at(`z${each}.yaml`), "");
    expect(found({ ...limits, files: 10 })).toMatchObject([
      expect.stringMatching(/^SL1012 .*: got more than 10 manifests and folders, want fewer$/),
    ]);
    expect(found({ ...limits, files: 22 })).toEqual([]);
  });

  test("more entries than are looked at", () => {
    rmSync(at("good.yaml"));
    for (let each = 0; each < 20; each++) writeFileSync(at(`z${each}.txt`), "");
    expect(
      readManifests([folder], { bounds: { ...limits, entries: 10 } }).diagnostics,
    ).toMatchObject([
      { code: "SL1012", message: "got folders of more than 10 entries, want fewer" },
    ]);
  });

  test("folders as deep as a path is long, and deeper", { timeout: boundMs }, () => {
    const script = `
      const { mkdirSync } = require("node:fs");
      for (let depth = 0; depth < 20; depth++) {
        mkdirSync("d".repeat(250));
        process.chdir("d".repeat(250));
      }`;
    execFileSync(process.execPath, ["-e", script], { cwd: folder });
    expect(found()).toMatchObject([
      expect.stringMatching(/^SL1011 .*: got a path that is longer than the system takes/),
    ]);
    execFileSync("rm", ["-rf", at("d".repeat(250))]);
  });

  test("files that are too much together", () => {
    for (let each = 0; each < 5; each++) writeFileSync(at(`z${each}.yaml`), "#".repeat(100));
    const bounds = { ...limits, allBytes: 3 * 100 + pod.length };
    expect(found(bounds).map((each) => each.slice(0, 15))).toEqual([
      "SL1012 /z3.yaml",
      "SL1012 /z4.yaml",
    ]);
  });
});

// Goal: what a text says takes time and memory in proportion to its length.
// Method: each hostile text twice, the second four times as long: a quadratic reader takes sixteen times as
// long, and a hundred times for the lengths that limits allow.
describe("texts that whoever writes manifests can write", () => {
  const repeat = (text: string, count: number) =>
    Array.from({ length: count }, (_, index) => text.replaceAll("$", String(index))).join("");
  const head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";
  const policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n";
  const texts: readonly [what: string, make: (count: number) => string][] = [
    ["documents with errors", (count) => repeat("kind: Pod\n---\n", count)],
    ["empty documents", (count) => repeat("---\n", count)],
    ["unknown fields", (count) => `${head}${repeat("  field$: 1\n", count)}`],
    ["labels that are wrong", (count) => `${head}  labels:\n${repeat("    a_$_: '-'\n", count)}`],
    ["a key again and again", (count) => `${head}  labels:\n${repeat("    a: b\n", count)}`],
    [
      "ports that are wrong",
      (count) =>
        `${policy}spec: {podSelector: {}, ingress: [{ports: [${repeat("{port: x$y_},", count)}]}]}`,
    ],
    ["aliases", (count) => `a: &a 1\n${repeat("k$: *a\n", count)}`],
    ["quotes", (count) => '"'.repeat(count)],
    ["anchors in a row", (count) => "&a ".repeat(count)],
    ["dashes in a row", (count) => "- ".repeat(count)],
    ["brackets in a row", (count) => "[".repeat(count)],
    ["question marks in a row", (count) => "? ".repeat(count)],
    ["comments", (count) => `a: !x 1\n${"#\n".repeat(count)}`],
    ["directives", (count) => "%YAML 1.2\n---\n".repeat(count)],
    ["tabs", (count) => `a:\n${"\t\n".repeat(count)}`],
    ["one long line", (count) => `a: ${"x".repeat(10 * count)}`],
    ["a long line of escapes", (count) => `a: "${"\\n".repeat(10 * count)}"`],
    ["a block of lines", (count) => `a: |\n${"  x\n".repeat(count)}`],
    [
      "maps within maps, deeper and deeper",
      (count) =>
        Array.from({ length: Math.sqrt(count) }, (_, depth) => `${" ".repeat(depth)}a:\n`).join(""),
    ],
    ["markers with long ends", (count) => repeat(`---${" ".repeat(100)}x\n`, count / 10)],
  ];

  test.each(texts)("%s", (_, make) => {
    const take = (count: number) => {
      const text = make(count);
      const start = process.cpuUsage();
      const { diagnostics } = parseManifests(text, "m.yaml");
      for (const each of diagnostics) renderDiagnostic(each);
      expect(diagnostics.length).toBeLessThan(210);
      const { user, system } = process.cpuUsage(start);
      return user + system;
    };
    take(2_000);
    const short = Math.max(take(20_000), 20_000);
    // Bounds of a sort, not of a machine: twenty times for four times the length is worse than quadratic.
    expect(take(80_000)).toBeLessThan(20 * short);
  });

  test("aliases of aliases are not written out", () => {
    const bomb = `a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n${Array.from({ length: 12 }, (_, index) => `a${index + 1}: &a${index + 1} [${`*a${index},`.repeat(10)}]\n`).join("")}`;
    expect(parseManifests(bomb, "m.yaml").diagnostics).toMatchObject([{ code: "SL1005" }]);
  });

  test("objects in a row that do not end, and strings that do not", () => {
    for (const text of [
      '{"a":{}}'.repeat(100_000),
      `{"a":1}${'{"a":'.repeat(1_000_000)}`,
      `{"a":1}{"${'\\"'.repeat(1_000_000)}`,
      `{"a":1}{${'"'.repeat(1_000_001)}`,
    ]) {
      expect(parseManifests(text, "m.json").diagnostics.length).toBeGreaterThan(0);
    }
  });

  test("more of involved style than a tree may be made of", () => {
    const texts = ["a", "b", "c"].map((name) => ({
      name,
      text: `a: !!int x\n${"#\n".repeat(30)}`,
    }));
    const { diagnostics } = parseTexts(texts, "all", { ...limits, tokens: 100 });
    expect(diagnostics.map(({ code, span }) => `${code} ${span.file}:${span.line}`)).toEqual([
      "SL1008 a:1",
      "SL1012 b:1",
      "SL1012 c:1",
    ]);
  });

  test("an object larger than an API server takes, and more objects than there may be", () => {
    const named = (name: string, more = "") =>
      `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}${more}}\n`;
    const texts = [
      { name: "a", text: named("a1", `, annotations: {a: ${"x".repeat(300)}}`) },
      { name: "b", text: ["b1", "b2", "b3"].map((name) => named(name)).join("---\n") },
    ];
    const places = (bounds: Partial<typeof limits>) =>
      parseTexts(texts, "all", { ...limits, ...bounds }).diagnostics.map(
        ({ code, span, message }) => `${code} ${span.file}:${span.line} ${message}`,
      );
    expect(places({ objectBytes: 200 })).toEqual([
      expect.stringMatching(/^SL1012 a:1 got 3\d\d characters of one object, want at most 200$/),
    ]);
    expect(places({ objects: 3 })).toEqual([
      "SL1012 b:9 got more than 3 objects in all, want fewer",
    ]);
    expect(places({ objects: 4 })).toEqual([]);
    const item = "{kind: Pod, apiVersion: v1, metadata: {name: a}},";
    const list = `kind: List\napiVersion: v1\nitems: [${item.repeat(50)}]`;
    const { diagnostics } = parseTexts([{ name: "c", text: list }], "all", {
      ...limits,
      objects: 3,
    });
    expect(diagnostics.map(({ code }) => code)).toContain("SL1012");
  });

  test("the excerpt is of the text that was read, whatever the file is by now", () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-excerpt-"));
    try {
      const file = join(folder, "a.yaml");
      writeFileSync(file, "kind: Pod\n");
      const [first] = readManifests([file]).diagnostics;
      writeFileSync(file, "something: else\n");
      expect(renderDiagnostic(first!)).toContain("    1 | kind: Pod\n");
      expect(readFileSync(file, "utf8")).toBe("something: else\n");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
