import { join } from "node:path";
import { afterEach, assert, beforeEach, describe, test } from "vitest";
import type { ReportDocument } from "../../src/report/document.js";
import { Bench, labObstacle, named, threeTier } from "./lab-harness.js";

// Goal: --live tries the ways between zones with real packets, says what became of them, and leaves no lab behind.
describe.skipIf(labObstacle !== undefined)(named("a report with real packets", labObstacle), () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench?.close());

  test("every connection tried does as the table says, open and closed ones", async () => {
    const zones = join(threeTier, "zones.yaml");
    const words = ["report", "-f", threeTier, "--zones", zones, "--live", "-o", "json"];
    const { code, stdout, stderr } = await bench.run(...words);
    assert.equal(code, 0, stderr);
    const { live, pairs, versions } = JSON.parse(stdout) as ReportDocument;
    assert(live !== null);
    assert.deepEqual(live.contradictions, []);
    assert.equal(live.tried, live.passed + live.refused);
    assert.include(Object.keys(versions), "linux");
    const triedOf = (from: string, to: string) =>
      live.pairs.find((each) => each.from === from && each.to === to);
    assert.isAbove(triedOf("shop", "data")!.passed, 0);
    // What the table closes was refused to each sender that was tried.
    for (const { from, to, ports } of pairs) {
      const tried = triedOf(from, to);
      if (ports === "-" && tried !== undefined) assert.equal(tried.passed, 0, `${from} -> ${to}`);
    }
    assert.isAbove(triedOf("rest", "data")!.refused, 0);
    assert.deepEqual(bench.left(), []);
  });
});
