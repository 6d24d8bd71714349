import { expect, test } from "vitest";
import { readProcessHits } from "../../src/cli/process-hits.js";
import type { ControlClient } from "../../src/control/client.js";

/** A process in which another table comes into force before each of these answers. */
function processWith(generations: readonly number[]): { client: ControlClient; asked: string[] } {
  const asked: string[] = [];
  const list = async (_: string, path: string, sink: { onItem(item: object): void }) => {
    const generation = generations[asked.length] ?? generations.at(-1)!;
    asked.push(path);
    sink.onItem({ of: generation });
    return { generation };
  };
  return { client: { list } as never, asked };
}

// Goal: what is said of a policy and of its rules is of one table.
test("both lists are asked for until they are of one table", async () => {
  const { client, asked } = processWith([1, 2, 2, 3, 4]);
  const { policies, rules, tail } = await readProcessHits(client);
  expect([policies, rules]).toEqual([[{ of: 4 }], [{ of: 4 }]]);
  expect(tail.generation).toBe(4);
  expect(asked).toEqual(["/policies", "/rules", "/policies", "/rules", "/policies", "/rules"]);
});

test("a process whose tables change faster than they are read is told", async () => {
  const { client } = processWith(Array.from({ length: 100 }, (_, index) => index));
  await expect(readProcessHits(client)).rejects.toThrow(/^another table has come into force each/);
});
