import { expect, test } from "vitest";
import { runBenchFlood } from "../../src/cli/bench-native.js";
import { fakeIo } from "./fake-io.js";

// Goal: a flood takes nothing from anybody else, and says so.
// Method: a short one of the real filter; what counts are connections and memory, not times. The
// colliding names cost the same as any others but for noise, of which the limit leaves plenty.
test("bench flood: everybody else is served, in constant memory", async () => {
  const io = fakeIo();
  const options = { sizes: "200000", rounds: 3, withoutPeers: true, output: "json" } as const;
  expect(await runBenchFlood(options, io)).toBe(0);
  const { rows, floods } = JSON.parse(io.out());
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
});
