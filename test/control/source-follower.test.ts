import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Controller } from "../../src/control/controller.js";
import type { ManifestSource } from "../../src/control/source.js";
import { SourceFollower } from "../../src/control/source-follower.js";

// Goal:   between two updates is a pause, which an urgent change ends and no other does.
// Method: a source that says when the test wants; the clock of the pause stands still.
let changed: (isUrgent?: boolean) => void;
let taken: number;
let follower: SourceFollower;
/** Holds each update until it settles. */
let held: Promise<void>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  taken = 0;
  held = Promise.resolve();
  const source: ManifestSource = {
    follow: (call) => {
      changed = call;
    },
    take: async () => {
      taken++;
      await held;
      return { changes: [], heardMs: [], diagnostics: [] };
    },
    isBehind: false,
    status: () => undefined,
    close: () => {},
  };
  const controller = new Controller({
    take: () => source.take(),
    local: () => "all",
    enforce: () => 1,
  });
  follower = new SourceFollower({ source, controller, after: () => {} });
});
afterEach(() => {
  follower.close();
  vi.useRealTimers();
});

/** Until all that is ready to run has run. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test("a change in the pause waits for its end, an urgent one does not", async () => {
  changed();
  await turns();
  changed();
  await turns();
  expect(taken).toBe(1);
  changed(true);
  await turns();
  expect(taken).toBe(2);
  changed();
  await turns();
  expect(taken).toBe(2);
  vi.runAllTimers();
  await turns();
  expect(taken).toBe(3);
});

test("after an urgent change during an update there is no pause", async () => {
  let release = () => {};
  held = new Promise((resolve) => {
    release = resolve;
  });
  changed();
  await turns();
  changed(true);
  release();
  await turns();
  vi.advanceTimersByTime(0);
  await turns();
  expect(taken).toBe(2);
});
