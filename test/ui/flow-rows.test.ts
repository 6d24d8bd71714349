import { expect, test } from "vitest";
import { FlowRows, type SeenFlow } from "../../src/ui/flow-rows.js";

const sample = {
  source: "a",
  sourceAddress: "a",
  destination: "b",
  destinationAddress: "b",
  rule: "",
};

function flow(more: Partial<SeenFlow> = {}): SeenFlow {
  return {
    ...{ from: "shop/web", to: "shop/api", protocol: "TCP", port: 80, verdict: "FORWARDED" },
    ...{ reason: null, connections: 1, packets: 1, bytes: 60, timeMs: 1_000, last: sample },
    ...more,
  };
}

test("flows of one pair, port and verdict are one row", () => {
  const rows = new FlowRows();
  rows.add(flow());
  rows.add(flow({ timeMs: 3_000, bytes: 40 }));
  rows.add(flow({ verdict: "DROPPED", reason: "policy-ingress" }));
  rows.add(flow({ connections: 0, packets: 9, bytes: 900, timeMs: 2_000 }));
  expect(rows.rows).toMatchObject([
    { verdict: "DROPPED", connections: 1, reason: "policy-ingress" },
    {
      verdict: "FORWARDED",
      connections: 2,
      packets: 11,
      bytes: 1_000,
      firstMs: 1_000,
      lastMs: 3_000,
    },
  ]);
  expect(rows.since(0)).toMatchObject({ seen: 3, beyond: 0 });
});

test("only what has changed comes again", () => {
  const rows = new FlowRows();
  rows.add(flow());
  rows.add(flow({ port: 81 }));
  const { version } = rows.since(0);
  expect(rows.since(version)).toMatchObject({ whole: false, rows: [], gone: [] });
  rows.add(flow({ port: 81 }));
  expect(rows.since(version).rows).toMatchObject([{ port: 81, connections: 2 }]);
  // Of another process, which has begun anew.
  expect(rows.since(version + 1_000)).toMatchObject({ whole: true });
});

test("a scan of many ports is one row more, and no other goes for it", () => {
  const rows = new FlowRows({ rowsMax: 100, portsMax: 4 });
  rows.add(flow({ from: "shop/other" }));
  for (let port = 1; port <= 1_000; port++) rows.add(flow({ port, verdict: "DROPPED" }));
  expect(rows.rows.length).toBe(6);
  expect(rows.rows.at(-1)).toMatchObject({ otherPorts: true, port: null, connections: 996 });
  expect(rows.since(0)).toMatchObject({ seen: 1_001, beyond: 0 });
});

// Goal: memory is bounded, every connection is counted once, and a page that asks seldom knows what went.
test("of too many rows the one seen longest ago goes, and is counted", () => {
  const rows = new FlowRows({ rowsMax: 10, portsMax: 4 });
  const shown = new Map<number, number>();
  let version = 0;
  for (let each = 0; each < 1_000; each++) {
    rows.add(flow({ from: `shop/${each}` }));
    if (each % 7 !== 0 && each !== 999) continue;
    const news = rows.since(version);
    if (news.whole) shown.clear();
    for (const id of news.gone) shown.delete(id);
    for (const row of news.rows) shown.set(row.id, row.connections);
    version = news.version;
  }
  const { seen, beyond } = rows.since(0);
  expect(rows.rows.map(({ from }) => from)).toEqual(
    Array.from({ length: 10 }, (_, at) => `shop/${990 + at}`),
  );
  expect([...shown.keys()].sort()).toEqual(rows.rows.map(({ id }) => id).sort());
  expect([seen, beyond]).toEqual([1_000, 990]);
});

test("a page that slept while everything went gets all rows", () => {
  const rows = new FlowRows({ rowsMax: 4, portsMax: 4 });
  rows.add(flow());
  const { version } = rows.since(0);
  for (let each = 0; each < 100; each++) rows.add(flow({ from: `shop/${each}` }));
  expect(rows.since(version)).toMatchObject({ whole: true, rows: expect.any(Array) });
  expect(rows.since(version).rows.length).toBe(4);
});
