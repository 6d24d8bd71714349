import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { storm } from "./storm.js";

// Goal: 10,000 pod events a minute are applied in order, and none is lost.
// Method: the real way from HTTPS to a swapped native table, for some seconds; `npm run storm` takes a
// minute and a larger cluster. Times are printed, not asserted.
test("10,000 pod events a minute are applied in order", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-storm-"));
  try {
    const result = await storm({
      seconds: Number(process.env["STORM_SECONDS"] ?? 6),
      eventsAMinute: 10_000,
      pods: Number(process.env["STORM_PODS"] ?? 500),
      kubeconfig: join(folder, "config"),
    });
    const { events, tables, p50Ms, p99Ms } = result;
    console.log(
      `${events} events in ${tables} tables, in force after ${p50Ms.toFixed(1)} ms (p50), ${p99Ms.toFixed(1)} ms (p99)`,
    );
    expect(result).toMatchObject({ backwards: 0, isComplete: true });
    expect(events).toBe(Math.round((Number(process.env["STORM_SECONDS"] ?? 6) * 10_000) / 60));
    expect(tables).toBeGreaterThan(10);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 180_000);
