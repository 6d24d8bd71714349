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

// Goal: the list is that of a map, whatever comes and goes; a list that was given stays as it is.
test(`ObjectList: objects come, change and go (SEED=${seed})`, () => {
  const random = new Random(seed);
  const list = new ObjectList([head("pod-0", 0)]);
  const want = new Map([["pod-0", 0]]);
  const shown = (items: readonly ObjectHead[]) =>
    items.map(({ meta }) => `${meta.name} ${meta.span.line}`).sort();
  for (let step = 1; step < 400; step++) {
    const name = `pod-${random.below(12)}`;
    const before = list.list();
    const wasShown = shown(before);
    if (random.oneIn(2)) {
      list.remove("Namespace", { namespace: "shop", name });
      want.delete(name);
    } else {
      list.put(head(name, step));
      want.set(name, step);
    }
    const found = list.find("Namespace", { namespace: "shop", name });
    expect(found?.meta.span.line).toBe(want.get(name));
    expect(shown(list.list())).toEqual([...want].map((each) => each.join(" ")).sort());
    expect(shown(before)).toEqual(wasShown);
  }
  expect(list.find("Pod", { namespace: "shop", name: "pod-0" })).toBeUndefined();
});
