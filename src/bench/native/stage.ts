import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "../../compiler/compile.js";
import { parseManifests } from "../../manifest/parse.js";
import type { MixedFlood } from "./mixed-flood.js";
import type { FloodOutcome, TableMemory } from "./report.js";
import { type Measured, type Row, startTurnTaker, type TurnTaker } from "./turns.js";
import type { LookupWorkload } from "./workload.js";

const packageRoot = fileURLToPath(new URL("../../..", import.meta.url));
export const nativeBench = join(packageRoot, "build/Release/native_bench");
const dpdkPeers = join(packageRoot, "build/Release/dpdk_peers");

/** Says why native structures cannot be measured here; undefined when they can. */
export function whyNotBuilt(): string | undefined {
  return existsSync(nativeBench)
    ? undefined
    : "the native benchmarks are not built: they come with a checkout, not with the package";
}

/** What the caller of a measurement decides. */
export interface NativeSettings {
  readonly rounds: number;
  readonly withoutPeers: boolean;
  /** Told the step that is under way; a detail may follow. */
  readonly report: (step: string, detail?: string) => void;
  readonly signal?: AbortSignal;
}

/** What all steps of a measurement share. */
export interface Bench extends Omit<NativeSettings, "withoutPeers"> {
  /** A folder for tables and packets; removed when the measurement ends. */
  readonly folder: string;
  /** Measures only figures that have a target, in little time. */
  readonly short: boolean;
  /** The program of DPDK's structures; undefined where there is none. */
  readonly peers: string | undefined;
  readonly rows: Row[];
  readonly floods: FloodOutcome[];
  mixedFlood?: MixedFlood;
  readonly tables: TableMemory[];
  readonly leftOut: { readonly name: string; readonly reason: string }[];
}

/** Lends a folder, and the peers where there are any. */
export async function withBench<Result>(
  { withoutPeers, ...settings }: NativeSettings & { readonly short: boolean },
  use: (bench: Bench) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  try {
    const leftOut: Bench["leftOut"] = [];
    const peers = withoutPeers ? undefined : findPeers(settings.report, leftOut, !settings.short);
    return await use({ ...settings, folder, peers, rows: [], floods: [], tables: [], leftOut });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Builds the programs of bench/peers where DPDK's headers are; says so where they are not. */
function findPeers(
  report: NativeSettings["report"],
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
  report("building the peers");
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
export interface Files {
  readonly table: string;
  readonly tuples: string;
  readonly rules: string;
  readonly prefixes: string;
  readonly blob: Uint8Array;
}

export function writeWorkload(bench: Bench, name: string, workload: LookupWorkload): Files {
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

/** Starts a peer; one that cannot do this work is left out, with its reason. */
export async function startPeer(
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

/** Writes the table of some manifests; answers with its file. */
export function writeTable(bench: Bench, name: string, manifests: string): string {
  const nothing = { aclRules: "", prefixes: "", tuples: new Uint8Array() };
  return writeWorkload(bench, name, { manifests, ...nothing }).table;
}

/** Throws when the sides answer differently: such a benchmark compares nothing. */
export function sameAnswers(measured: readonly Measured[]): void {
  const answers = new Set(measured.flatMap(({ turns }) => turns.map((turn) => turn.answers)));
  if (answers.size === 1) return;
  const told = measured.map(({ name, turns }) => `${name}: ${turns[0]?.answers}`).join(", ");
  throw new Error(`the sides of a benchmark answer differently (${told})`);
}
