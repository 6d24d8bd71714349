// Builds native programs with clang: the fuzz targets and what else lies in native/testing/programs,
// under AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer's coverage; and the tests of
// threads under ThreadSanitizer.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { aloneIn } from "./build-lock.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
export const fuzzFolder = "build/Fuzz";

/** Each target: its function, and its mutator where it has one of its own. */
export const fuzzTargets = {
  packet: { run: "fuzzPacket", mutate: "mutatePackets" },
  table: { run: "fuzzTable" },
  connections: { run: "fuzzConnections" },
};

const compiler = (process.env.SLUICE_CLANG ?? "clang++").split(" ");
const flags = [
  ...["-std=c++20", "-O2", "-g1", "-fno-omit-frame-pointer", "-fno-exceptions", "-fno-rtti"],
  ...["-Wall", "-Wextra", "-I.", "-fno-sanitize-recover=all"],
  ...(process.arch === "x64" ? ["-march=x86-64-v2"] : []),
];
const memorySanitizers = "-fsanitize=address,undefined";
const threadSanitizer = "-fsanitize=thread";

/** Rooms that the targets need: what a packet waits for, without the host it runs on. */
const rooms = ["layout", "packet", "table", "conntrack", "io", "event", "worker", "testing/fuzz"];
/** What targets and programs use of the tests. */
const helpers = ["blob-builder.cc", "one-pod.cc", "slow-packet.cc"];
/** Tests in which threads meet. */
const threadTests = [
  "threads-test.cc",
  "table-test.cc",
  "event-test.cc",
  "links-test.cc",
  "main.cc",
];
/** What the rooms use of the host. */
const ofHost = ["native/host/grace-periods.cc"];
/** What those tests use of the rooms that know the host. */
const hostHelpers = ["attach/steering-program.cc", "bpf/call.cc", "bpf/program.cc"];

function librarySources() {
  const found = rooms.flatMap((room) =>
    readdirSync(join(root, "native", room))
      .filter((file) => file.endsWith(".cc"))
      .map((file) => `native/${room}/${file}`),
  );
  return [...found, ...ofHost, ...helpers.map((file) => `native/testing/${file}`)].sort();
}

/** Whether an object is younger than all that it was made of. */
function isFresh(object) {
  const rule = object.replace(/\.o$/, ".d");
  if (!existsSync(object) || !existsSync(rule)) return false;
  const made = statSync(object).mtimeMs;
  const parts = readFileSync(rule, "utf8").replace(/\\\n/g, " ").split(/\s+/).slice(1);
  return parts
    .filter((part) => part !== "")
    .every((part) => existsSync(join(root, part)) && statSync(join(root, part)).mtimeMs < made);
}

function run(args) {
  const [command, ...first] = compiler;
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...first, ...args], { cwd: root, stdio: "inherit" });
    child.on("error", reject);
    child.on("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${compiler.join(" ")} ${args.join(" ")}`)),
    );
  });
}

async function compileAll(jobs) {
  const waiting = jobs.filter(({ object }) => !isFresh(join(root, object)));
  const work = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      await run([...flags, ...job.flags, "-MMD", "-c", job.source, "-o", job.object]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

function isOlder(file, parts) {
  const made = existsSync(file) ? statSync(file).mtimeMs : 0;
  return parts.some((part) => statSync(part).mtimeMs > made);
}

/** Says what is missing to fuzz here; undefined when nothing is. */
export function missingForFuzz() {
  const [command, ...first] = compiler;
  const asked = spawnSync(command, [...first, "-print-runtime-dir"], { encoding: "utf8" });
  if (asked.status !== 0) return "clang++ is not installed (Debian: clang)";
  const runtime = asked.stdout.trim();
  const complete =
    existsSync(runtime) && readdirSync(runtime).some((file) => file.includes("fuzzer"));
  return complete ? undefined : "clang++ has no libFuzzer (Debian: libclang-rt-dev)";
}

/**
 * Builds fuzz targets or other programs and returns their paths, in order. With `canary` each target
 * has its planted fault.
 */
export function buildPrograms(names, { canary = false } = {}) {
  return aloneIn(join(root, fuzzFolder), () => buildAll(names, canary));
}

async function buildAll(names, canary) {
  const objectOf = (source, suffix = "") =>
    `${fuzzFolder}/${source.replaceAll("/", "-").replace(/\.cc$/, "")}${suffix}.o`;
  const covered = [memorySanitizers, "-fsanitize=fuzzer-no-link"];
  const suffix = canary ? "-canary" : "";
  const library = librarySources().map((source) => {
    const own = source.startsWith("native/testing/fuzz/");
    return {
      source,
      flags: [...covered, ...(own && canary ? ["-DSLUICE_FUZZ_CANARY"] : [])],
      object: objectOf(source, own ? suffix : ""),
    };
  });
  const programs = names.map((name) => {
    const target = fuzzTargets[name];
    if (target === undefined) {
      const source = `native/testing/programs/${name}.cc`;
      return { output: `${fuzzFolder}/${name}`, source, flags: covered, object: objectOf(source) };
    }
    const source = "native/testing/programs/fuzz-main.cc";
    const defines = [`-DSLUICE_FUZZ_TARGET=${target.run}`];
    if (target.mutate !== undefined) defines.push(`-DSLUICE_FUZZ_MUTATE=${target.mutate}`);
    return {
      output: `${fuzzFolder}/${name}-fuzz${suffix}`,
      source,
      flags: [...covered, ...defines],
      object: objectOf(source, `-${name}`),
      fuzzer: true,
    };
  });
  await compileAll([...library, ...programs]);
  for (const { output, object, fuzzer } of programs) {
    const objects = [object, ...library.map((each) => each.object)];
    if (
      !isOlder(
        join(root, output),
        objects.map((each) => join(root, each)),
      )
    )
      continue;
    const link = fuzzer ? ["-fsanitize=fuzzer,address,undefined"] : [memorySanitizers];
    await run([...objects, ...link, "-lpthread", "-o", output]);
  }
  return programs.map(({ output }) => join(root, output));
}

/** Builds the tests of threads and returns the program's path. */
export async function buildThreadTests() {
  const folder = "build/Thread";
  mkdirSync(join(root, folder), { recursive: true });
  const sources = [
    ...librarySources().filter((source) => !source.startsWith("native/testing/fuzz/")),
    ...threadTests.map((file) => `native/testing/${file}`),
    ...hostHelpers.map((file) => `native/${file}`),
  ];
  const jobs = sources.map((source) => ({
    source,
    flags: [threadSanitizer],
    object: `${folder}/${source.replaceAll("/", "-").replace(/\.cc$/, "")}.o`,
  }));
  await compileAll(jobs);
  const output = `${folder}/thread_test`;
  const objects = jobs.map(({ object }) => object);
  if (
    isOlder(
      join(root, output),
      objects.map((object) => join(root, object)),
    )
  ) {
    await run([...objects, threadSanitizer, "-lpthread", "-o", output]);
  }
  return join(root, output);
}
