import { freemem } from "node:os";
import { benchColliding, benchFlood, benchPath, benchTracked } from "./connections.js";
import { benchClassify, benchTables, benchTableV6 } from "./lookup.js";
import { measureMixedFlood } from "./mixed-flood.js";
import { count, type NativeReport } from "./report.js";
import { type NativeSettings, nativeBench, whyNotBuilt, withBench, writeTable } from "./stage.js";
import { floodManifests } from "./workload.js";

/** Numbers of entries, flows or SYNs that are measured when nobody names others; none may be larger. */
export const usualSizes = {
  lookup: [10, 1_000, 10_000, 100_000],
  conntrack: [1_000, 100_000, 1_000_000, 10_000_000],
  flood: [10_000_000],
} as const;

const shortRounds = 5;
const shortSizes = [10, 1_000, 100_000];
const shortTracked = 100_000;
const shortMs = 25_000;
/** What a tracked flow takes, ours and the peer's together, in bytes. */
const flowBytes = 450;
/** More flows than this give no new figure: their frames alone fill the caches. */
const pathFlowsMax = 1_000_000;

/** Times the table alone, in the number of entries, beside DPDK's rte_acl and rte_fib6. */
export function measureLookup(
  sizes: readonly number[],
  settings: NativeSettings,
): Promise<NativeReport> {
  return withBench({ ...settings, short: false }, async (bench) => {
    await benchTables(bench, sizes);
    for (const entries of sizes) await benchTableV6(bench, entries);
    await benchClassify(bench, sizes.at(-1)!);
    return bench;
  });
}

/**
 * Times the connection table alone, in the number of flows, beside DPDK's rte_hash, and the whole path in memory
 * beside parsing alone.
 */
export function measureConntrack(
  sizes: readonly number[],
  settings: NativeSettings,
): Promise<NativeReport> {
  return withBench({ ...settings, short: false }, async (bench) => {
    for (const flows of sizes) {
      if (flows * flowBytes > freemem()) {
        const reason = `${count(flows)} flows need more memory than is free`;
        bench.leftOut.push({ name: `${count(flows)} flows`, reason });
        continue;
      }
      await benchTracked(bench, flows);
      if (flows <= pathFlowsMax) await benchPath(bench, flows);
    }
    return bench;
  });
}

/**
 * Times what an attacker may choose: a flood of so many SYNs beside established connections, and names of connections
 * that were chosen to collide. Counts the losses of each party in several simultaneous floods, of `seconds` of
 * simulated time, against a table of `connections`.
 */
export function measureFlood(
  sizes: readonly number[],
  { seconds, connections }: { readonly seconds: number; readonly connections: number },
  settings: NativeSettings,
): Promise<NativeReport> {
  return withBench({ ...settings, short: false }, async (bench) => {
    for (const syns of sizes) await benchFlood(bench, syns, connections);
    await benchColliding(bench);
    bench.report("floods of all kinds at once");
    const table = writeTable(bench, "mixed-flood", floodManifests);
    bench.mixedFlood = await measureMixedFlood(nativeBench, table, { seconds, connections });
    return bench;
  });
}

/**
 * Measures, for `sluice bench`, the figures of the table and the connection table that are aimed at:
 * fewer sizes and rounds than the functions above.
 *
 * Cost:   some twenty seconds, no more than `shortMs` and one step: what is then missing is left out.
 *         DPDK's programs are not built for it.
 * Errors: when `signal` aborts, its reason.
 */
export async function measureNativeFigures(
  report: NativeSettings["report"],
  signal: AbortSignal,
): Promise<Pick<NativeReport, "rows" | "leftOut">> {
  const reason = whyNotBuilt();
  if (reason !== undefined) return { rows: [], leftOut: [{ name: "native structures", reason }] };
  const started = performance.now();
  const largest = shortSizes.at(-1)!;
  const settings = { rounds: shortRounds, short: true, withoutPeers: false, report, signal };
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
