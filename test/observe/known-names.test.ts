import { assert, describe, test } from "vitest";
import type { ObjectHead } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import type { FlowFilterFlag } from "../../src/observe/flow-filter.js";
import { KnownNames } from "../../src/observe/known-names.js";

const podCount = 5_000;

/** Pods that count how often they are looked at. */
function countedPods() {
  const { objects } = parseManifests(
    '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{}}',
    "pod.json",
  );
  const [pod] = objects;
  assert.equal(pod?.kind, "Pod");
  let looks = 0;
  const pods = Array.from({ length: podCount }, (_, i) => {
    const meta = { ...pod!.meta, name: `web-${i}` };
    return Object.defineProperty({ ...pod }, "meta", {
      get: () => {
        looks++;
        return meta;
      },
    }) as ObjectHead;
  });
  return { pods, looks: () => looks };
}

/** Searches, and tells how many objects each step looked at. */
function search(asked: Partial<Record<FlowFilterFlag, readonly string[]>>) {
  const { pods, looks } = countedPods();
  const names = new KnownNames((flag) => asked[flag] ?? []);
  const sizes: number[] = [];
  for (const step of names.steps(pods)) {
    const before = looks();
    step();
    sizes.push(looks() - before);
  }
  return { sizes, unknown: names.unknown };
}

describe("the steps of a search for names", () => {
  test("names that exist are compared with none, and end their search", () => {
    const { sizes, unknown } = search({ pod: ["shop/web-1", "web-4999"], namespace: ["shop"] });
    assert.deepEqual(sizes, [4_096, 4_096, podCount - 4_096, 4_096]);
    assert.deepEqual(unknown, []);
  });

  test("a name that nothing has is compared with few objects a step, after the whole search", () => {
    const { sizes, unknown } = search({ pod: ["wbe-4999"] });
    assert.deepEqual(sizes.slice(0, 2), [4_096, podCount - 4_096]);
    const compared = sizes.slice(2);
    assert.equal(Math.max(...compared), 128);
    assert.equal(
      compared.reduce((a, b) => a + b),
      podCount,
    );
    assert.deepEqual(unknown, [{ flag: "pod", value: "wbe-4999", near: "web-4999" }]);
  });

  test("each step is for one name", () => {
    const one = search({ pod: ["wbe-1"] }).sizes;
    assert.deepEqual(search({ pod: ["wbe-1", "bew-2"] }).sizes, [...one, ...one]);
  });
});
