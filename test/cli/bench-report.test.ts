import { expect, test } from "vitest";
import type { Report } from "../../src/bench/report.js";
import { reportText } from "../../src/cli/bench-report.js";
import { fakeIo } from "./fake-io.js";

test("a report fits into 100 columns where there is no terminal", () => {
  const long = "a name that says more than a row has room for, and then some more";
  const figures = { ratio: 1.5, spread: 0.1, value: 3, base: 2, unit: "us", noisy: false };
  const report: Report = {
    rows: [{ name: long, against: long, by: long, better: "less", ...figures }],
    verdicts: [],
    results: [],
    memory: [],
    leftOut: [{ contender: "bridge", title: long, reason: long }],
    noise: { noisy: false, reasons: [] },
    machine: { cpus: 2, model: "a CPU", kernel: "6.1", node: "22" },
    rounds: 1,
    seconds: 1,
  } as unknown as Report;
  const lines = reportText(report, fakeIo()).split("\n");
  const tables = lines.filter((line) => line.includes("a name"));
  expect(tables).toHaveLength(2);
  for (const line of tables) expect(line.length).toBeLessThanOrEqual(100);
});
