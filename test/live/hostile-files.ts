import { spawnSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";

/** What makes a file, and the message that whoever reads it has to give. */
export type HostileFile = readonly [what: string, make: () => unknown, want: RegExp];

/** Files that whoever may write manifests could make to stop a process: they make `x.yaml` at that path. */
export function hostileFiles(file: string): HostileFile[] {
  return [
    ["a pipe", () => spawnSync("mkfifo", [file]), /x\.yaml:1:1: got a pipe/],
    ["a device", () => symlinkSync("/dev/zero", file), /x\.yaml:1:1: got a device/],
    [
      "60,000 errors",
      () => writeFileSync(file, "apiVersion: v1\nkind: Pod\n---\n".repeat(60_000)),
      /x\.yaml:1:1: got nothing, want a name/,
    ],
  ];
}
