import { expect, test } from "vitest";
import { runBenchFlood } from "../../src/cli/bench-native.js";
import type { BenchFloodOptions } from "../../src/cli/bench-spec.js";
import { CONNECTIONS_MAX } from "../../src/layout/layout.gen.js";
import { fakeIo } from "./fake-io.js";

// Goal: a flood takes nothing from anybody else, and says so.
// Method: a short one of the real filter, and some simulated seconds of floods at once; what counts
// are connections and memory, not times. The colliding names cost the same as any others but for
// noise, of which the limit leaves plenty.
test("bench flood: everybody else is served, in constant memory", async () => {
  const io = fakeIo();
  const options: BenchFloodOptions = {
    sizes: "200000",
    rounds: 3,
    withoutPeers: true,
    seconds: 6,
    output: "json",
  };
  expect(await runBenchFlood(options, io)).toBe(0);
  const { rows, floods, mixedFlood } = JSON.parse(io.out());
  expect(floods).toHaveLength(1);
  const [{ syns, synsPerSecond, established, legitimate, served, residentBytes }] = floods;
  expect(syns).toBe(200_000);
  expect(synsPerSecond).toBeGreaterThan(0);
  expect(served).toBe(established + legitimate);
  expect(residentBytes[1]).toBeLessThanOrEqual(residentBytes[0] + 65_536);
  expect(rows.map(({ against }: { against: string }) => against)).toEqual([
    "a packet of an established connection",
    "random names",
  ]);
  expect(rows[1]).toMatchObject({ reach: 2, reached: true });

  // Some seconds of each flood are many times a pod's part of the table.
  const { seconds, frames, pods, quota, connectionsMax, groups, evicted } = mixedFlood;
  expect({ seconds, connectionsMax, quota }).toEqual({
    seconds: 6,
    connectionsMax: 65_536,
    quota: Math.floor(65_536 / pods),
  });
  expect(frames).toBeGreaterThan(6 * 2 * (10_000 + 4_000 + 65_000));
  const of = (name: string) => groups.find((each: { name: string }) => each.name === name);
  const none = { refused: 0, cut: 0, unclosed: 0 };
  expect(of("others")).toEqual({ name: "others", tried: 6_000, ...none });
  expect(of("established")).toEqual({ name: "established", tried: 20 * pods, ...none });
  expect(of("short")).toEqual({ name: "short", tried: 60_000, ...none });
  expect(of("besideShort")).toEqual({ name: "besideShort", tried: 120, ...none });
  expect(of("besideStranger")).toMatchObject({ tried: 120, refused: 0 });
  // What one pod keeps with its ally ends at its part.
  const { tried, refused, cut } = of("ally");
  expect(tried).toBe(120_000);
  expect(tried - refused - cut).toBeGreaterThan(quota / 2);
  expect(tried - refused - cut).toBeLessThanOrEqual(quota);
  for (const each of ["closing", "unanswered", "unassured"]) {
    expect(evicted[each]).toBeGreaterThan(quota);
  }
  expect(evicted.assured).toBe(0);
  expect(mixedFlood.reached).toMatchObject({ others: true, established: true });
  // Never more than all places of the table, and what leads to them.
  const [begin] = mixedFlood.residentBytes;
  expect(mixedFlood.residentBytes).toHaveLength(7);
  expect(mixedFlood.residentBytes.at(-1) - begin).toBeLessThan(connectionsMax * 160);
});

test("bench flood: a table that is too large is a wrong option", async () => {
  const options = { sizes: "1000", rounds: 1, withoutPeers: true, output: "json" } as const;
  await expect(
    runBenchFlood({ ...options, connections: CONNECTIONS_MAX + 1, seconds: 1 }, fakeIo()),
  ).rejects.toThrow(/--connections/);
});
