import { expect, test } from "vitest";
import { ObjectList } from "../../src/control/object-list.js";
import type { ObjectHead } from "../../src/manifest/objects.js";
import { Random } from "../property/random.js";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function head(name: string, version: number): ObjectHead {
  const span = { file: "", line: version, column: 0, endLine: 0, endColumn: 0 };
  const meta = { namespace: "shop", name, labels: new Map(), annotations: new Map(), span };
  return { kind: "Namespace", meta } as ObjectHead;
}

// Goal: the list is that of a map, whatever comes and goes; a view stays as it is.
// Method: more objects than a chunk has; first more come than go, then the other way round.
test(`ObjectList: objects come, change and go (SEED=${seed})`, () => {
  const random = new Random(seed);
  const names = Array.from({ length: 1_100 }, (_, each) => `pod-${each}`);
  const list = new ObjectList(names.map((name) => head(name, 0)));
  const want = new Map(names.map((name) => [name, 0]));
  const shown = (items: readonly ObjectHead[]) =>
    items.map(({ meta }) => `${meta.name} ${meta.span.line}`).sort();
  const steps = 400;
  for (let step = 1; step < steps; step++) {
    const name = `pod-${random.below(1_300)}`;
    const before = list.view();
    // Half of the views are asked only when the list is another one.
    const wasShown = [...want].map((each) => each.join(" ")).sort();
    if (random.oneIn(2)) void before.all;
    if (random.below(steps) < step) {
      list.remove("Namespace", { namespace: "shop", name });
      want.delete(name);
    } else {
      list.put(head(name, step));
      want.set(name, step);
    }
    const found = list.find("Namespace", { namespace: "shop", name });
    expect(found?.meta.span.line).toBe(want.get(name));
    expect(shown(list.view().all)).toEqual([...want].map((each) => each.join(" ")).sort());
    expect(shown(before.all)).toEqual(wasShown);
    // A removal moves the last object, so at most two pieces are others.
    const known = new Set(before.pieces);
    expect(list.view().pieces.filter((piece) => !known.has(piece)).length).toBeLessThanOrEqual(2);
  }
  expect(list.find("Pod", { namespace: "shop", name: "pod-0" })).toBeUndefined();
});
