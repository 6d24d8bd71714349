// Writes a container image without a container engine and without a registry's base image: the package as
// `npm pack` makes it, this machine's Node, and the few programs and libraries that both need. `docker load`,
// `podman load`, `kind load image-archive` and `ctr images import` read the archive. The image that is published
// comes from deploy/container/Dockerfile; this one is for trying a checkout on a cluster.
// Usage: image.mjs FILE [--tag NAME] [--package sluice-VERSION.tgz]. Exit codes: 2 usage, 4 the machine lacks something.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Beside Node: what starts a script, a shell for `kubectl exec`, and what mounts a bpf file system. */
const programs = ["env", "sh", "mount", "mountpoint"];
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function fail(text, code = 4) {
  process.stderr.write(`image: ${text}\n`);
  process.exit(code);
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 2 ** 26, ...options });
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}`);
    fail(`${command} ${args.join(" ")} failed${result.error ? `: ${result.error.message}` : ""}`);
  }
  return result.stdout;
}

/** Copies a file of this machine into the image, where a program there looks for it. */
function take(image, path, place = path) {
  const target = join(image, place);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(realpathSync(path), target);
}

function takeProgram(image, path, place) {
  take(image, path, place);
  // Lines are "name => /path (address)", or "/path (address)" for the loader itself.
  const linked = run("ldd", [realpathSync(path)], { env: { ...process.env, LC_ALL: "C" } });
  for (const [, library] of linked.matchAll(/(?:^\t|=> )(\/\S+) \(0x/gm)) take(image, library);
}

function pathOf(program) {
  const found = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
  return found.status === 0 ? found.stdout.trim() : fail(`${program} is not installed`);
}

/** What `npm pack` makes, with the addon of this machine's processor alone. */
function packIn(folder) {
  run(process.execPath, ["scripts/prebuild.mjs", "--here"], { cwd: root });
  const words = ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder];
  return join(folder, run("npm", words, { cwd: root }).trim());
}

function takePackage(image, tarball) {
  const words = ["install", "--global", "--no-audit", "--no-fund", "--prefix"];
  run("npm", [...words, join(image, "usr/local"), tarball]);
}

async function digestOf(file) {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file)) hash.update(piece);
  return hash.digest("hex");
}

/** GNU tar, so that the same files make the same bytes. */
function pack(archive, folder, names) {
  const same = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
  run("tar", [...same, "-cf", archive, "-C", folder, ...names]);
}

/** The form of `docker save`: a layer, a config, and a list of both. */
async function writeArchive(image, work, file, tag) {
  const layer = join(work, "layer.tar");
  pack(layer, image, ["."]);
  const config = {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: { Entrypoint: ["sluice"], Cmd: ["--help"], Env: [`PATH=${searchPath}`] },
    rootfs: { type: "layers", diff_ids: [`sha256:${await digestOf(layer)}`] },
  };
  const list = [{ Config: "config.json", RepoTags: [tag], Layers: ["layer.tar"] }];
  writeFileSync(join(work, "config.json"), JSON.stringify(config));
  writeFileSync(join(work, "manifest.json"), JSON.stringify(list));
  pack(resolve(file), work, ["config.json", "layer.tar", "manifest.json"]);
}

async function writeImage(file, { tag, tarball }) {
  const work = mkdtempSync(join(tmpdir(), "sluice-image-"));
  try {
    const image = join(work, "root");
    for (const folder of ["dev", "etc", "proc", "run", "sys", "var", "usr/local"]) {
      mkdirSync(join(image, folder), { recursive: true });
    }
    mkdirSync(join(image, "tmp"), { mode: 0o1777 });
    writeFileSync(join(image, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\n");
    takeProgram(image, process.execPath, "/usr/local/bin/node");
    // env where every script looks for it.
    for (const name of programs) takeProgram(image, pathOf(name), `/usr/bin/${name}`);
    take(image, pathOf("sh"), "/bin/sh");
    takePackage(image, resolve(tarball ?? packIn(work)));
    await writeArchive(image, work, file, tag);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function readArguments() {
  const options = { tag: { type: "string" }, package: { type: "string" } };
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return fail(error.message, 2);
  }
}

const { values, positionals } = readArguments();
const [file] = positionals;
if (file === undefined || positionals.length > 1) {
  fail("want one file to write: npm run image -- FILE [--tag NAME] [--package TARBALL]", 2);
}
const tag = values.tag ?? `sluice:${version}`;
await writeImage(file, { tag, tarball: values.package });
process.stderr.write(`image: ${file} holds ${tag}\n`);
