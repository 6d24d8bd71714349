// The working tree beside another commit: which of the two is faster, and by how much.
//   npm run bench:compare -- BASE [-- TEXT…]
// BASE is built in a git worktree of its own, in a temporary folder that goes again however this
// ends. Both take turns in each round, and a ratio is taken within a round, so that a machine that is
// slow for a minute is slow for both. With TEXT only what has one of them in its name; `native` and
// `js` are the native structures and the JavaScript side. Standard output gets one JSON line a
// result, standard error a table for people.
import { spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const usage = 2;
const environment = 4;
const rounds = Number(process.env.BENCH_ROUNDS ?? 9);
const microRounds = Math.max(3, Math.round(rounds / 3));
const microSeconds = "0.3";
const lookupFlows = 262_144;

/** What ends this command with a sentence and an exit code. */
class Refusal extends Error {
  constructor(exitCode, message) {
    super(message);
    this.exitCode = exitCode;
  }
}

const running = new Set();
let stopped;

/** Runs a program to its end. Errors: a Refusal with what it printed; also when this is stopped. */
function run(what, folder, command, words, extra = {}) {
  if (stopped !== undefined) throw stopped;
  return new Promise((resolve, reject) => {
    // A group of its own, so that what it started ends with it.
    const child = spawn(command, words, {
      cwd: folder,
      detached: true,
      env: { ...process.env, ...extra },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    let stdout = "";
    let printed = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      printed += chunk;
    });
    child.stderr.on("data", (chunk) => {
      printed += chunk;
    });
    child.on("error", (error) => reject(new Refusal(environment, `${what}: ${error.message}`)));
    child.on("close", (status) => {
      running.delete(child);
      if (status === 0) resolve(stdout);
      else reject(stopped ?? new Refusal(environment, `${what} failed:\n${printed.trimEnd()}`));
    });
  });
}

function git(root, ...words) {
  const { status, stdout } = spawnSync("git", words, { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

function say(text) {
  process.stderr.write(`bench:compare: ${text}\n`);
}

/** What is compared: a name, the words for native_bench, and whether they need dist/. */
const sizes = ["1000", "100000"];
const nativeCases = [
  ...sizes.flatMap((entries) =>
    ["fastest", "scalar", "single"].map((way) => table(4, entries, way)),
  ),
  ...["fastest", "single"].map((way) => table(6, "100000", way)),
  table(4, "100000", "classify"),
  ...["batch", "single", "open", "sweep"].flatMap((way) =>
    sizes.map((flows) => ({
      name: `native: connections, ${way}, ${flows} flows`,
      needsScript: false,
      words: () => ["conntrack", flows, way],
    })),
  ),
  ...["parse", "single", "batch"].map((way) => ({
    name: `native: whole path, ${way}, 100000 flows`,
    needsScript: true,
    words: async (side) => ["path", await side.table("path"), "100000", way],
  })),
];

function table(family, entries, way) {
  return {
    name: `native: verdict, IPv${family}, ${way}, ${entries} entries`,
    needsScript: true,
    words: async (side) => {
      const key = `v${family}-${entries}`;
      return ["lookup", await side.table(key), await side.tuples(key), way];
    },
  };
}

/** A built tree. Tables are its own, since their layout may differ; what they say is the same. */
class Side {
  constructor(tree, folder, workloads) {
    this.tree = tree;
    this.folder = folder;
    this.workloads = workloads;
    this.tables = new Map();
    mkdirSync(folder);
  }

  get nativeBench() {
    return join(this.tree, "build/Release/native_bench");
  }

  async table(key) {
    const known = this.tables.get(key);
    if (known !== undefined) return known;
    const from = (file) => import(pathToFileURL(join(this.tree, "dist", file)).href);
    const { compile } = await from("compiler/compile.js");
    const { parseManifests } = await from("manifest/parse.js");
    const { manifests } = await this.workloads(key);
    const compiled = compile({ objects: parseManifests(manifests, "bench.yaml").objects });
    if (!compiled.ok) throw new Refusal(environment, "the policies do not compile");
    const file = join(this.folder, `${key}.table`);
    writeFileSync(file, compiled.blob);
    this.tables.set(key, file);
    return file;
  }

  async tuples(key) {
    const file = join(this.folder, `${key}.tuples`);
    if (!existsSync(file)) writeFileSync(file, (await this.workloads(key)).tuples);
    return file;
  }
}

/** Policies and packets by name, from the working tree: both sides are asked the same. */
function makeWorkloads(root) {
  const made = new Map();
  return async (key) => {
    const { makeLookupWorkload, pathManifests } = await import(
      pathToFileURL(join(root, "dist/bench/native/workload.js")).href
    );
    if (key === "path") return { manifests: pathManifests };
    const [family, entries] = key.slice(1).split("-").map(Number);
    const known = made.get(key);
    if (known !== undefined) return known;
    const workload = makeLookupWorkload({ entries, family, flows: lookupFlows });
    made.set(key, workload);
    return workload;
  };
}

async function build(what, tree, needsScript) {
  say(`building ${what}`);
  await run(`building ${what}`, tree, process.execPath, ["scripts/build-native.mjs"]);
  if (!needsScript) return;
  const tsc = join(tree, "node_modules/.bin/tsc");
  await run(`building ${what}`, tree, tsc, ["-p", "tsconfig.json"]);
}

/** Checks out a commit, with packages that its build finds. */
async function checkOut(root, commit, tree) {
  await run("git worktree", root, "git", ["worktree", "add", "--quiet", "--detach", tree, commit]);
  const lockOf = (folder) => {
    const file = join(folder, "package-lock.json");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  };
  if (lockOf(root) === lockOf(tree)) {
    const packages = join(root, "node_modules");
    if (existsSync(packages)) symlinkSync(packages, join(tree, "node_modules"));
  } else {
    say("its packages are others: installing them");
    await run("npm ci", tree, "npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
  }
}

/** Compares what native_bench times; says what one side cannot do. */
async function compareNative(cases, sides, base, tell) {
  const turns = await import("../../dist/bench/native/turns.js");
  for (const { name, words } of cases) {
    const takers = [];
    try {
      for (const side of sides) {
        takers.push(await turns.startTurnTaker(base, side.nativeBench, await words(side)));
      }
    } catch (error) {
      for (const taker of takers) taker.close();
      say(`left out: ${name}: ${error.message}`);
      continue;
    }
    const [ours, theirs] = await turns.takeTurns(takers, rounds);
    if (stopped !== undefined) throw stopped;
    tell(turns.compare(name, ours, theirs));
  }
}

/** Runs the micro suite of the working tree on both sides' dist/. */
async function compareScript(texts, sides, base, tell) {
  const { median, spreadOf } = await import("../../dist/bench/statistics.js");
  const [ours, theirs] = sides;
  mkdirSync(join(theirs.tree, "bench"), { recursive: true });
  copyFileSync(join(ours.tree, "bench/micro.mjs"), join(theirs.tree, "bench/micro.mjs"));
  const results = new Map();
  for (let round = 0; round < microRounds; round++) {
    for (const place of [round % 2, (round + 1) % 2]) {
      const stdout = await run(
        "the micro suite",
        sides[place].tree,
        process.execPath,
        ["bench/micro.mjs"],
        {
          BENCH_SECONDS: microSeconds,
        },
      );
      for (const line of stdout.trim().split("\n")) {
        const { bench, nsPerItem } = JSON.parse(line);
        const name = `js: ${bench.replace("micro/", "")}`;
        const values = results.get(name) ?? [[], []];
        values[place].push(nsPerItem);
        results.set(name, values);
      }
    }
  }
  for (const [name, [mine, others]] of results) {
    if (!texts.some((text) => name.includes(text))) continue;
    const ratios = mine.map((ns, round) => ns / others[round]);
    tell({
      name,
      ratio: Number(median(ratios).toFixed(4)),
      against: base,
      spread: Number(spreadOf(ratios).toFixed(3)),
      value: median(mine),
      base: median(others),
      unit: "ns",
    });
  }
}

/** A ratio that is farther from 1 than its rounds lie apart. */
function verdict({ ratio, spread }) {
  const noise = Math.max(0.03, ratio * spread);
  if (ratio > 1 + noise) return "slower";
  return ratio < 1 - noise ? "faster" : "as fast, as far as one can tell";
}

function tell(row) {
  process.stdout.write(`${JSON.stringify(row)}\n`);
  const figures = `${row.ratio.toFixed(3)} × ± ${(row.spread * 100).toFixed(0)} %`;
  process.stderr.write(
    `${row.name.padEnd(52)} ${figures.padEnd(18)} ${row.value} ns against ${row.base} ns: ${verdict(row)}\n`,
  );
}

async function main(words) {
  const [base, ...rest] = words.filter((word) => word !== "--");
  if (base === undefined || base.startsWith("-")) {
    throw new Refusal(usage, "which commit? npm run bench:compare -- BASE [-- TEXT…]");
  }
  const texts = rest.length === 0 ? [""] : rest;
  const root = git(process.cwd(), "rev-parse", "--show-toplevel");
  if (root === undefined) throw new Refusal(environment, "this is no git checkout");
  const commit = git(
    root,
    "rev-parse",
    "--verify",
    "--quiet",
    "--end-of-options",
    `${base}^{commit}`,
  );
  if (commit === undefined) throw new Refusal(usage, `git knows no commit "${base}"`);
  const cases = nativeCases.filter(({ name }) => texts.some((text) => name.includes(text)));
  const script = texts.some((text) => text === "" || text.startsWith("js"));
  if (cases.length === 0 && !script) {
    throw new Refusal(usage, `nothing has ${texts.join(" or ")} in its name: try native or js`);
  }
  const needsScript = script || cases.some((each) => each.needsScript);

  const folder = mkdtempSync(join(tmpdir(), "sluice-compare-"));
  const tree = join(folder, "base");
  try {
    await checkOut(root, commit, tree);
    await build("the working tree", root, needsScript);
    await build(base, tree, needsScript);
    const workloads = makeWorkloads(root);
    const sides = [
      new Side(root, join(folder, "ours"), workloads),
      new Side(tree, join(folder, "theirs"), workloads),
    ];
    await compareNative(cases, sides, base, tell);
    if (script) await compareScript(texts, sides, base, tell);
  } finally {
    git(root, "worktree", "remove", "--force", tree);
    rmSync(folder, { recursive: true, force: true });
    git(root, "worktree", "prune");
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    stopped ??= new Refusal(130, `stopped by ${signal}`);
    for (const { pid } of running) process.kill(-pid, "SIGTERM");
  });
}
try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  say(error.message);
  process.exitCode = error.exitCode;
}
