import { expect, test } from "vitest";
import { barChart } from "../../src/bench/charts.js";

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
