// Makes a checkout ready: Debian packages (when root), npm packages, native build, TypeScript build.
// Idempotent: a step whose inputs have not changed is passed over. With --tests, also what only the
// tests need.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeHeaders } from "./node-headers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const forTests = process.argv.includes("--tests");

/** What has to be on the machine, and the Debian package that brings it. */
const needed = [
  { present: () => onPath("g++") || onPath("c++"), debian: "g++", why: "compiles the packet path" },
  { present: () => onPath("make"), debian: "make", why: "builds the packet path" },
  { present: () => onPath("python3"), debian: "python3", why: "node-gyp runs on it" },
];
/** What some commands or tests are better for; their absence is told, not fatal. */
const helpful = [
  {
    present: () => existsSync("/usr/include/pcap/pcap.h"),
    debian: "libpcap-dev",
    why: "`sluice capture`",
  },
  ...(forTests
    ? [
        { present: () => onPath("iperf3"), debian: "iperf3", why: "live tests of bulk TCP" },
        {
          present: () => onPath("valgrind"),
          debian: "valgrind",
          why: "tests of instruction counts",
        },
        { present: () => onPath("tcpdump"), debian: "tcpdump", why: "live tests of checksums" },
        { present: () => onPath("clang++"), debian: "clang", why: "fuzzing" },
        { present: hasFuzzerRuntime, debian: "libclang-rt-dev", why: "fuzzing" },
        { present: () => onPath("ip"), debian: "iproute2", why: "live tests between namespaces" },
        {
          present: () => existsSync("/usr/lib/cni/bridge"),
          debian: "containernetworking-plugins",
          why: "live tests of pods' networks",
        },
        { present: () => onPath("chromium"), debian: "chromium", why: "tests of the page" },
        { present: () => onPath("dot"), debian: "graphviz", why: "tests of pictures" },
      ]
    : []),
];

/** npm packages that are compiled at their install, and what they are for. */
const builtPackages = {
  cap: "`sluice capture`",
  "raw-socket": "tests that inject hand-made packets",
};

function onPath(program) {
  return (process.env.PATH ?? "").split(":").some((folder) => existsSync(join(folder, program)));
}

/** Whether clang has what libFuzzer and its sanitizers link; without clang nothing is known. */
function hasFuzzerRuntime() {
  const where = spawnSync("clang++", ["-print-runtime-dir"], { encoding: "utf8" });
  const runtime = (where.stdout ?? "").trim();
  return existsSync(runtime) && readdirSync(runtime).some((file) => file.includes("fuzzer"));
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function run(command, args, extraEnv = {}, cwd = root) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, ...extraEnv },
    maxBuffer: 64 * 1024 * 1024,
  });
  return {
    ok: result.status === 0,
    output: `${result.stdout ?? ""}${result.stderr ?? ""}${result.error ?? ""}`,
  };
}

function must(what, result) {
  if (result.ok) return;
  process.stderr.write(result.output);
  say(`${what} failed; its output is above`);
  process.exit(4);
}

function debianPackages() {
  const missing = [...needed, ...helpful].filter((each) => !each.present());
  if (missing.length === 0) return;
  const names = missing.map((each) => each.debian);
  if (process.getuid?.() === 0 && onPath("apt-get")) {
    say(`installing ${names.join(" ")}`);
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    run("apt-get", ["update", "-qq"], env);
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], env);
  }
  for (const each of needed.filter((one) => !one.present())) {
    say(`${each.debian} is missing (${each.why}): apt-get install ${each.debian}`);
    process.exitCode = 4;
  }
  if (process.exitCode === 4) process.exit();
  for (const each of helpful.filter((one) => !one.present())) {
    say(`without ${each.debian}: ${each.why} will not run (apt-get install ${each.debian})`);
  }
}

function npmPackages() {
  // nan addons are bound to one ABI, so another Node means another install.
  const lock = readFileSync(join(root, "package-lock.json"));
  const key = createHash("sha256").update(lock).update(process.versions.modules).digest("hex");
  const stamp = join(root, "node_modules/.sluice-setup");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === key) return;
  say("installing npm packages");
  const headers = nodeHeaders();
  const env = headers === undefined ? {} : { npm_config_nodedir: headers };
  const quiet = ["--no-audit", "--no-fund"];
  must("npm ci", run("npm", ["ci", "--ignore-scripts", ...quiet], env));
  must("npm rebuild", run("npm", ["rebuild", "clang-format-node"], env));
  // These are built here, and not every machine can: what needs them says so by name.
  for (const [name, why] of Object.entries(builtPackages)) {
    const built = run("npm", ["rebuild", name], env);
    if (!built.ok) say(`without the package ${name}: ${why} will not run`);
  }
  writeFileSync(stamp, key);
}

/**
 * Takes promtool out of Debian's prometheus package. To install the package would start a server.
 */
function fetchPromtool() {
  const target = join(root, "node_modules/.cache/promtool");
  if (onPath("promtool") || existsSync(target)) return;
  if (!onPath("apt-get") || !onPath("dpkg-deb")) return;
  const folder = mkdtempSync(join(tmpdir(), "sluice-promtool-"));
  try {
    const download = run("apt-get", ["download", "-qq", "prometheus"], {}, folder);
    const [file] = readdirSync(folder).filter((name) => name.endsWith(".deb"));
    if (!download.ok || file === undefined) {
      say(
        "without promtool: metrics are only checked by our own rules (apt-get update, then again)",
      );
      return;
    }
    must("dpkg-deb -x", run("dpkg-deb", ["-x", file, "."], {}, folder));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(folder, "usr/bin/promtool"), target);
    chmodSync(target, 0o755);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Lets `npx sluice` find this checkout's own command. */
function linkCommand() {
  const link = join(root, "node_modules/.bin/sluice");
  if (existsSync(link)) return;
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync("../../dist/cli/main.js", link);
}

debianPackages();
npmPackages();
if (forTests) fetchPromtool();
say("building");
must("the native build", run(process.execPath, ["scripts/build-native.mjs"]));
must(
  "the TypeScript build",
  run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"]),
);
const pageConfig = ["--config", "src/ui/page/vite.config.mjs"];
must("the page", run(process.execPath, ["node_modules/vite/bin/vite.js", "build", ...pageConfig]));
must("chmod", run("chmod", ["+x", "dist/cli/main.js"]));
linkCommand();
say("ready");
