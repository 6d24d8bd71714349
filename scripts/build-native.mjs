// Builds the addon and the native benchmarks with node-gyp; with --sanitize the unit tests, under
// AddressSanitizer and UBSan instead.
// Headers come from beside the running Node where they are, so that nothing is downloaded.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeHeaders } from "./node-headers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const sanitize = process.argv.includes("--sanitize");
const verbose = process.argv.includes("--verbose");

function run(command, args) {
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    stdio: verbose ? "inherit" : "pipe",
  });
  if (result.status === 0) return;
  process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error ?? ""}\n`);
  process.stderr.write(`building the native code failed: ${command} ${args.join(" ")}\n`);
  release();
  process.exit(1);
}

// Two builds in one folder would spoil each other: the second waits for the first.
const lock = join(root, "build.lock");
function acquire() {
  for (let waitedMs = 0; ; waitedMs += 200) {
    try {
      mkdirSync(lock);
      return;
    } catch {
      const staleMs = 10 * 60_000;
      if (existsSync(lock) && Date.now() - statSync(lock).mtimeMs > staleMs) rmdirSync(lock);
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
      if (waitedMs > staleMs) throw new Error(`${lock} is held by another build`);
    }
  }
}
function release() {
  if (existsSync(lock)) rmdirSync(lock);
}

const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const headers = nodeHeaders();
const nodedir = headers === undefined ? [] : [`--nodedir=${headers}`];
const configuration = sanitize ? "Debug" : "Release";

acquire();
try {
  run(process.execPath, [nodeGyp, "configure", ...nodedir, ...(sanitize ? ["--debug"] : [])]);
  const targets = sanitize ? ["native_test"] : ["dataplane", "native_bench"];
  run("make", [
    "-C",
    "build",
    `BUILDTYPE=${configuration}`,
    `-j${availableParallelism()}`,
    "-s",
    ...targets,
  ]);
} finally {
  release();
}
