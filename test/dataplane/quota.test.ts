import { afterEach, describe, expect, test } from "vitest";
import { Dataplane, type DataplaneOptions } from "../../src/dataplane/dataplane.js";
import { ConnState, SavedConnection } from "../../src/layout/layout.gen.js";
import { compiledText } from "../compiled.js";
import { recordsOf } from "./strangers.js";

const pods = [1, 2]
  .map(
    (last) => `---
apiVersion: v1
kind: Pod
metadata: { name: pod-${last}, namespace: shop }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIPs: [{ ip: 10.9.0.${last} }] }
`,
  )
  .join("");

// Goal: an endpoint has as many connections as it may, over all workers together; what it has, and what it
// had to go without, is told of it and of no other.
// Method: two wires without interfaces; established connections are taken up, which nothing makes give way.
describe("connectionsPerEndpoint", () => {
  let dataplane: Dataplane | undefined;
  afterEach(() => dataplane?.close());

  function twoWires(options: DataplaneOptions): { dataplane: Dataplane; inside: number[] } {
    const made = Dataplane.create(options);
    dataplane = made;
    const ends = Array.from({ length: 4 }, () => made.addClosedLink());
    const table = compiledText(pods, "pods.yaml");
    const inside = [ends[0]!, ends[2]!];
    made.swapTable(table.blob, [
      [0, inside[0]!],
      [1, inside[1]!],
    ]);
    made.joinWire({ inside: ends[0]!, outside: ends[1]!, zone: 0 });
    made.joinWire({ inside: ends[2]!, outside: ends[3]!, zone: 1 });
    return { dataplane: made, inside };
  }

  test.each([
    ["an equal share", {}, 150],
    ["a number", { connectionsPerEndpoint: 40 }, 40],
    ["one that the workers cannot share equally", { workers: 3, connectionsPerEndpoint: 100 }, 100],
    ["all of the table", { connectionsPerEndpoint: 300 }, 300],
    ["fewer than workers: one each", { workers: 4, connectionsPerEndpoint: 2 }, 4],
  ])("%s", (_, options, quota) => {
    const { dataplane, inside } = twoWires({ connectionsMax: 300, ...options });
    const { links } = dataplane.counters();
    expect([...links].map(([, { connectionQuota }]) => connectionQuota)).toEqual([
      ...[quota, 0, quota, 0],
    ]);
    expect(inside.map((link) => links.get(link)!.connections)).toEqual([0, 0]);
  });

  test.each([1, 3])("one at its quota leaves the other all of its own (%s workers)", (workers) => {
    const { dataplane, inside } = twoWires({
      ...{ workers, connectionsMax: 900, connectionsPerEndpoint: 120 },
    });
    expect(dataplane.loadConnections(recordsOf(0, 1, 700))).toBe(120);
    // A worker alone has room for these: which has how many of them is left to chance.
    const other = dataplane.loadConnections(recordsOf(1, 2, 40));
    expect(other).toBe(40);
    const { links, drops, evictions } = dataplane.counters();
    expect(inside.map((link) => links.get(link))).toMatchObject([
      { connections: 120, connectionQuota: 120, evictedConnections: 0, refusedConnections: 580 },
      { connections: 40, connectionQuota: 120, evictedConnections: 0, refusedConnections: 0 },
    ]);
    expect({ drops, evictions }).toEqual({
      drops: {},
      evictions: { closing: 0, unanswered: 0, unassured: 0, assured: 0 },
    });
  });

  // Goal: what is known of a wire before its first frame counts for its endpoint, as all that comes later.
  test.each([1, 2])("connections that a wire is joined with (%s workers)", (workers) => {
    const { dataplane } = twoWires({ workers, connectionsMax: 300, connectionsPerEndpoint: 40 });
    const [inside, outside] = [dataplane.addClosedLink(), dataplane.addClosedLink()];
    const known = recordsOf(2, 1, 200);
    expect(dataplane.joinWire({ inside, outside, zone: 2 }, known)).toBe(40);
    const { links, connections } = dataplane.counters();
    expect(links.get(inside)).toMatchObject({ connections: 40, refusedConnections: 160 });
    expect(connections).toBe(40);
    const spoilt = known.subarray(1);
    dataplane.removeLink(inside);
    const again = { inside: dataplane.addClosedLink(), outside, zone: 2 };
    expect(() => dataplane.joinWire(again, spoilt)).toThrow("argument");
  });

  test("what gives way to a new one is told by endpoint and by class", () => {
    const { dataplane, inside } = twoWires({ connectionsMax: 300, connectionsPerEndpoint: 50 });
    const closing = recordsOf(0, 1, 50);
    for (let at = 0; at < closing.length; at += SavedConnection.bytes) {
      closing[at + SavedConnection.state] = ConnState.TimeWait;
    }
    expect(dataplane.loadConnections(closing)).toBe(50);
    const more = recordsOf(0, 1, 70).subarray(50 * SavedConnection.bytes);
    expect(dataplane.loadConnections(more)).toBe(20);
    const { links, evictions } = dataplane.counters();
    expect(links.get(inside[0]!)).toMatchObject({ connections: 50, evictedConnections: 20 });
    expect(evictions).toEqual({ closing: 20, unanswered: 0, unassured: 0, assured: 0 });
  });

  test("a quota above the table is refused", () => {
    const options = { connectionsMax: 300, connectionsPerEndpoint: 301 };
    expect(() => Dataplane.create(options)).toThrow("argument");
  });
});
