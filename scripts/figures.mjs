// Figures of this commit beside the last line of bench/figures.jsonl: docs/decisions/0026-figures.md.
//   npm run figures              compares; ends with 1 when a figure rose by more than its spread
//   npm run figures -- --append  adds a line of this commit; commit it with the merge
//   … --file FILE                another file
//   … --now FILE                 figures that were measured before: the last line of that file
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
/** How much of a figure one merge may add without a line of its own. */
const spreads = { instructions: 0.01, lines: 0.05, bytes: 0.05 };

function output(command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** Lines that people wrote, without tests. */
function linesBelow(folder, pattern) {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => pattern.test(file) && !/\.gen\.|^testing\//.test(file))
    .map((file) => readFileSync(join(root, folder, file), "utf8").split("\n").length - 1)
    .reduce((sum, lines) => sum + lines, 0);
}

/** Sizes as the package has them; scripts/prebuild.mjs makes its addon of this one. */
function bytesNow() {
  const folder = mkdtempSync(join(tmpdir(), "sluice-figures-"));
  try {
    const stripped = join(folder, "addon");
    output("strip", "--strip-unneeded", "-o", stripped, "build/Release/dataplane.node");
    const pack = ["pack", "--dry-run", "--ignore-scripts", "--offline", "--json"];
    const [{ files }] = JSON.parse(output("npm", ...pack));
    const others = files.filter(({ path }) => !path.startsWith("prebuilds/"));
    const addon = statSync(stripped).size;
    return { addon, package: others.reduce((sum, { size }) => sum + size, addon) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How long the tests of the last whole gate took here: scripts/check.mjs notes it. */
function testSeconds() {
  const file = join(root, ".sluice-test-seconds");
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : null;
}

function figuresNow() {
  const golden = readFileSync(join(root, "bench/instructions/golden.json"), "utf8");
  return {
    compiler: output("c++", "--version").split("\n", 1)[0],
    instructions: JSON.parse(golden).instructionsPerItem,
    lines: { src: linesBelow("src", /\.ts$/), native: linesBelow("native", /\.(cc|h)$/) },
    bytes: bytesNow(),
    testSeconds: testSeconds(),
  };
}

/** Says for each figure how it stands. Returns how many rose too far. */
function compare(now, last) {
  let high = 0;
  for (const [group, spread] of Object.entries(spreads)) {
    if (group === "bytes" && now.compiler !== last.compiler) {
      process.stdout.write(`passed over: bytes, built by another compiler than ${last.compiler}\n`);
      continue;
    }
    for (const [name, value] of Object.entries(now[group])) {
      const before = last[group][name];
      if (before === undefined) continue;
      const isHigh = value > before * (1 + spread);
      if (isHigh) high++;
      const percent = ((value / before - 1) * 100).toFixed(1);
      const sign = isHigh ? "HIGH" : "ok  ";
      process.stdout.write(`${sign} ${group}, ${name}: ${value}, was ${before} (${percent} %)\n`);
    }
  }
  return high;
}

const { values: flags } = parseArgs({
  options: {
    append: { type: "boolean", default: false },
    now: { type: "string" },
    file: { type: "string", default: join(root, "bench/figures.jsonl") },
  },
});
const lastLine = (file) => JSON.parse(readFileSync(file, "utf8").trimEnd().split("\n").at(-1));
const now = flags.now === undefined ? figuresNow() : lastLine(flags.now);
if (flags.append) {
  const commit = output("git", "rev-parse", "--short=12", "HEAD").trim();
  appendFileSync(flags.file, `${JSON.stringify({ commit, ...now })}\n`);
} else {
  if (compare(now, lastLine(flags.file)) > 0) {
    process.stdout.write(
      "when a rise is meant: npm run figures -- --append, and say why in the commit\n",
    );
    process.exitCode = 1;
  }
}
