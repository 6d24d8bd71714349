import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readKubeconfig } from "../../src/kubernetes/kubeconfig.js";
import { readState } from "../../src/lab/state.js";
import { ConfigFile } from "../../src/node/read-config.js";
import { RecordFile } from "../../src/node/sidecar/record.js";

// Goal: no file that a running process reads beside its manifests makes it wait, or take memory without end.
// Method: a pipe that nobody writes, a device that never ends, and a file of a terabyte, in the place of
// each. A reader that waits would hang this test.
describe("files of a running process", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-inputs-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const sorts: readonly [what: string, make: (path: string) => void, want: RegExp][] = [
    ["a pipe", (path) => execFileSync("mkfifo", [path]), /got a pipe, want a regular file/],
    ["a device", (path) => symlinkSync("/dev/zero", path), /got a device, want a regular file/],
    [
      "a huge file",
      (path) => {
        writeFileSync(path, "");
        truncateSync(path, 1e12);
      },
      /got more than \d+ bytes|too large/,
    ],
  ];

  test.each(sorts)("a config: %s", (_, make, want) => {
    const path = join(folder, "sluice.yaml");
    make(path);
    const read = new ConfigFile(path).read();
    expect(read.ok).toBe(false);
    expect(read.diagnostics[0]?.message).toMatch(want);
  });

  test.each(sorts)("a kubeconfig: %s", (_, make, want) => {
    const path = join(folder, "config");
    make(path);
    expect(() => readKubeconfig([path])).toThrow(want);
  });

  test.each(sorts)("a sidecar's record: %s", (_, make) => {
    const record = new RecordFile(folder, "eth0");
    make(record.path);
    expect(() => record.read()).toThrow();
  });

  test.each(sorts)("the state of a lab: %s", (_, make) => {
    make(join(folder, "lab-x.json"));
    expect(readState(folder, "x")).toBeUndefined();
  });
});
