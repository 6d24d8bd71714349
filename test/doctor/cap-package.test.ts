import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { capRemedy } from "../../src/doctor/cap-package.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-cap-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const node = "/usr/bin/node";

test("beside a global sluice, cap is installed globally and may be built", () => {
  expect(capRemedy("/usr/lib/node_modules/sluice", node)).toBe(
    "apt-get install libpcap-dev g++ make python3, then npm install --global --allow-scripts=cap cap",
  );
  expect(capRemedy("/opt/sluice/lib/node_modules/sluice", node)).toMatch(
    /npm install --global --prefix \/opt\/sluice --allow-scripts=cap cap$/,
  );
});

test("in a project, cap is installed there", () => {
  mkdirSync(join(folder, "node_modules/sluice"), { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
  const remedy = capRemedy(join(folder, "node_modules/sluice"), node);
  expect(remedy).toContain(`then in ${folder}: npm install cap;`);
  expect(remedy).not.toContain("--global");
});

test("a checkout has npm run setup", () => {
  expect(capRemedy(folder, node)).toBe(
    "npm run setup, as root (it installs libpcap-dev and builds cap)",
  );
});
