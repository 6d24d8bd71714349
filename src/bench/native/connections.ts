import { count } from "./report.js";
import { type Bench, nativeBench, sameAnswers, startPeer, writeTable } from "./stage.js";
import { compare, startTurnTaker, type TurnTaker, takeTurns } from "./turns.js";
import { pathManifests } from "./workload.js";

/** Steps that time the connection table alone, and the path that it is part of. */

const floodEstablished = 1_000;
const floodLegitimate = 1_000;
const collidingFlows = 5_000;

/** The targets: the ratio of ours to theirs, at most. */
const reachTracked = new Map([
  [100_000, 0.9],
  [10_000_000, 1],
]);
const reachPath = new Map([[100_000, 3]]);
const reachColliding = 2;

export async function benchTracked(bench: Bench, flows: number): Promise<void> {
  const what = `${count(flows)} flows`;
  bench.report(`connection table of ${what}`);
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
    bench.rows.push(compare(name, batch!, hash, reachTracked.get(flows)));
  }
  bench.rows.push(
    compare(`connection lookup, one by one, ${what}`, single!, { ...batch!, name: "a batch" }),
  );
}

export async function benchPath(bench: Bench, flows: number): Promise<void> {
  const what = `${count(flows)} flows`;
  bench.report(`whole path, ${what}`);
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
      reachPath.get(flows),
    ),
    compare(`whole path in memory, established, one by one, ${what}`, single!, {
      ...batch!,
      name: "a batch",
    }),
  );
}

export async function benchFlood(
  bench: Bench,
  syns: number,
  connectionsMax: number,
): Promise<void> {
  bench.report(`flood of ${count(syns)} SYNs`);
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

export async function benchColliding(bench: Bench): Promise<void> {
  bench.report("names that collide");
  const takers: TurnTaker[] = [];
  for (const way of ["chosen", "random"]) {
    takers.push(await startTurnTaker(way, nativeBench, ["colliding", `${collidingFlows}`, way]));
  }
  const [chosen, random] = await takeTurns(takers, bench.rounds, bench.signal);
  sameAnswers([chosen!, random!]);
  const name = "connection lookup, batch 64, names chosen to collide under another secret";
  const against = { ...random!, name: "random names" };
  bench.rows.push(compare(name, chosen!, against, reachColliding));
}
