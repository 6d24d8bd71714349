import { expect, test } from "vitest";
import { readProcessHits } from "../../src/cli/process-hits.js";
import type { ControlClient } from "../../src/control/client.js";

const none = { packets: 0, bytes: 0, connections: 0, lastHit: null };
const named = { kind: "NetworkPolicy", namespace: "shop", name: "web" };
const rightRule = {
  ...named,
  direction: "ingress",
  field: "spec.ingress[0]",
  hits: none,
  audited: none,
};
const sides = { ingress: none, egress: none };
const rightHits = { since: "2026-01-01T00:00:00Z", rules: none, denied: sides, audited: sides };

/** A process in which another table comes into force before each of these answers. */
function processWith(generations: readonly number[]): { client: ControlClient; asked: string[] } {
  const asked: string[] = [];
  const list = async (_: string, path: string, sink: { onItem(item: object): void }) => {
    const generation = generations[asked.length] ?? generations.at(-1)!;
    asked.push(path);
    const item = path === "/rules" ? rightRule : { ...named, hits: null };
    sink.onItem({ ...item, of: generation });
    return { generation };
  };
  return { client: { list } as never, asked };
}

// Goal: what is said of a policy and of its rules is of one table.
test("both lists are asked for until they are of one table", async () => {
  const { client, asked } = processWith([1, 2, 2, 3, 4]);
  const { policies, rules, tail } = await readProcessHits(client);
  expect([policies, rules]).toMatchObject([[{ of: 4 }], [{ of: 4 }]]);
  expect(tail.generation).toBe(4);
  expect(asked).toEqual(["/policies", "/rules", "/policies", "/rules", "/policies", "/rules"]);
});

test("a process whose tables change faster than they are read is told", async () => {
  const { client } = processWith(Array.from({ length: 100 }, (_, index) => index));
  await expect(readProcessHits(client)).rejects.toThrow(/^another table has come into force each/);
});

// Goal: what answers on a socket may be another version, or somebody else: its answer is refused, and not worked with.
test.each<[string, unknown, unknown]>([
  ["a policy is null", null, rightRule],
  ["a name is a map", { ...named, name: {}, hits: null }, rightRule],
  ["hits are a number", { ...named, hits: 7 }, rightRule],
  ["a side is missing", { ...named, hits: { ...rightHits, denied: {} } }, rightRule],
  [
    "a count is a text",
    { ...named, hits: { ...rightHits, rules: { ...none, bytes: "1" } } },
    rightRule,
  ],
  ["a rule has no hits", { ...named, hits: rightHits }, { ...rightRule, hits: undefined }],
  [
    "a time is none",
    { ...named, hits: rightHits },
    { ...rightRule, hits: { ...none, lastHit: "x" } },
  ],
])("odd items are refused: %s", async (_, policy, rule) => {
  const list = async (_: string, path: string, sink: { onItem(item: unknown): void }) => {
    sink.onItem(path === "/rules" ? rule : policy);
    return { generation: 1 };
  };
  const client = { list } as never;
  await expect(readProcessHits(client)).rejects.toThrow(/^got hits that are none/);
});
