// Makes what the package carries: dist/ from the sources of now, and the addon under prebuilds/, where
// node-gyp-build finds it. `npm pack` runs it, so that nobody packs what was built before.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { obstaclesOf } from "./elf.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

function run(command, ...args) {
  // npm pack prints the tarball's name on standard output, and nobody else does.
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) fail(`${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ""}`);
}

function fail(text) {
  process.stderr.write(`prebuild: ${text}\n`);
  process.exit(1);
}

run(process.execPath, "scripts/build-native.mjs");
run(process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.json");

// The compiler leaves what it made from a file that has gone since.
for (const file of readdirSync(join(root, "dist"), { recursive: true, encoding: "utf8" })) {
  const source = join(root, "src", file.replace(/\.(d\.ts|js|js\.map)$/, ".ts"));
  if (/\.(d\.ts|js|js\.map)$/.test(file) && !existsSync(source)) rmSync(join(root, "dist", file));
}

// Named as node-gyp-build reads it: Node-API, so for every Node; glibc, so not for musl.
const folder = join(root, `prebuilds/linux-${process.arch}`);
const addon = join(folder, "node.napi.glibc.node");
mkdirSync(folder, { recursive: true });
copyFileSync(join(root, "build/Release/dataplane.node"), addon);
run("strip", "--strip-unneeded", addon);
const obstacles = obstaclesOf(readFileSync(addon));
if (obstacles.length > 0) fail(`the addon would not load on glibc 2.31: ${obstacles.join(", ")}`);
process.stderr.write(`prebuild: ${addon.slice(root.length)}\n`);
