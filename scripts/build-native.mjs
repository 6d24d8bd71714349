// Builds the addon, the CNI plugin and the native benchmarks with node-gyp; with --sanitize the unit tests, under
// AddressSanitizer and UBSan instead; with --arm64 the addon for arm64, by Debian's cross compiler, and
// with --arm64 --tests its unit tests too.
// Headers come from beside the running Node where they are, so that nothing is downloaded.
import { spawnSync } from "node:child_process";
import { existsSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { aloneIn } from "./build-lock.mjs";
import { arm64 } from "./cross.mjs";
import { nodeHeaders } from "./node-headers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const sanitize = process.argv.includes("--sanitize");
const verbose = process.argv.includes("--verbose");
const cross = process.argv.includes("--arm64");
const place = cross ? arm64.place : root;
const env = cross ? { ...process.env, ...arm64.compilers } : process.env;

function run(command, args) {
  const result = spawnSync(command, args, {
    cwd: place,
    encoding: "utf8",
    env,
    stdio: verbose ? "inherit" : "pipe",
  });
  if (result.status === 0) return true;
  process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error ?? ""}\n`);
  process.stderr.write(`building the native code failed: ${command} ${args.join(" ")}\n`);
  return false;
}

/** node-gyp builds in the folder `build` beside binding.gyp alone: so another processor has such a place of its own. */
function linkSources() {
  for (const name of ["binding.gyp", "native", "scripts"]) {
    const link = join(place, name);
    if (!existsSync(link)) symlinkSync(join("../..", name), link);
  }
}

function targets() {
  if (sanitize) return ["native_test"];
  if (!cross) return ["dataplane", "sluice_cni", "native_bench"];
  const more = process.argv.includes("--tests") ? ["native_test"] : [];
  return ["dataplane", "sluice_cni", ...more];
}

const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const headers = nodeHeaders();
const nodedir = headers === undefined ? [] : [`--nodedir=${headers}`];
const processor = cross ? ["--arch=arm64"] : [];
const configuration = sanitize ? "Debug" : "Release";

const hasBuilt = await aloneIn(place, () => {
  if (cross) linkSources();
  const debug = sanitize ? ["--debug"] : [];
  const make = ["-C", "build", `BUILDTYPE=${configuration}`, `-j${availableParallelism()}`, "-s"];
  return (
    run(process.execPath, [nodeGyp, "configure", ...nodedir, ...processor, ...debug]) &&
    run("make", [...make, ...targets()])
  );
});
process.exit(hasBuilt ? 0 : 1);
