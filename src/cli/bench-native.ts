import {
  measureConntrack,
  measureFlood,
  measureLookup,
  usualSizes,
} from "../bench/native/measure.js";
import { groupNames, lostOf, type MixedFlood } from "../bench/native/mixed-flood.js";
import {
  count,
  type FloodOutcome,
  type NativeReport,
  type TableMemory,
} from "../bench/native/report.js";
import { type NativeSettings, whyNotBuilt } from "../bench/native/stage.js";
import { CONNECTIONS_MAX } from "../layout/layout.gen.js";
import { checkMost } from "./arguments.js";
import type { BenchFloodOptions, BenchNativeOptions } from "./bench-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { fitTo, renderTable, writeJson } from "./output.js";
import { createProgress } from "./progress.js";

const roundsUsual = 7;
/** The connection table that a flood meets, and for how long in simulated time. */
const floodConnectionsUsual = 65_536;
const floodSecondsUsual = 180;
const floodSecondsMax = 3_600;

export function runBenchLookup(options: BenchNativeOptions, io: Io): Promise<number> {
  return runNative(options, io, usualSizes.lookup, measureLookup);
}

export function runBenchConntrack(options: BenchNativeOptions, io: Io): Promise<number> {
  return runNative(options, io, usualSizes.conntrack, measureConntrack);
}

export async function runBenchFlood(options: BenchFloodOptions, io: Io): Promise<number> {
  const { connections = floodConnectionsUsual, seconds = floodSecondsUsual } = options;
  checkMost("--connections", connections, CONNECTIONS_MAX);
  checkMost("--seconds", seconds, floodSecondsMax);
  return runNative(options, io, usualSizes.flood, (sizes, settings) =>
    measureFlood(sizes, { seconds, connections }, settings),
  );
}

async function runNative(
  options: BenchNativeOptions,
  io: Io,
  sizesKnown: readonly number[],
  measure: (sizes: readonly number[], settings: NativeSettings) => Promise<NativeReport>,
): Promise<number> {
  const sizes = options.sizes === undefined ? sizesKnown : readSizes(options.sizes, sizesKnown);
  const why = whyNotBuilt();
  if (why !== undefined) {
    throw new CommandError(exitCodes.environment, why, "npm run setup, in a checkout");
  }
  const progress = createProgress(io);
  const { rounds = roundsUsual, withoutPeers } = options;
  const settings = { rounds, withoutPeers, report: progress.update };
  const report = await measure(sizes, settings).finally(() => progress.finish());
  show(report, options, io);
  return exitCodes.ok;
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
  const size = (value: number) => `${(value / 1_048_576).toFixed(2)} MiB`;
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

function mixedFloodText(flood: MixedFlood): string {
  const yes = (value: boolean) => (value ? "yes" : "no");
  const { seconds, pods, frames, nsPerFrame, connectionsMax, quota, inUse, evicted } = flood;
  const rows = Object.entries(groupNames).map(([name, told]) => {
    const group = flood.groups.find((each) => each.name === name)!;
    const { tried, refused, cut, unclosed } = group;
    const share = `${((lostOf(group) / tried) * 100).toFixed(2)} %`;
    return [told, ...[tried, refused, cut, unclosed].map(count), share];
  });
  const header = ["floods at once", "tried", "refused", "cut", "not closed", "lost"];
  const gaveWay = Object.entries(evicted).map(([name, value]) => `${count(value)} ${name}`);
  const memory = flood.residentBytes.map((bytes) => (bytes / 1_048_576).toFixed(1));
  return [
    renderTable(rows, { header, right: [1, 2, 3, 4, 5] }).trimEnd(),
    `${count(seconds)} simulated seconds, ${count(frames)} frames, ${nsPerFrame} ns each; a table of ${count(connectionsMax)} connections for ${pods} pods, ${count(quota)} for each`,
    `  gave way: ${gaveWay.join(", ")}; in use at the end: ${count(inUse)}`,
    `  memory: ${memory.join(", ")} MiB, at the beginning and after each sixth of the time`,
    `  under 0.1 % of the other pods' new connections lost: ${yes(flood.reached.others)}; no established one lost: ${yes(flood.reached.established)}; memory within 1 % in the last third: ${yes(flood.reached.memory)}`,
    "",
  ].join("\n");
}
