// Fuzzes the native code: npm run fuzz -- [--seconds N] [--target NAME]… [--jobs N] [--canary]
//   --seconds N      how long each target runs, at most (60)
//   --runs N         how many inputs each target runs, at most
//   --seed N         the same inputs again, begun without those of earlier runs; else at random
//   --target NAME    only this one; may be given more than once
//   --jobs N         targets at a time (2)
//   --canary         with a planted fault: fails unless every target finds its own
//   --input FILE     runs this one input, with --target
//   --minimize FILE  makes an input that fails smaller, with --target
//   --seeds          writes the seeds of native/testing/corpus anew
// What is found stays in build/Fuzz/<target>/: crash-*, and inputs that reach new code in corpus/. A
// finding is printed too, so that one on a machine that is gone is not lost.
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildPrograms, fuzzFolder, fuzzTargets, missingForFuzz } from "./fuzz-build.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    runs: { type: "string" },
    seed: { type: "string" },
    target: { type: "string", multiple: true, default: Object.keys(fuzzTargets) },
    jobs: { type: "string", default: "2" },
    canary: { type: "boolean", default: false },
    input: { type: "string" },
    minimize: { type: "string" },
    seeds: { type: "boolean", default: false },
  },
});

/** Runs a program and returns how it ended, with what it said. */
function start(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, UBSAN_OPTIONS: "print_stacktrace=1" },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    child.on("close", (status) => resolve({ status, output }));
  });
}

/** Fuzzes one target; true when it ended as it should. */
async function fuzz(name, program) {
  const own = join(root, fuzzFolder, name);
  // libFuzzer writes what reaches new code into the first folder. What another run has reached would
  // lead one that is to be repeated elsewhere, and one that is to find its fault would begin with it.
  const fresh = options.canary || options.seed !== undefined;
  const reached = join(own, options.canary ? "canary" : fresh ? "seeded" : "corpus");
  if (fresh) rmSync(reached, { recursive: true, force: true });
  mkdirSync(reached, { recursive: true });
  const seed = options.seed ?? `${randomInt(1, 2 ** 31)}`;
  const { status, output } = await start(program, [
    `-max_total_time=${options.seconds}`,
    `-seed=${seed}`,
    ...(options.runs === undefined ? [] : [`-runs=${options.runs}`]),
    // What was compared may be an address, and those are another each time.
    ...(options.seed === undefined ? [] : ["-use_cmp=0", "-reload=0"]),
    `-artifact_prefix=${own}/`,
    ...["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", "-max_len=16384"],
    reached,
    join(root, "native/testing/corpus", name),
  ]);
  const runs = /stat::number_of_executed_units:\s+(\d+)/.exec(output)?.[1] ?? "?";
  const rate = /stat::average_exec_per_sec:\s+(\d+)/.exec(output)?.[1] ?? "?";
  const coverage = [...output.matchAll(/cov: (\d+) ft: (\d+)/g)].at(-1);
  const covered = coverage === undefined ? "" : `, ${coverage[1]} edges, ${coverage[2]} features`;
  const figures = `${runs} runs, ${rate} a second${covered}`;
  const found = status !== 0;
  if (options.canary) {
    process.stdout.write(
      `${name}: ${found ? "found its fault" : "MISSED its fault"}; ${figures}\n`,
    );
    return found && /violated|AddressSanitizer/.test(output);
  }
  process.stdout.write(`${name}: ${found ? "FAILED" : "nothing found"}; ${figures}\n`);
  if (found) {
    process.stderr.write(`${output.split("\n").slice(-80).join("\n")}\n`);
    process.stderr.write(`${name}: seed ${seed}${savedInput(name, output)}\n`);
  }
  return !found;
}

/** The input that was found, as text, and how to run it again. */
function savedInput(name, output) {
  const file = /Test unit written to (\S+)/.exec(output)?.[1];
  if (file === undefined || !existsSync(file)) return "";
  const text = readFileSync(file).toString("base64");
  const again = `npm run fuzz -- --target ${name} --input FILE`;
  return `; FILE is ${file}, or this after base64 -d, for ${again}\n${text}`;
}

const missing = missingForFuzz();
if (missing !== undefined) {
  process.stderr.write(`fuzz: ${missing}\n`);
  process.exit(4);
}
const unknown = options.target.find((name) => fuzzTargets[name] === undefined);
if (unknown !== undefined) {
  process.stderr.write(
    `fuzz: got target ${unknown}, want one of ${Object.keys(fuzzTargets).join(", ")}\n`,
  );
  process.exit(2);
}

if (options.seeds) {
  const [writer] = await buildPrograms(["write-seeds"]);
  const { status, output } = await start(writer, ["native/testing/corpus"]);
  process.stdout.write(output);
  process.exit(status ?? 1);
}

const programs = await buildPrograms(options.target, { canary: options.canary });
if (options.input !== undefined) {
  const { status, output } = await start(programs[0], [options.input]);
  process.stdout.write(output);
  process.exit(status === 0 ? 0 : 1);
}
if (options.minimize !== undefined) {
  const [name] = options.target;
  const { output } = await start(programs[0], [
    ...["-minimize_crash=1", `-max_total_time=${options.seconds}`],
    `-exact_artifact_path=${join(root, fuzzFolder, `${name}-minimized`)}`,
    options.minimize,
  ]);
  process.stdout.write(`${output.split("\n").slice(-5).join("\n")}\n`);
  process.exit(0);
}

const waiting = options.target.map((name, index) => [name, programs[index]]);
let ok = true;
const work = async () => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    ok = (await fuzz(...next)) && ok;
  }
};
await Promise.all(Array.from({ length: Number(options.jobs) }, work));
process.exitCode = ok ? 0 : 1;
