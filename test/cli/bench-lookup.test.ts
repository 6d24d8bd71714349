import { expect, test } from "vitest";
import { runBenchLookup } from "../../src/cli/bench-native.js";
import { fakeIo } from "./fake-io.js";

// Goal: the command says of each table it judges by how large it is, and what of it is hot.
// Method: the smallest tables and one round; what counts are sizes, not times.
test("bench lookup: tells what a table takes, and what of it packets may touch", async () => {
  const io = fakeIo();
  const options = { sizes: "10", rounds: 1, withoutPeers: true, output: "json" } as const;
  expect(await runBenchLookup(options, io)).toBe(0);
  const { tables } = JSON.parse(io.out());
  expect(tables.map(({ family }: { family: number }) => family)).toEqual([4, 6]);
  for (const { entries, bytes, hotBytes } of tables) {
    expect(entries).toBe(10);
    // A root of 65,536 entries, nodes and pages; the other family's root and provenance are not hot.
    expect(hotBytes).toBeGreaterThan(262_144);
    expect(hotBytes).toBeLessThan(bytes - 262_144);
  }
});
