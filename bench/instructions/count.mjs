// Instructions that looking up, tracking and parsing take, counted by valgrind and held against
// golden.json. Unlike time they do not depend on who else uses the machine: what they gain or lose
// was changed here.
//   npm run bench:instructions              compares; ends with 1 when a count differs
//   npm run bench:instructions -- --update  writes golden.json anew
//   … --only TEXT                           only the counts whose name has this text
//   … --golden FILE                         another file
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeLookupWorkload, pathManifests } from "../../dist/bench/native/workload.js";
import { compile } from "../../dist/compiler/compile.js";
import { parseManifests } from "../../dist/manifest/parse.js";

const nativeBench = fileURLToPath(new URL("../../build/Release/native_bench", import.meta.url));
const { values: flags } = parseArgs({
  options: {
    update: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    golden: { type: "string", default: fileURLToPath(new URL("golden.json", import.meta.url)) },
  },
});

const entries = 1_000;
const items = 4_096;
const flows = "1000";
/** Of the counts. The second is for another compiler than the golden file's: it writes other code. */
const tolerance = 0.03;
const toleranceOtherCompiler = 0.35;

/** Which counts there are: a name, and what native_bench is asked for. */
function casesIn(folder) {
  const write = (name, manifests) => {
    const compiled = compile({ objects: parseManifests(manifests, "bench.yaml").objects });
    if (!compiled.ok) throw new Error("the policies of this benchmark do not compile");
    const file = join(folder, name);
    writeFileSync(file, compiled.blob);
    return file;
  };
  const lookups = [4, 6].flatMap((family) => {
    const workload = makeLookupWorkload({ entries, family, flows: items });
    const table = write(`v${family}.table`, workload.manifests);
    const tuples = join(folder, `v${family}.tuples`);
    writeFileSync(tuples, workload.tuples);
    const ways = [
      ["single", "one by one"],
      ["scalar", "batch, scalar"],
      ["avx2", "batch, AVX2"],
    ];
    return ways.map(([way, what]) => [
      `verdict, IPv${family}, ${what}`,
      ["lookup", table, tuples, way],
    ]);
  });
  const path = write("path.table", pathManifests);
  return [
    ...lookups,
    ["connection, hit, one by one", ["conntrack", flows, "single", `${items}`]],
    ["connection, hit, batch", ["conntrack", flows, "batch", `${items}`]],
    ["connection, miss, insert and remove", ["conntrack", flows, "open", `${items}`]],
    ["connection, expiry", ["conntrack", flows, "sweep", `${items}`]],
    ["parse Ethernet, IPv4 and TCP", ["path", path, flows, "parse", `${items}`]],
    ["whole path, established, one by one", ["path", path, flows, "single", `${items}`]],
    ["whole path, established, batch", ["path", path, flows, "batch", `${items}`]],
  ];
}

/** Instructions an item, and the compiler. Throws an Error with what valgrind said. */
async function countOne(words, outFile) {
  const child = spawn("valgrind", [
    "--tool=callgrind",
    `--callgrind-out-file=${outFile}`,
    "--toggle-collect=countedPass",
    nativeBench,
    "count",
    ...words,
  ]);
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const status = await new Promise((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  const total = existsSync(outFile)
    ? /^summary: (\d+)$/m.exec(readFileSync(outFile, "utf8"))
    : null;
  if (status !== 0 || total === null) throw new Error(`native_bench ${words.join(" ")}: ${stderr}`);
  const counted = JSON.parse(stdout);
  if (counted.items === 0 || total[1] === "0")
    throw new Error(`${words.join(" ")}: nothing to count`);
  return { perItem: Number(total[1]) / counted.items, compiler: counted.compiler };
}

/** Counts all cases, as many at once as there are cores. */
async function countAll(folder) {
  const cases = casesIn(folder).filter(([name]) => name.includes(flags.only));
  const counted = new Map(cases.map(([name]) => [name, undefined]));
  const waiting = cases.entries();
  const work = async () => {
    for (const [index, [name, words]] of waiting) {
      counted.set(name, await countOne(words, join(folder, `${index}.callgrind`)));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return counted;
}

/** Says for each count how it stands. Returns how many are off. */
function compareAll(counted, golden) {
  const [{ compiler }] = counted.values();
  const own = compiler === golden.compiler;
  const allowed = own ? tolerance : toleranceOtherCompiler;
  if (!own) {
    process.stderr.write(
      `built by ${compiler}, the golden file is of ${golden.compiler}: ${allowed * 100} % are allowed\n`,
    );
  }
  let off = 0;
  for (const [name, { perItem }] of counted) {
    const wanted = golden.instructionsPerItem[name];
    const change = wanted === undefined ? Number.NaN : perItem / wanted - 1;
    const fits = Math.abs(change) <= allowed;
    if (!fits) off++;
    const told = wanted === undefined ? "not in the golden file" : `golden ${wanted}`;
    const percent = wanted === undefined ? "" : `, ${(change * 100).toFixed(1)} %`;
    const sign = fits ? "ok    " : "DIFFER";
    process.stdout.write(`${sign} ${name}: ${perItem.toFixed(1)} an item, ${told}${percent}\n`);
  }
  return off;
}

/** Why nothing can be counted here; undefined when it can. */
function obstacle() {
  if (process.arch !== "x64") return "the golden file is of x86-64";
  if (!existsSync(nativeBench)) return "the native benchmarks are not built: npm run build:native";
  const found = (process.env.PATH ?? "")
    .split(":")
    .some((each) => existsSync(join(each, "valgrind")));
  return found ? undefined : "valgrind is not installed: apt-get install valgrind";
}

/** Returns the exit code. */
async function main(folder) {
  const counted = await countAll(folder);
  if (counted.size === 0) throw new Error(`no count has "${flags.only}" in its name`);
  if (flags.update) {
    const [{ compiler }] = counted.values();
    const instructionsPerItem = Object.fromEntries(
      [...counted].map(([name, { perItem }]) => [name, Number(perItem.toFixed(1))]),
    );
    writeFileSync(flags.golden, `${JSON.stringify({ compiler, instructionsPerItem }, null, 2)}\n`);
    return 0;
  }
  const off = compareAll(counted, JSON.parse(readFileSync(flags.golden, "utf8")));
  if (off === 0) return 0;
  process.stdout.write(`${off} of ${counted.size} differ by more than is allowed\n`);
  process.stdout.write("when that is meant: npm run bench:instructions -- --update\n");
  return 1;
}

const folder = mkdtempSync(join(tmpdir(), "sluice-instructions-"));
try {
  const reason = obstacle();
  if (reason !== undefined) throw new Error(reason);
  process.exitCode = await main(folder);
} catch (error) {
  process.stderr.write(`bench:instructions: ${error.message}\n`);
  process.exitCode = 4;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
