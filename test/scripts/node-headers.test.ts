import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, assert, beforeEach, test } from "vitest";
import { nodeHeaders } from "../../scripts/node-headers.mjs";

// Goal: addons are never built with another Node's headers, wherever the running one came from.
// Method: folders as a system's Node and the npm package `node` have them.

const platform = `node-${process.platform}-${process.arch}`;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-headers-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function addHeaders(place: string, abi: number): void {
  mkdirSync(join(folder, place, "include/node"), { recursive: true });
  const text = `#if X\n#define NODE_MODULE_VERSION NODE_EMBEDDER\n#else\n#define NODE_MODULE_VERSION ${abi}\n`;
  writeFileSync(join(folder, place, "include/node/node_version.h"), text);
}

test("headers lie beside the program", () => {
  addHeaders("usr", 137);
  assert.equal(nodeHeaders(join(folder, "usr/bin/node"), { modules: "137" }), join(folder, "usr"));
});

test.each(["node", `node/node_modules/${platform}`, platform])(
  "headers of the npm package are found from %s",
  (program) => {
    addHeaders(program === platform ? platform : `node/node_modules/${platform}`, 137);
    const found = nodeHeaders(join(folder, program, "bin/node"), { modules: "137" });
    assert.match(found ?? "", new RegExp(`${platform}$`));
  },
);

test("headers of another Node are passed over", () => {
  addHeaders("usr", 115);
  assert.isUndefined(nodeHeaders(join(folder, "usr/bin/node"), { modules: "137" }));
});
