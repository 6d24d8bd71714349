import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FlowLine } from "../../src/observe/flow.js";
import { readFlowFilter } from "../../src/observe/flow-filter.js";
import { FlowLog, type FlowReader } from "../../src/observe/flow-log.js";
import { type EventFields, FakeRing, shop, tableOf } from "./fake-dataplane.js";

const all = () => true;
const keep = 64;

/** A reader that takes as many lines as it has room for. */
class Reader implements FlowReader {
  readonly lines: FlowLine[] = [];
  room = Number.POSITIVE_INFINITY;
  hasEnded = false;
  onCaughtUp = () => {};

  get isBehind(): boolean {
    return this.room <= 0;
  }

  write(line: FlowLine): void {
    this.room--;
    this.lines.push(line);
  }

  end(): void {
    this.hasEnded = true;
  }
}

const ports = (reader: Reader) =>
  reader.lines.map(({ flow }) => (flow.l4 as { TCP: { source_port: number } }).TCP.source_port);
const losses = (reader: Reader) => reader.lines.map(({ flow }) => flow.ext.lostBefore);
const numbered = (from: number, to: number): EventFields[] =>
  Array.from({ length: to - from }, (_, index) => ({ sourcePort: from + index }));
const settle = () => new Promise((resolve) => setTimeout(resolve, 30));

