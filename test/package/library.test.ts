import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as library from "../../src/index.js";
import { root } from "../live/lab-harness.js";

// Goal: what users may import is on its page, and the page promises nothing else.
const page = readFileSync(join(root, "docs/library.md"), "utf8");
const source = readFileSync(join(root, "src/index.ts"), "utf8");

/** Types too, which are not there at run time. */
function exportedNames(): string[] {
  return [...source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names]) =>
    names!
      .split(",")
      .map((name) => name.trim().replace(/^type /, ""))
      .filter((name) => name !== ""),
  );
}

/** The names in the first column of the page's tables. */
function documentedNames(): string[] {
  const cells = [...page.matchAll(/^\| (`.*?) \|/gm)].map(([, cell]) => cell!);
  return cells.flatMap((cell) => [...cell.matchAll(/`(\w+)/g)].map(([, name]) => name!));
}

test("every export is on the page, and nothing else", () => {
  expect(exportedNames()).toEqual(expect.arrayContaining(Object.keys(library)));
  expect(documentedNames().sort()).toEqual(exportedNames().sort());
});

test("the page's example imports what there is", () => {
  const [, names] = /import \{ (.*?) \} from "sluice"/.exec(page)!;
  expect(Object.keys(library)).toEqual(expect.arrayContaining(names!.split(", ")));
});
