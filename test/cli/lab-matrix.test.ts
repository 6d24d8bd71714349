import { expect, test } from "vitest";
import { reportProbes } from "../../src/cli/lab-matrix.js";
import type { ProbeReport, ProbeRow } from "../../src/lab/protocol.js";
import { fakeIo } from "./fake-io.js";

/** Every pair of so many pods; those of the numbers in `wrong` differ. */
function probing(pods: number, wrong: number): ProbeReport {
  const probes: ProbeRow[] = [];
  for (let from = 0; from < pods; from++) {
    for (let to = 0; to < pods; to++) {
      if (from === to) continue;
      const agrees = probes.length >= wrong;
      const expected = to % 2 === 0 ? "allow" : "deny";
      probes.push({
        ...{ id: `probe-${probes.length}`, src: `demo/client-${from}`, dst: `demo/client-${to}` },
        ...{ srcIP: `10.0.0.${from}`, dstIP: `10.0.0.${to}`, protocol: "TCP", port: 80 },
        ...{ expected, deniedBy: [], observed: agrees ? expected : "error" },
        ...{ outcome: agrees ? "answered" : "EIO", roundTripUs: 10, agrees },
      });
    }
  }
  return { ok: wrong === 0, generation: 3, elapsedMs: 400, probes };
}

const widest = (text: string) => Math.max(...text.split("\n").map((line) => line.length));

test("a few pods: a grid", () => {
  const text = reportProbes(probing(3, 0), true, fakeIo());
  expect(text).toContain("TO \\ FROM");
  expect(text).toMatch(/all 6 connections behave as the table says \(generation 3, 0\.4 s\)\n$/);
});

test("fifty pods: what differs first, the rest as a count, within 100 columns", () => {
  const text = reportProbes(probing(50, 3), true, fakeIo());
  expect(widest(text)).toBeLessThanOrEqual(100);
  expect(text.split("\n").slice(0, 4)).toEqual([
    "  differs probe-0: the table says deny, the packets error (EIO)",
    "  differs probe-1: the table says allow, the packets error (EIO)",
    "  differs probe-2: the table says deny, the packets error (EIO)",
    "as the table says: 1224 allowed, 1223 denied (a grid would be wider than this; -o json has all)",
  ]);
  expect(text).toContain("3 of 2450 connections behave otherwise");
});

test("a wider terminal has room for the grid", () => {
  const io = fakeIo({ terminal: true });
  const wide = { ...io, stdout: { ...io.stdout, columns: 140 } };
  expect(reportProbes(probing(10, 0), true, io)).not.toContain("TO \\ FROM");
  expect(reportProbes(probing(10, 0), true, wide)).toContain("TO \\ FROM");
});

test("of many that differ some are told, and how many there are", () => {
  const text = reportProbes(probing(50, 2_450), true, fakeIo());
  expect(text.match(/differs/g)).toHaveLength(20);
  expect(text).toContain("  and 2430 more; -o json has all\n");
});

test("one connection is one", () => {
  const [first] = probing(2, 0).probes;
  const text = reportProbes({ ...probing(2, 0), probes: [first!] }, false, fakeIo());
  expect(text).toContain("the 1 connection behaves as the table says");
});