describe("FlowLog", () => {
  let ring: FakeRing;
  let log: FlowLog;

  beforeEach(() => {
    ring = new FakeRing();
    log = new FlowLog(ring.dataplane, { interfaceName: () => "eth0", keep });
    log.useTable(1, tableOf(shop));
  });
  afterEach(() => log.close());

  test("a policy's verdict: names, rule, place, and Hubble's words", () => {
    ring.push(
      { tcpFlags: 2 },
      { kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, destinationPort: 81 },
      { kind: "Dropped", reason: "SpoofedSource", source: "192.0.2.1" },
      { kind: "Closed", totalPackets: 12, totalBytes: 3_456 },
    );
    const reader = new Reader();
    log.read({ filter: all, follow: false }, reader);
    expect(reader.hasEnded).toBe(true);
    const [opened, denied, spoofed, closed] = reader.lines.map(({ flow }) => flow);
    expect(opened).toMatchObject({
      time: "2025-11-21T09:00:00.123456Z",
      verdict: "FORWARDED",
      source: { namespace: "shop", pod_name: "web", labels: ["k8s:app=web"] },
      destination: { namespace: "shop", pod_name: "db" },
      l4: { TCP: { source_port: 40_000, destination_port: 80, flags: { SYN: true } } },
      ingress_allowed_by: [{ kind: "NetworkPolicy", namespace: "shop", name: "db" }],
      interface: { name: "eth0" },
      Summary: "TCP Flags: SYN",
      ext: {
        event: "opened",
        reason: null,
        rule: { name: "db", field: "spec.ingress[0]", index: 0, file: "shop.yaml", line: 20 },
        generation: 1,
        lostBefore: 0,
      },
    });
    expect(denied).toMatchObject({
      verdict: "DROPPED",
      drop_reason: 133,
      drop_reason_desc: "POLICY_DENIED",
      traffic_direction: "INGRESS",
      ext: {
        reason: "policy-ingress",
        rule: null,
        isolated_by: [{ namespace: "shop", name: "db", file: "shop.yaml", line: 14 }],
      },
    });
    expect(spoofed).toMatchObject({
      drop_reason_desc: "INVALID_SOURCE_IP",
      source: { labels: ["reserved:world"] },
      ext: { reason: "spoofed-source", isolated_by: [] },
    });
    expect(closed).toMatchObject({
      verdict: "FORWARDED",
      ext: { event: "closed", bytes: null, total: { packets: 12, bytes: 3_456 } },
    });
  });

  test("what no policy judges is told as what it is, and no policy is named for it", () => {
    ring.push(
      { kind: "Exempt", exempt: "Neighbor", protocol: 58, destinationPort: 135 << 8 },
      { kind: "Exempt", exempt: "Arp", protocol: 0, destinationPort: 0 },
    );
    const reader = new Reader();
    log.read({ filter: all, follow: false }, reader);
    expect(reader.lines.map(({ flow }) => flow)).toMatchObject([
      {
        verdict: "FORWARDED",
        Summary: "neighbor, judged by no policy",
        ext: { event: "exempt", exempt: "neighbor", reason: null, rules: [], isolated_by: [] },
      },
      { Summary: "arp, judged by no policy", ext: { exempt: "arp", reason: null } },
    ]);
  });

  test("what is kept is shown oldest first: all of it, the last of it, or what is younger", () => {
    ring.push({ sourcePort: 1, timeUs: 1_000_000 }, { sourcePort: 2, timeUs: 2_000_000 });
    ring.push({ sourcePort: 3, timeUs: 3_000_000 });
    const shown = (request: object) => {
      const reader = new Reader();
      log.read({ filter: all, follow: false, ...request }, reader);
      return ports(reader);
    };
    expect(shown({})).toEqual([1, 2, 3]);
    expect(shown({ last: 2 })).toEqual([2, 3]);
    expect(shown({ sinceUs: 2_000_000 })).toEqual([2, 3]);
    expect(shown({ untilUs: 2_000_000 })).toEqual([1, 2]);
    expect(shown({ sinceUs: 1_500_000, last: 1 })).toEqual([3]);
  });

  test("a follower gets what comes, after what it asked for of what is kept", async () => {
    ring.push(...numbered(0, 3));
    const reader = new Reader();
    const stop = log.read({ filter: all, follow: true, last: 1 }, reader);
    ring.push(...numbered(3, 5));
    await settle();
    expect(ports(reader)).toEqual([2, 3, 4]);
    stop();
    ring.push(...numbered(5, 6));
    await settle();
    expect(ports(reader)).toEqual([2, 3, 4]);
  });

  // Goal: however much is kept, a reader costs a short step at a time.
  // Method: more than one step takes, with what it wants in the oldest record.
  test("what is kept is looked through in steps", async () => {
    const large = new FlowLog(ring.dataplane, { interfaceName: () => "eth0", keep: 2_048 });
    large.useTable(1, tableOf(shop));
    ring.push(...numbered(0, 2_000));
    const [all2000, oldest] = [new Reader(), new Reader()];
    large.read({ filter: all, follow: false }, all2000);
    expect(all2000.lines.length).toBeLessThanOrEqual(256);
    const wanted = readFlowFilter((flag) => (flag === "port" ? ["3"] : []));
    if (typeof wanted === "string") throw new Error(wanted);
    large.read({ filter: wanted, last: 1, follow: false }, oldest);
    expect(oldest.hasEnded).toBe(false);
    while (!all2000.hasEnded || !oldest.hasEnded) await settle();
    expect(ports(all2000)).toEqual(numbered(0, 2_000).map((event) => event.sourcePort));
    expect(ports(oldest)).toEqual([3]);
    large.close();
  });

  test("a reader that fails leaves, and others go on", async () => {
    const told: string[] = [];
    const own = new FlowLog(ring.dataplane, {
      interfaceName: () => "eth0",
      keep,
      tell: (line) => told.push(line),
    });
    own.useTable(1, tableOf(shop));
    const [broken, whole] = [new Reader(), new Reader()];
    broken.write = () => {
      throw new Error("it breaks");
    };
    own.read({ filter: all, follow: true }, broken);
    own.read({ filter: all, follow: true }, whole);
    ring.push(...numbered(0, 3));
    while (whole.lines.length < 3) await settle();
    expect(broken.hasEnded).toBe(true);
    expect(told).toEqual(["flows: it breaks"]);
    own.close();
  });

  // Goal: a slow reader holds up nobody, loses what was written over, and is told how much, exactly.
  // Method: two followers, one of which takes nothing while more comes than is kept.
  test("a slow reader loses records, and the next one says how many", async () => {
    const [slow, quick] = [new Reader(), new Reader()];
    log.read({ filter: all, follow: true }, slow);
    log.read({ filter: all, follow: true }, quick);
    slow.room = 2;
    for (let round = 0; round < 5; round++) {
      ring.push(...numbered(round * 40, round * 40 + 40));
      await settle();
    }
    expect(ports(quick)).toEqual(numbered(0, 200).map((event) => event.sourcePort));
    expect(losses(quick).every((lost) => lost === 0)).toBe(true);
    expect(ports(slow)).toEqual([0, 1]);
    slow.room = Number.POSITIVE_INFINITY;
    slow.onCaughtUp();
    await settle();
    expect(ports(slow).slice(2)).toEqual(
      numbered(200 - keep, 200).map((event) => event.sourcePort),
    );
    expect(losses(slow)[2]).toBe(200 - keep - 2);
    expect(
      losses(slow)
        .slice(3)
        .every((lost) => lost === 0),
    ).toBe(true);
    expect(log.lost).toBe(200 - keep - 2);
  });

  test("losses of the ring add up over records that a filter leaves out", async () => {
    const filter = readFlowFilter((flag) => (flag === "from-port" ? ["7"] : []));
    if (typeof filter === "string") throw new Error(filter);
    const reader = new Reader();
    log.read({ filter, follow: true }, reader);
    ring.push({ lostBefore: 5 }, { sourcePort: 7, lostBefore: 1 }, { sourcePort: 7 });
    await settle();
    expect(losses(reader)).toEqual([6, 0]);
  });

  test("a record is explained by the table that judged it", () => {
    ring.push({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, generation: 1 });
    log.useTable(
      2,
      tableOf(
        shop.replace(
          "name: db, namespace: shop }\nspec:\n",
          "name: db2, namespace: shop }\nspec:\n",
        ),
      ),
    );
    ring.push({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, generation: 2 });
    ring.push({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, generation: 99 });
    const reader = new Reader();
    log.read({ filter: all, follow: false }, reader);
    const names = reader.lines.map(({ flow }) => flow.ext.isolated_by.map(({ name }) => name));
    expect(names).toEqual([["db"], ["db2"], []]);
    expect(reader.lines[2]?.flow.destination?.pod_name).toBe("db");
  });

  test("a table of the same generation names pods by its labels, and drives no other out", () => {
    const relabelled = tableOf(shop.replaceAll("app: web", "app: front"));
    for (let times = 0; times < 100; times++) log.useTable(2, relabelled);
    expect(log.snapshotOf(1)).toBeDefined();
    log.useTable(1, relabelled);
    ring.push({ generation: 1 });
    const reader = new Reader();
    log.read({ filter: all, follow: false }, reader);
    expect(reader.lines[0]?.flow.source).toMatchObject({ labels: ["k8s:app=front"] });
  });
});
