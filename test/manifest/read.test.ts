import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, assert, beforeEach, test } from "vitest";
import { readManifests } from "../../src/manifest/read.js";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-read-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
}

function podText(name: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\n`;
}

function read(...paths: string[]): { readonly names: string[]; readonly codes: string[] } {
  const { objects, diagnostics } = readManifests(paths);
  return {
    names: objects.map((each) => each.meta.name),
    codes: diagnostics.map(
      (each) => `${each.code} ${each.span.file.replace(folder, "")}:${each.span.line}`,
    ),
  };
}

test("a folder is read to the bottom, in the order of names, manifests only", () => {
  write("b.yml", podText("b"));
  write("a/z.yaml", podText("az"));
  write("c.json", '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}');
  write("notes.txt", "not: [yaml");
  write(".hidden.yaml", podText("hidden"));
  write(".git/x.yaml", podText("git"));
  mkdirSync(join(folder, "folder.yaml"));
  assert.deepEqual(read(folder), { names: ["az", "b", "c"], codes: [] });
});

test("links to files are followed, links to folders are not, and a file is read once", () => {
  const file = write("..data/a.yaml", podText("a"));
  symlinkSync(file, join(folder, "a.yaml"));
  symlinkSync(folder, join(folder, "loop"));
  assert.deepEqual(read(folder, join(folder, "a.yaml"), file), { names: ["a"], codes: [] });
});

test("a path that is not there, and a link to nothing, are errors beside the rest", () => {
  const file = write("a.yaml", podText("a"));
  symlinkSync(join(folder, "nowhere"), join(folder, "b.yaml"));
  const missing = join(folder, "missing.yaml");
  assert.deepEqual(read(file, missing, join(folder, "b.yaml")), {
    names: ["a"],
    codes: ["SL1011 /missing.yaml:1", "SL1011 /b.yaml:1"],
  });
});

test("bytes that are not UTF-8 are an error at their place", () => {
  const file = write(
    "a.yaml",
    Buffer.concat([Buffer.from("a: 1\nb: "), Buffer.from([0xff, 0xfe])]),
  );
  assert.deepEqual(read(file).codes, ["SL1002 /a.yaml:2"]);
});

test("a byte order mark is passed over", () => {
  assert.deepEqual(read(write("a.yaml", `\ufeff${podText("a")}`)), { names: ["a"], codes: [] });
});

test("UTF-16 with a byte order mark is text, broken UTF-16 is none", () => {
  const little = Buffer.from(`\ufeff${podText("p")}`, "utf16le");
  assert.deepEqual(read(write("a.yaml", little)), { names: ["p"], codes: [] });
  assert.deepEqual(read(write("b.yaml", Buffer.from(little).swap16())), {
    names: ["p"],
    codes: [],
  });
  const half = Buffer.concat([Buffer.from("\ufeffa: 1\nb: ", "utf16le"), Buffer.from([0, 0xd8])]);
  assert.deepEqual(read(write("c.yaml", half)).codes, ["SL1002 /c.yaml:2"]);
});

test("an empty file beside others is nothing; an empty set is an error", () => {
  const empty = write("empty.yaml", "");
  const file = write("a.yaml", podText("a"));
  assert.deepEqual(read(empty, file), { names: ["a"], codes: [] });
  assert.deepEqual(read(empty).codes, ["SL1010 /empty.yaml:1"]);
  mkdirSync(join(folder, "none"));
  assert.deepEqual(read(join(folder, "none")).codes, ["SL1010 /none:1"]);
});

test("objects of one name in two files: the later file counts, with a warning there", () => {
  const first = write("1.yaml", `${podText("p").trimEnd()}\nspec: {nodeName: old}\n`);
  const second = write("2.yaml", `${podText("p").trimEnd()}\nspec: {nodeName: new}\n`);
  const { objects, diagnostics } = readManifests([first, second]);
  assert.deepEqual(
    objects.map((each) => (each.kind === "Pod" ? each.nodeName : "")),
    ["new"],
  );
  assert.deepEqual(
    diagnostics.map((each) => [each.code, each.span.file]),
    [["SL1301", second]],
  );
  assert.include(diagnostics[0]!.message, first);
});

test("standard input that was read before is one of the texts", () => {
  const { objects } = readManifests(["-"], { stdin: podText("given") });
  assert.deepEqual(
    objects.map((each) => [each.meta.name, each.meta.span.file]),
    [["given", "<stdin>"]],
  );
});
