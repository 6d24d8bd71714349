// Makes what the package carries: dist/ from the sources of now, and the addons under prebuilds/, where
// node-gyp-build finds them, with the CNI plugin: this machine's, and with Debian's cross compiler that for
// arm64. `npm pack` runs it, so that nobody packs what was built before. With --here, for this machine's processor
// alone.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { arm64, missingPackages } from "./cross.mjs";
import { obstaclesOf } from "./elf.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

function run(command, ...args) {
  // npm pack prints the tarball's name on standard output, and nobody else does.
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) fail(`${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ""}`);
}

function say(text) {
  process.stderr.write(`prebuild: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/**
 * Copies a built addon to where node-gyp-build looks: Node-API, so for every Node; glibc, so not for musl. The CNI plugin
 * beside it is linked statically, so it runs on any host.
 */
function take(processor, built, strip) {
  const folder = join(root, `prebuilds/linux-${processor}`);
  const addon = join(folder, "node.napi.glibc.node");
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(built, "dataplane.node"), addon);
  run(strip, "--strip-unneeded", addon);
  const plugin = join(folder, "sluice-cni");
  copyFileSync(join(built, "sluice_cni"), plugin);
  run(strip, plugin);
  const obstacles = obstaclesOf(readFileSync(addon));
  if (obstacles.length > 0) {
    fail(`the addon for ${processor} would not load on glibc 2.31: ${obstacles.join(", ")}`);
  }
  for (const file of [addon, plugin]) say(file.slice(root.length));
}

/** Builds for a processor; undefined when this machine can, else what it lacks. */
function build(processor) {
  if (processor === process.arch) {
    run(process.execPath, "scripts/build-native.mjs");
    take(processor, join(root, "build/Release"), "strip");
    return undefined;
  }
  if (processor !== "arm64") return `a machine with ${processor}`;
  const missing = missingPackages({ run: false });
  if (missing.length > 0) return `apt-get install ${missing.join(" ")}`;
  run(process.execPath, "scripts/build-native.mjs", "--arm64");
  take(processor, arm64.built, arm64.strip);
  return undefined;
}

const { cpu } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
// Nothing that was built before is packed.
rmSync(join(root, "prebuilds"), { recursive: true, force: true });
for (const processor of process.argv.includes("--here") ? [process.arch] : cpu) {
  const lacking = build(processor);
  if (lacking === undefined) continue;
  // For a machine of one's own; scripts/release.mjs looks into the tarball and takes no such package.
  const text = `no addon for ${processor}: the package will not work there (it takes: ${lacking})`;
  if (process.env.npm_command === "publish") fail(text);
  say(text);
}
run(process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.json");

// The compiler leaves what it made from a file that has gone since.
for (const file of readdirSync(join(root, "dist"), { recursive: true, encoding: "utf8" })) {
  const source = join(root, "src", file.replace(/\.(d\.ts|js|js\.map)$/, ".ts"));
  if (/\.(d\.ts|js|js\.map)$/.test(file) && !existsSync(source)) rmSync(join(root, "dist", file));
}
const pageConfig = ["--config", "src/ui/page/vite.config.mjs"];
run(process.execPath, "node_modules/vite/bin/vite.js", "build", ...pageConfig);
