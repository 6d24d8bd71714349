import { expect, test } from "vitest";
import { barChart, lineChart } from "../../src/bench/charts.js";

/** The bars that are drawn with a gap, since they go on beyond the picture. */
function cutBars(values: readonly number[]): number {
  const bars = values.map((value, index) => ({
    contender: `peer-${index}`,
    title: `peer ${index}`,
    value,
    low: value,
    high: value,
  }));
  return barChart(bars).split('stroke="var(--card)"').length - 1;
}

test("a few bars that dwarf all others are cut, and only those", () => {
  expect(cutBars([2, 4, 4, 5, 207, 327, 3])).toBe(2);
  expect(cutBars([2, 4, 4, 327])).toBe(1);
  expect(cutBars([780, 460, 490, 400, 7, 4, 670])).toBe(0);
  expect(cutBars([5])).toBe(0);
});

test("axes begin at a round number, and have more than one", () => {
  const line = (contender: string, ys: readonly number[]) => ({
    ...{ contender, title: contender },
    points: ys.map((y, at) => ({ x: 10 ** (at + 1), y })),
  });
  const drawn = lineChart(
    [line("routed", [12_500, 11_000]), line("iptables", [9_000, 1_500])],
    "x",
  );
  const ticks = [...drawn.matchAll(/text-anchor="end">([^<]+)</g)].map(([, text]) => text);
  expect(ticks).toEqual(["1k", "2k", "5k", "10k"]);
  // Names whose lines end at one place stand apart, above the bottom.
  const same = lineChart(
    ["a", "b", "c"].map((name) => line(name, [10, 1])),
    "x",
  );
  const names = [...same.matchAll(/y="([\d.]+)">[abc]</g)].map(([, y]) => Number(y));
  expect(names).toEqual([230, 247, 264]);
});
