import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "../compiler/compile.js";
import { hotBytesOf } from "../compiler/hot-bytes.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import { CONNECTIONS_MAX, FlowTuple, readFlowTuple } from "../layout/layout.gen.js";
import { parseManifests } from "../manifest/parse.js";
import { checkMost } from "./arguments.js";
import { type MixedFlood, measureMixedFlood, mixedFloodText } from "./bench-mixed-flood.js";
import type { BenchFloodOptions, BenchNativeOptions } from "./bench-spec.js";
import {
  compare,
  fastestOf,
  type Measured,
  type Row,
  startTurnTaker,
  type Turn,
  type TurnTaker,
  takeTurns,
} from "./bench-turns.js";
import {
  floodManifests,
  type LookupWorkload,
  makeLookupWorkload,
  pathManifests,
} from "./bench-workload.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { fitTo, renderTable, writeJson } from "./output.js";
import { createProgress, type Progress } from "./progress.js";

const packageRoot = fileURLToPath(new URL("../..", import.meta.url));
const nativeBench = join(packageRoot, "build/Release/native_bench");
const dpdkPeers = join(packageRoot, "build/Release/dpdk_peers");

const lookupSizes = [10, 1_000, 10_000, 100_000];
const lookupFlows = 1_000_000;
const roundsUsual = 7;
const roundsShort = 5;
const aclWays = ["scalar", "avx2", "avx512x16", "avx512x32"];
const shortSizes = [10, 1_000, 100_000];
const shortFlows = 262_144;
const shortTracked = 100_000;
const shortMs = 25_000;
const classifyTuples = 16_384;
const callTuples = 256;
const trackedSizes = [1_000, 100_000, 1_000_000, 10_000_000];
/** What a tracked flow takes, ours and the peer's together, in bytes. */
const flowBytes = 450;
const floodSizes = [10_000_000];
/** The connection table that a flood meets, for how long in simulated time, and who else is there. */
const floodConnectionsUsual = 65_536;
const floodSecondsUsual = 180;
const floodSecondsMax = 3_600;
const floodEstablished = 1_000;
const floodLegitimate = 1_000;
const collidingFlows = 5_000;
/** More flows than this give no new figure: their frames alone fill the caches. */
const pathFlowsMax = 1_000_000;

const mebibyte = 1_048_576;

/** The targets: the ratio of ours to theirs, at most; bytes. */
const reach = {
  table: new Map([
    [1_000, 1 / 3],
    [100_000, 1 / 10],
  ]),
  tableV6: 0.6,
  growth: 2,
  classify: 1.5,
  tracked: new Map([
    [100_000, 0.9],
    [10_000_000, 1],
  ]),
  path: new Map([[100_000, 3]]),
  colliding: 2,
  hotBytes: new Map([[100_000, 2 * mebibyte]]),
};

/** The outcome for all other connections during a flood. */
interface FloodOutcome {
  readonly syns: number;
  readonly synsPerSecond: number;
  /** Connections that the table has room for. */
  readonly connectionsMax: number;
  /**
   * Connections established before the flood, and how many of them continued after it, in the worst round.
   */
  readonly established: number;
  /** New clients during the flood; a handshake takes some thousand packets of the flood. */
  readonly legitimate: number;
  /** How many of both succeeded, in the worst round. */
  readonly served: number;
  /** Memory in use after the first flood, and after the last. */
  readonly residentBytes: readonly [first: number, last: number];
}

/** What a table takes in memory, and what of it the packets of one family may touch. */
interface TableMemory {
  readonly entries: number;
  readonly family: 4 | 6;
  readonly bytes: number;
  readonly hotBytes: number;
  /** The target size of the hot part, at most. */
  readonly reach?: number;
  readonly reached?: boolean;
}

const notBuilt =
  "the native benchmarks are not built: they come with a checkout, not with the package";

