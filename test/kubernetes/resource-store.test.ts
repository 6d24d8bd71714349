import { expect, test } from "vitest";
import { MemoryBudget } from "../../src/kubernetes/memory-budget.js";
import { PendingChanges } from "../../src/kubernetes/pending-changes.js";
import { ResourceStore } from "../../src/kubernetes/resource-store.js";
import { resources } from "../../src/kubernetes/resources.js";
import { podObject } from "./api-objects.js";

const pods = 1_000;
const slice = 100;

function listed(store: ResourceStore, count = pods): void {
  store.listBegins();
  for (let each = 0; each < count; each++) {
    store.listed({
      ...podObject(`pod-${each}`, { ip: `10.0.${each >> 8}.${each & 255}`, node: "n1" }),
    });
  }
}

// Goal: a long first list lets others have their turns while it takes effect, and is taken as a whole; a later one
//       takes effect at once.
// Method: a clock that says after each hundred objects that others are due.
test("ResourceStore: a first list takes effect in turns, a later one at once", async () => {
  const pending = new PendingChanges();
  const listener = { noted: () => {}, stateChanged: () => {} };
  const store = new ResourceStore(resources[0]!, pending, new MemoryBudget(2 ** 30), listener);
  let isSynced = false;
  void store.synced.then(() => {
    isSynced = true;
  });
  let asked = 0;
  let turns = 0;
  const pace = {
    get isOver() {
      return ++asked % slice === 0;
    },
    turn: async () => {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
      expect(isSynced).toBe(false);
    },
  };
  listed(store);
  await store.listEnds(pace);
  expect(turns).toBe(pods / slice);
  await store.synced;
  expect(store.size).toBe(pods);
  expect(pending.take().changes).toHaveLength(pods);

  listed(store, pods / 2);
  const ended = store.listEnds(pace);
  expect(store.size).toBe(pods / 2);
  expect(pending.take().changes).toHaveLength(pods / 2);
  await ended;
  expect(turns).toBe(pods / slice);
});
