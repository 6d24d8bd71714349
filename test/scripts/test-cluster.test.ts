import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { conformance, endToEnd } from "../../scripts/cluster/suites.mjs";
import { tableOf } from "../../scripts/cluster/table.mjs";
import { Cluster } from "../../scripts/cluster/tool.mjs";
import { root } from "../live/lab-harness.js";

// Goal: `npm run test:cluster` says what it lacks, takes for passed what passed alone, and tells of every round.
// Method: the script without a cluster, and with one that never comes up; programs that print what the suites print at
// their ends.

const folder = mkdtempSync(join(tmpdir(), "sluice-cluster-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A cluster whose suites print this, and end so. */
function clusterThat(prints: string, status: number): Cluster {
  const program = join(folder, "cluster");
  writeFileSync(join(folder, "said"), prints);
  writeFileSync(program, `#!/bin/sh\ncat ${join(folder, "said")}\nexit ${status}\n`);
  chmodSync(program, 0o755);
  return new Cluster(program);
}

test.each([
  [[], 3, "SLUICE_CLUSTER or --cluster"],
  [["--parts", "netpoll"], 2, 'got "netpoll"'],
  [["--rounds", "0"], 2, 'got "0"'],
])("%j ends with %i", (words, code, says) => {
  const env = { ...process.env, SLUICE_CLUSTER: "" };
  const script = join(root, "scripts/test-cluster.mjs");
  const { status, stderr } = spawnSync(process.execPath, [script, ...words], {
    env,
    encoding: "utf8",
  });
  expect(stderr).toContain(says);
  expect(status).toBe(code);
});

test.each([
  ["Ran 47 of 50 Specs in 810 seconds\nSUCCESS! -- 47 Passed | 0 Failed", 0, true, "47 of 47"],
  ["Ran 47 of 50 Specs in 810 seconds\nFAIL! -- 46 Passed | 1 Failed", 1, false, "46 of 47"],
  ["Ran 0 of 50 Specs in 0 seconds\nSUCCESS! -- 0 Passed | 0 Failed", 0, false, "0 of 0"],
  ["panic: no cluster", 2, false, "ended with 2"],
])("Ginkgo's %j with exit code %i", async (text, status, ok, found) => {
  const result = await endToEnd(clusterThat(text, status), "", join(folder, "log"));
  expect(result).toMatchObject({ ok, found: expect.stringContaining(found) });
});

test.each([
  [
    "--- PASS: A (1s)\n    --- PASS: A/b (0s)\n    --- SKIP: A/c (0s)",
    0,
    true,
    "1 of 1, 1 skipped",
  ],
  [
    "--- FAIL: A (1s)\n    --- FAIL: A/b (0s)\n    --- PASS: A/c (0s)",
    1,
    false,
    "1 of 2, 0 skipped: A/b",
  ],
  ["panic: no cluster", 2, false, "0 of 0, 0 skipped"],
])("go test's %j with exit code %i", async (text, status, ok, found) => {
  const result = await conformance(clusterThat(text, status), join(folder, "log"));
  expect(result).toMatchObject({ ok, found });
});

test("a cluster that fails ends its round alone, and each configuration is tried before any is tried again", () => {
  const program = join(folder, "broken");
  const told = join(folder, "told");
  writeFileSync(program, `#!/bin/sh\necho "$@" >> ${told}\n[ "$1" = down ]\n`, { mode: 0o755 });
  const script = join(root, "scripts/test-cluster.mjs");
  const words = ["--cluster", program, "--rounds", "2", "--image", told, "--logs", folder];
  const { status, stdout } = spawnSync(process.execPath, [script, ...words], { encoding: "utf8" });
  const round = ["bridge", "ptp"].flatMap((cni) => [`up --cni ${cni} --proxy nftables`, "down"]);
  expect(readFileSync(told, "utf8").trim().split("\n")).toEqual([...round, ...round]);
  expect(stdout).toMatch(
    /^bridge, .*\n {2}the cluster {2}0 of 2 {2}FAILED: .* \| FAILED: .*\nptp, /,
  );
  expect(status).toBe(4);
});

test("what each round found stands behind its configuration", () => {
  const result = (configuration: string, round: number, ok: boolean, found: string) => ({
    ...{ configuration, round, ok, found, what: "a suite" },
  });
  const table = tableOf([
    result("bridge", 1, true, "47 of 47"),
    result("ptp", 1, true, "47 of 47"),
    result("bridge", 2, false, "46 of 47"),
  ]);
  expect(table.split("\n")).toEqual([
    "bridge",
    "  a suite  1 of 2  47 of 47 | FAILED: 46 of 47",
    "ptp",
    "  a suite  1 of 1  47 of 47",
    "",
  ]);
});