/** The answer of one of these commands. */
export interface NativeReport {
  readonly rows: readonly Row[];
  readonly floods: readonly FloodOutcome[];
  readonly mixedFlood?: MixedFlood;
  readonly tables: readonly TableMemory[];
  /** The peers that were not measured, and why. */
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

/** What all steps of a command share. */
interface Bench {
  /** A folder for tables and packets; removed when the command ends. */
  readonly folder: string;
  readonly rounds: number;
  readonly progress: Progress;
  /** Measures only figures that have a target, in little time. */
  readonly short: boolean;
  readonly signal?: AbortSignal;
  /** The program of DPDK's structures, or why there is none. */
  readonly peers: string | undefined;
  readonly rows: Row[];
  readonly floods: FloodOutcome[];
  mixedFlood?: MixedFlood;
  readonly tables: TableMemory[];
  readonly leftOut: { readonly name: string; readonly reason: string }[];
}

/**
 * Times the table alone: verdicts of policies of several sizes, beside DPDK's rte_acl and rte_fib6.
 */
export function runBenchLookup(options: BenchNativeOptions, io: Io): Promise<number> {
  return runNative(options, io, lookupSizes, async (bench, sizes) => {
    await benchTables(bench, sizes);
    for (const entries of sizes) await benchTableV6(bench, entries);
    await benchClassify(bench, sizes.at(-1)!);
  });
}

/**
 * Times the connection table alone, beside DPDK's rte_hash, and the whole path in memory beside
 * parsing alone.
 */
export function runBenchConntrack(options: BenchNativeOptions, io: Io): Promise<number> {
  return runNative(options, io, trackedSizes, async (bench, sizes) => {
    for (const flows of sizes) {
      if (flows * flowBytes > freemem()) {
        const reason = `${count(flows)} flows need more memory than is free`;
        bench.leftOut.push({ name: `${count(flows)} flows`, reason });
        continue;
      }
      await benchTracked(bench, flows);
      if (flows <= pathFlowsMax) await benchPath(bench, flows);
    }
  });
}

/**
 * Times what an attacker may choose: a flood of SYNs beside established connections, and names of connections
 * that were chosen to collide. Counts the losses of each party in several simultaneous floods.
 */
export async function runBenchFlood(options: BenchFloodOptions, io: Io): Promise<number> {
  const { connections = floodConnectionsUsual, seconds = floodSecondsUsual } = options;
  checkMost("--connections", connections, CONNECTIONS_MAX);
  checkMost("--seconds", seconds, floodSecondsMax);
  return runNative(options, io, floodSizes, async (bench, sizes) => {
    for (const syns of sizes) await benchFlood(bench, syns, connections);
    await benchColliding(bench);
    bench.progress.update("floods of all kinds at once");
    const table = writeTable(bench, "mixed-flood", floodManifests);
    bench.mixedFlood = await measureMixedFlood(nativeBench, table, { seconds, connections });
  });
}

/**
 * Measures, for `sluice bench`, the figures of the table and the connection table that are aimed at:
 * fewer sizes and rounds than the commands above.
 *
 * Cost:   some twenty seconds, no more than `shortMs` and one step: what is then missing is left out.
 *         DPDK's programs are not built for it.
 * Errors: when `signal` aborts, its reason.
 */
export async function measureNativeFigures(
  progress: Progress,
  signal: AbortSignal,
): Promise<Pick<NativeReport, "rows" | "leftOut">> {
  if (!existsSync(nativeBench)) {
    return { rows: [], leftOut: [{ name: "native structures", reason: notBuilt }] };
  }
  const started = performance.now();
  const largest = shortSizes.at(-1)!;
  const settings = { rounds: roundsShort, short: true, withoutPeers: false, progress, signal };
  return withBench(settings, async (bench) => {
    const steps: readonly (readonly [name: string, step: () => Promise<void>])[] = [
      ["whole path in memory", () => benchPath(bench, shortTracked)],
      ["connection lookup", () => benchTracked(bench, shortTracked)],
      ["table.classify", () => benchClassify(bench, largest)],
      ["verdict by the table", () => benchTables(bench, shortSizes)],
      ["IPv6 verdict", () => benchTableV6(bench, largest)],
    ];
    for (const [name, step] of steps) {
      if (performance.now() - started < shortMs) await step();
      else bench.leftOut.push({ name, reason: "this machine is too busy to time it as well" });
    }
    return { rows: bench.rows.filter(({ reach }) => reach !== undefined), leftOut: bench.leftOut };
  });
}

async function runNative(
  options: BenchNativeOptions,
  io: Io,
  sizesKnown: readonly number[],
  measure: (bench: Bench, sizes: readonly number[]) => Promise<void>,
): Promise<number> {
  const sizes = options.sizes === undefined ? sizesKnown : readSizes(options.sizes, sizesKnown);
  if (!existsSync(nativeBench)) {
    throw new CommandError(exitCodes.environment, notBuilt, "npm run setup, in a checkout");
  }
  const progress = createProgress(io);
  const { rounds = roundsUsual, withoutPeers } = options;
  try {
    const report = await withBench(
      { rounds, short: false, withoutPeers, progress },
      async (bench) => {
        await measure(bench, sizes);
        return bench;
      },
    );
    progress.finish();
    show(report, options, io);
    return exitCodes.ok;
  } finally {
    progress.finish();
  }
}

/** Lends a folder, and the peers where there are any. */
async function withBench<Result>(
  {
    withoutPeers,
    ...settings
  }: Pick<Bench, "rounds" | "short" | "progress" | "signal"> & { readonly withoutPeers: boolean },
  use: (bench: Bench) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  try {
    const leftOut: Bench["leftOut"] = [];
    const peers = withoutPeers ? undefined : findPeers(settings.progress, leftOut, !settings.short);
    return await use({ ...settings, folder, peers, rows: [], floods: [], tables: [], leftOut });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Reads `10,1000`. Errors: CommandError (usage). */
function readSizes(text: string, known: readonly number[]): readonly number[] {
  const most = known.at(-1)!;
  const sizes = text.split(",").map(Number);
  const strange = sizes.find((size) => !Number.isInteger(size) || size < 1 || size > most);
  if (strange !== undefined) {
    throw new CommandError(
      exitCodes.usage,
      `--sizes: got "${text}", want numbers from 1 to ${most} with commas between them`,
    );
  }
  return [...new Set(sizes)].sort((a, b) => a - b);
}

/** Builds the programs of bench/peers where DPDK's headers are; says so where they are not. */
function findPeers(
  progress: Progress,
  leftOut: Bench["leftOut"],
  mayBuild: boolean,
): string | undefined {
  const why = (reason: string): undefined => {
    leftOut.push({ name: "rte_acl, rte_fib6, rte_hash", reason });
    return undefined;
  };
  const sources = join(packageRoot, "bench/peers");
  if (!existsSync(sources)) return why("their sources come with a checkout, not with the package");
  const flags = spawnSync("pkg-config", ["--cflags", "--libs", "libdpdk"], { encoding: "utf8" });
  if (flags.status !== 0) return why("DPDK is not installed: apt-get install libdpdk-dev");
  const ours = ["bench/peers", "native/table", "native/bench", "native/packet", "native/layout"];
  const newest = ours
    .flatMap((folder) => readdirSync(join(packageRoot, folder)).map((file) => join(folder, file)))
    .map((file) => statSync(join(packageRoot, file)).mtimeMs)
    .reduce((a, b) => Math.max(a, b));
  if (existsSync(dpdkPeers) && statSync(dpdkPeers).mtimeMs > newest) return dpdkPeers;
  if (!mayBuild) return why("not built: `sluice bench lookup` builds them");
  progress.update("building the peers");
  const listed = (folder: string) =>
    readdirSync(join(packageRoot, folder))
      .filter((file) => file.endsWith(".cc"))
      .map((file) => join(folder, file));
  const words = [
    ...["-std=c++20", "-O3", "-DNDEBUG", "-march=native", "-fno-exceptions", "-fno-rtti", "-I."],
    ...listed("bench/peers"),
    ...listed("native/table"),
    "native/bench/read-file.cc",
    ...["-o", dpdkPeers, ...flags.stdout.trim().split(/\s+/)],
  ];
  const built = spawnSync(process.env["CXX"] ?? "c++", words, {
    cwd: packageRoot,
    encoding: "utf8",
  });
  return built.status === 0
    ? dpdkPeers
    : why(`they could not be built: ${firstLine(built.stderr ?? String(built.error))}`);
}

function firstLine(text: string): string {
  return /error:.*/.exec(text)?.[0] ?? text.split("\n")[0] ?? "";
}

/** A workload in files, for programs to read. */
interface Files {
  readonly table: string;
  readonly tuples: string;
  readonly rules: string;
  readonly prefixes: string;
  readonly blob: Uint8Array;
}

function writeWorkload(bench: Bench, name: string, workload: LookupWorkload): Files {
  const { objects } = parseManifests(workload.manifests, "bench.yaml");
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error("the policies of this benchmark do not compile");
  const write = (kind: string, content: string | Uint8Array) => {
    const file = join(bench.folder, `${name}.${kind}`);
    writeFileSync(file, content);
    return file;
  };
  return {
    table: write("table", compiled.blob),
    tuples: write("tuples", workload.tuples),
    rules: write("rules", workload.aclRules),
    prefixes: write("prefixes", workload.prefixes),
    blob: compiled.blob,
  };
}

function noteMemory(bench: Bench, entries: number, family: 4 | 6, blob: Uint8Array): void {
  const hotBytes = hotBytesOf(blob)[family === 4 ? "ipv4" : "ipv6"];
  const reached = reach.hotBytes.get(entries);
  bench.tables.push({
    entries,
    family,
    bytes: blob.byteLength,
    hotBytes,
    ...(reached === undefined ? {} : { reach: reached, reached: hotBytes <= reached }),
  });
}

/** Starts a peer; one that cannot do this work is left out, with its reason. */
async function startPeer(
  bench: Bench,
  name: string,
  words: readonly string[],
): Promise<readonly TurnTaker[]> {
  if (bench.peers === undefined) return [];
  try {
    return [await startTurnTaker(name, bench.peers, words)];
  } catch (error) {
    bench.leftOut.push({ name, reason: (error as Error).message });
    return [];
  }
}

/** Tables of several sizes, and how a verdict grows from the smallest to the largest. */
async function benchTables(bench: Bench, sizes: readonly number[]): Promise<void> {
  const fastest: [size: number, measured: Measured][] = [];
  for (const entries of sizes) fastest.push([entries, await benchTable(bench, entries)]);
  const [smallest, largest] = [fastest[0]!, fastest.at(-1)!];
  if (smallest === largest) return;
  const [[few, least], [many, most]] = [smallest, largest];
  const name = `growth of a verdict from ${count(few)} to ${count(many)} entries`;
  bench.rows.push(compare(name, most, { ...least, name: `${count(few)} entries` }, reach.growth));
}

/** DPDK's table, in each way that the processor has; in the last of them where time is short. */
async function startAcl(
  bench: Bench,
  entries: number,
  files: Files,
): Promise<readonly TurnTaker[]> {
  const start = (way: string) => {
    bench.progress.update(`table of ${count(entries)} entries`, `building rte_acl, ${way}`);
    return startPeer(bench, `rte_acl ${way}`, ["acl", files.rules, files.tuples, way]);
  };
  const takers: TurnTaker[] = [];
  if (!bench.short) {
    for (const way of aclWays) takers.push(...(await start(way)));
  } else if (reach.table.has(entries)) {
    for (const way of aclWays.toReversed()) {
      if (takers.length === 0) takers.push(...(await start(way)));
    }
  }
  return takers;
}

async function benchTable(bench: Bench, entries: number): Promise<Measured> {
  const what = `${count(entries)} entries`;
  bench.progress.update(`table of ${what}`);
  const flows = bench.short ? shortFlows : lookupFlows;
  const workload = makeLookupWorkload({ entries, family: 4, flows });
  const files = writeWorkload(bench, `v4-${entries}`, workload);
  noteMemory(bench, entries, 4, files.blob);
  const ourWays = bench.short ? ["fastest"] : ["fastest", "scalar", "single"];
  const takers: TurnTaker[] = [];
  for (const way of ourWays) {
    takers.push(await startTurnTaker(way, nativeBench, ["lookup", files.table, files.tuples, way]));
  }
  takers.push(...(await startAcl(bench, entries, files)));
  bench.progress.update(`table of ${what}`, "measuring");
  const measured = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers(measured);
  const [fastest, ...others] = measured;
  const best = fastestOf(others.slice(ourWays.length - 1));
  const name = `verdict by the table, batch 64, ${what}`;
  if (best !== undefined) {
    bench.rows.push(compare(name, fastest!, best, reach.table.get(entries)));
  }
  if (bench.short) return fastest!;
  const [scalar, single] = others;
  bench.rows.push(
    compare(`${name}, scalar`, scalar!, { ...fastest!, name: "the fastest way" }),
    compare(`verdict by the table, one by one, ${what}`, single!, {
      ...fastest!,
      name: "the fastest way",
    }),
  );
  return fastest!;
}

async function benchTableV6(bench: Bench, entries: number): Promise<void> {
  const what = `${count(entries)} entries`;
  bench.progress.update(`IPv6 table of ${what}`);
  const flows = bench.short ? shortFlows : lookupFlows;
  const workload = makeLookupWorkload({ entries, family: 6, flows });
  const files = writeWorkload(bench, `v6-${entries}`, workload);
  noteMemory(bench, entries, 6, files.blob);
  const takers = [
    await startTurnTaker("fastest", nativeBench, ["lookup", files.table, files.tuples, "fastest"]),
    ...(await startPeer(bench, "rte_fib6 and our verdict", [
      "fib6",
      files.table,
      files.prefixes,
      files.tuples,
    ])),
  ];
  const measured = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers(measured);
  const [ours, fib] = measured;
  if (fib === undefined) return;
  bench.rows.push(compare(`IPv6 verdict, batch 64, ${what}`, ours!, fib, reach.tableV6));
}

/** The same tuples from JavaScript, 256 a call, and from C++. */
async function benchClassify(bench: Bench, entries: number): Promise<void> {
  bench.progress.update("table.classify");
  const workload = makeLookupWorkload({ entries, family: 4, flows: classifyTuples });
  const files = writeWorkload(bench, "classify", workload);
  const takers = [
    classifyTurns(files.blob, workload.tuples),
    await startTurnTaker("the same in C++", nativeBench, [
      "lookup",
      files.table,
      files.tuples,
      "classify",
    ]),
  ];
  const [script, native] = await takeTurns(takers, bench.rounds, bench.signal);
  const name = `table.classify of ${callTuples} tuples from JavaScript, a tuple`;
  bench.rows.push(compare(name, script!, native!, reach.classify));
}

function classifyTurns(blob: Uint8Array, tuples: Uint8Array): TurnTaker {
  const table = Table.open(blob);
  const batches: TupleBatch[] = [];
  const view = new DataView(tuples.buffer, tuples.byteOffset, tuples.byteLength);
  const address = (bytes: Uint8Array) => ({ family: 4 as const, bytes: bytes.subarray(0, 4) });
  for (let first = 0; first < tuples.length; first += callTuples * FlowTuple.bytes) {
    const batch = new TupleBatch(callTuples);
    batches.push(batch);
    for (let at = first; at < first + callTuples * FlowTuple.bytes; at += FlowTuple.bytes) {
      const { source, destination, protocol, port } = readFlowTuple(view, at);
      batch.push(address(source), address(destination), protocol, port);
    }
  }
  const calls = Math.ceil(lookupFlows / callTuples);
  const turn = (): Turn => {
    let answers = 0;
    const started = process.cpuUsage();
    for (let call = 0; call < calls; call++) {
      answers += table.classify(batches[call % batches.length]!)[0]!;
    }
    const { user, system } = process.cpuUsage(started);
    const ns = ((user + system) * 1_000) / (calls * callTuples);
    return { ns, p50: ns, p99: ns, answers };
  };
  return {
    name: "JavaScript",
    memoryBytes: blob.byteLength,
    setupMs: 0,
    turn: async () => turn(),
    close() {},
  };
}

async function benchTracked(bench: Bench, flows: number): Promise<void> {
  const what = `${count(flows)} flows`;
  bench.progress.update(`connection table of ${what}`);
  const takers = [
    await startTurnTaker("batch", nativeBench, ["conntrack", `${flows}`, "batch"]),
    await startTurnTaker("single", nativeBench, ["conntrack", `${flows}`, "single"]),
    ...(await startPeer(bench, "rte_hash bulk", ["hash", `${flows}`])),
  ];
  const measured = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers(measured);
  const [batch, single, hash] = measured;
  const name = `connection lookup, batch 64, ${what}`;
  if (hash !== undefined) {
    bench.rows.push(compare(name, batch!, hash, reach.tracked.get(flows)));
  }
  bench.rows.push(
    compare(`connection lookup, one by one, ${what}`, single!, { ...batch!, name: "a batch" }),
  );
}

/** Writes the table of some manifests; answers with its file. */
function writeTable(bench: Bench, name: string, manifests: string): string {
  const nothing = { aclRules: "", prefixes: "", tuples: new Uint8Array() };
  return writeWorkload(bench, name, { manifests, ...nothing }).table;
}

async function benchPath(bench: Bench, flows: number): Promise<void> {
  const what = `${count(flows)} flows`;
  bench.progress.update(`whole path, ${what}`);
  const table = writeTable(bench, "path", pathManifests);
  const takers: TurnTaker[] = [];
  for (const way of ["batch", "single", "parse"]) {
    takers.push(await startTurnTaker(way, nativeBench, ["path", table, `${flows}`, way]));
  }
  const measured = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers(measured);
  const [batch, single, parse] = measured;
  bench.rows.push(
    compare(
      `whole path in memory, established, batch 64, ${what}`,
      batch!,
      { ...parse!, name: "parsing alone" },
      reach.path.get(flows),
    ),
    compare(`whole path in memory, established, one by one, ${what}`, single!, {
      ...batch!,
      name: "a batch",
    }),
  );
}

async function benchFlood(bench: Bench, syns: number, connectionsMax: number): Promise<void> {
  bench.progress.update(`flood of ${count(syns)} SYNs`);
  const table = writeTable(bench, "path", pathManifests);
  const takers = [
    await startTurnTaker("flood", nativeBench, [
      ...["flood", table, `${syns}`, `${connectionsMax}`],
    ]),
    await startTurnTaker("path", nativeBench, ["path", table, `${floodEstablished}`, "batch"]),
  ];
  const [flood, path] = await takeTurns(takers, bench.rounds, bench.signal);
  const name = `a SYN of a flood of ${count(syns)}, batch 64`;
  const row = compare(name, flood!, { ...path!, name: "a packet of an established connection" });
  bench.rows.push(row);
  const resident = flood!.turns.map(({ residentBytes }) => residentBytes ?? 0);
  bench.floods.push({
    syns,
    synsPerSecond: Math.round(1e9 / row.value),
    connectionsMax,
    established: floodEstablished,
    legitimate: floodLegitimate,
    served: Math.min(...flood!.turns.map(({ answers }) => answers)),
    residentBytes: [resident[0]!, resident.at(-1)!],
  });
}

async function benchColliding(bench: Bench): Promise<void> {
  bench.progress.update("names that collide");
  const takers: TurnTaker[] = [];
  for (const way of ["chosen", "random"]) {
    takers.push(await startTurnTaker(way, nativeBench, ["colliding", `${collidingFlows}`, way]));
  }
  const [chosen, random] = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers([chosen!, random!]);
  const name = "connection lookup, batch 64, names chosen to collide under another secret";
  const against = { ...random!, name: "random names" };
  bench.rows.push(compare(name, chosen!, against, reach.colliding));
}

/** Throws when the sides answer differently: such a benchmark compares nothing. */
function sameAnswers(measured: readonly Measured[]): void {
  const answers = new Set(measured.flatMap(({ turns }) => turns.map((turn) => turn.answers)));
  if (answers.size === 1) return;
  const told = measured.map(({ name, turns }) => `${name}: ${turns[0]?.answers}`).join(", ");
  throw new Error(`the sides of a benchmark answer differently (${told})`);
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function show(
  { rows, floods, mixedFlood, tables, leftOut }: NativeReport,
  { output }: BenchNativeOptions,
  io: Io,
): void {
  if (output === "json") {
    const others = {
      ...(floods.length > 0 && { floods }),
      ...(mixedFlood !== undefined && { mixedFlood }),
      ...(tables.length > 0 && { tables }),
    };
    writeJson(io.stdout, { rows, ...others, leftOut });
    return;
  }
  const cells = rows.map((row) => [
    row.name,
    `${row.ratio.toFixed(2)} ×`,
    row.against,
    `+/- ${Math.round(row.spread * 100)} %`,
    row.reach === undefined ? "" : `${row.reached ? "yes" : "no"} (${row.reach.toFixed(2)})`,
    `${row.value} ns`,
    `${row.base} ns`,
    `${row.p50}`,
    `${row.p99}`,
  ]);
  const header = ["what", "ratio", "against", "spread", "reached", "ours", "theirs", "p50", "p99"];
  io.stdout.write(renderTable(cells, { header, right: [1, 3, 5, 6, 7, 8], ...fitTo(io) }));
  for (const flood of floods) io.stdout.write(floodText(flood));
  if (mixedFlood !== undefined) io.stdout.write(mixedFloodText(mixedFlood));
  for (const table of tables) io.stdout.write(memoryText(table));
  for (const { name, reason } of leftOut) io.stdout.write(`left out: ${name}: ${reason}\n`);
}

function memoryText({ entries, family, bytes, hotBytes, reach, reached }: TableMemory): string {
  const size = (value: number) => `${(value / mebibyte).toFixed(2)} MiB`;
  const aim = reach === undefined ? "" : `; ${reached ? "" : "not "}within ${size(reach)}`;
  return `IPv${family} table of ${count(entries)} entries: ${size(bytes)}, of which packets may touch ${size(hotBytes)}${aim}\n`;
}

function floodText(flood: FloodOutcome): string {
  const { syns, synsPerSecond, connectionsMax, established, legitimate, served } = flood;
  const [first, last] = flood.residentBytes.map((bytes) => (bytes / 1_048_576).toFixed(1));
  return [
    `flood: ${count(syns)} SYNs a round, ${count(synsPerSecond)} a second, against a table of ${count(connectionsMax)} connections`,
    `  served: ${count(served)} of ${count(established)} established and ${count(legitimate)} new connections, in the worst round`,
    `  memory: ${first} MiB after the first round, ${last} MiB after the last`,
    "",
  ].join("\n");
}
