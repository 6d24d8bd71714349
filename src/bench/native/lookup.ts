import { hotBytesOf } from "../../compiler/hot-bytes.js";
import { Table, TupleBatch } from "../../dataplane/table.js";
import { FlowTuple, readFlowTuple } from "../../layout/layout.gen.js";
import { count } from "./report.js";
import {
  type Bench,
  type Files,
  nativeBench,
  sameAnswers,
  startPeer,
  writeWorkload,
} from "./stage.js";
import {
  compare,
  fastestOf,
  type Measured,
  startTurnTaker,
  type Turn,
  type TurnTaker,
  takeTurns,
} from "./turns.js";
import { makeLookupWorkload } from "./workload.js";

/** Steps that time the table alone: verdicts of policies of several sizes. */

const lookupFlows = 1_000_000;
const shortFlows = 262_144;
const aclWays = ["scalar", "avx2", "avx512x16", "avx512x32"];
const classifyTuples = 16_384;
const callTuples = 256;

/** The targets: the ratio of ours to theirs, at most; bytes. */
const reachTable = new Map([
  [1_000, 1 / 3],
  [100_000, 1 / 10],
]);
const reachV6 = 0.6;
const reachGrowth = 2;
const reachClassify = 1.5;
const reachHotBytes = new Map([[100_000, 2 * 1_048_576]]);

function noteMemory(bench: Bench, entries: number, family: 4 | 6, blob: Uint8Array): void {
  const hotBytes = hotBytesOf(blob)[family === 4 ? "ipv4" : "ipv6"];
  const reached = reachHotBytes.get(entries);
  bench.tables.push({
    entries,
    family,
    bytes: blob.byteLength,
    hotBytes,
    ...(reached === undefined ? {} : { reach: reached, reached: hotBytes <= reached }),
  });
}

/** Tables of several sizes, and how a verdict grows from the smallest to the largest. */
export async function benchTables(bench: Bench, sizes: readonly number[]): Promise<void> {
  const fastest: [size: number, measured: Measured][] = [];
  for (const entries of sizes) fastest.push([entries, await benchTable(bench, entries)]);
  const [smallest, largest] = [fastest[0]!, fastest.at(-1)!];
  if (smallest === largest) return;
  const [[few, least], [many, most]] = [smallest, largest];
  const name = `growth of a verdict from ${count(few)} to ${count(many)} entries`;
  bench.rows.push(compare(name, most, { ...least, name: `${count(few)} entries` }, reachGrowth));
}

/** DPDK's table, in each way that the processor has; in the last of them where time is short. */
async function startAcl(
  bench: Bench,
  entries: number,
  files: Files,
): Promise<readonly TurnTaker[]> {
  const start = (way: string) => {
    bench.report(`table of ${count(entries)} entries`, `building rte_acl, ${way}`);
    return startPeer(bench, `rte_acl ${way}`, ["acl", files.rules, files.tuples, way]);
  };
  const takers: TurnTaker[] = [];
  if (!bench.short) {
    for (const way of aclWays) takers.push(...(await start(way)));
  } else if (reachTable.has(entries)) {
    for (const way of aclWays.toReversed()) {
      if (takers.length === 0) takers.push(...(await start(way)));
    }
  }
  return takers;
}

async function benchTable(bench: Bench, entries: number): Promise<Measured> {
  const what = `${count(entries)} entries`;
  bench.report(`table of ${what}`);
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
  bench.report(`table of ${what}`, "measuring");
  const measured = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers(measured);
  const [fastest, ...others] = measured;
  const best = fastestOf(others.slice(ourWays.length - 1));
  const name = `verdict by the table, batch 64, ${what}`;
  if (best !== undefined) {
    bench.rows.push(compare(name, fastest!, best, reachTable.get(entries)));
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

export async function benchTableV6(bench: Bench, entries: number): Promise<void> {
  const what = `${count(entries)} entries`;
  bench.report(`IPv6 table of ${what}`);
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
  bench.rows.push(compare(`IPv6 verdict, batch 64, ${what}`, ours!, fib, reachV6));
}

/** The same tuples from JavaScript, 256 a call, and from C++. */
export async function benchClassify(bench: Bench, entries: number): Promise<void> {
  bench.report("table.classify");
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
  bench.rows.push(compare(name, script!, native!, reachClassify));
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
