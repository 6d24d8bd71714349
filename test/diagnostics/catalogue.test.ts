import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, test } from "vitest";
import { catalogue } from "../../src/diagnostics/catalogue.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

function textsBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending) && !file.endsWith("diagnostics/catalogue.ts"))
    .filter((file) => !file.endsWith("catalogue.test.ts"))
    .map((file) => readFileSync(join(root, folder, file), "utf8"));
}

const page = readFileSync(join(root, "src/diagnostics/catalogue.md"), "utf8");
const sections = page.split(/^## /m).slice(1);

test("the catalogue's page and its table hold the same codes, severities and titles", () => {
  const headings = sections.map((section) => section.split("\n", 1)[0]);
  const table = Object.entries(catalogue).map(
    ([code, [severity, title]]) => `${code} ${severity}: ${title}`,
  );
  assert.deepEqual(headings, table);
});

test("the catalogue is in the order of its codes", () => {
  assert.deepEqual(Object.keys(catalogue), Object.keys(catalogue).sort());
});

test("every code has a cause and a cure", () => {
  for (const section of sections) assert.match(section, /\nCause: .+\n(.*\n)*Cure: .+/, section);
});

// Goal: no code is in the catalogue only, and none is anywhere else only.
test("every code is used by the code, and every code used is in the catalogue", () => {
  const used = new Set(
    textsBelow("src", ".ts")
      .join("\n")
      .match(/"SL\d{4}"/g),
  );
  assert.deepEqual(
    [...used].sort(),
    Object.keys(catalogue).map((code) => `"${code}"`),
  );
});

// Goal: no code is without a test that produces it.
// Method: its name in a test is the sign; the tests of each room assert codes by name.
test("every code is named by some test", () => {
  const named = new Set(
    textsBelow("test", ".ts")
      .join("\n")
      .match(/SL\d{4}/g),
  );
  assert.deepEqual(
    Object.keys(catalogue).filter((code) => !named.has(code)),
    [],
  );
});
