import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { ConnectionRecord, HitRecord, ProtocolSlot } from "../../src/layout/layout.gen.js";
import { parseAddress } from "../../src/net/address.js";
import { Hits } from "../../src/observe/hits.js";
import { TableSnapshot, type TableSource } from "../../src/observe/table-snapshot.js";
import { eventBytes, shop, tableOf } from "./fake-dataplane.js";

interface Said {
  readonly from?: string;
  readonly to?: string;
  readonly port?: number;
  readonly packets?: number;
  readonly connections?: number;
  readonly deniedBy?: number;
  readonly auditedBy?: number;
  readonly generation?: number;
  readonly number?: number;
  readonly isOver?: boolean;
}

/** Hands out records that nobody has counted. */
class FakeCounts {
  waiting: Uint8Array[] = [];
  readonly #tables = new Map<number, TableSource>();

  use(generation: number, table: TableSource): void {
    this.#tables.set(generation, table);
  }

  say({ generation = 1, ...said }: Said): void {
    const bytes = new Uint8Array(HitRecord.bytes);
    const view = new DataView(bytes.buffer);
    const batch = new TupleBatch();
    const [from, to] = [said.from ?? "10.0.0.1", said.to ?? "10.0.0.2"].map((text) =>
      parseAddress(text),
    );
    batch.push(from!, to!, 6, 80);
    const table = this.#tables.get(generation);
    const leaves = table === undefined ? [0, 0] : Table.open(table.blob.bytes).locate(batch);
    const packets = said.packets ?? 1;
    view.setBigUint64(HitRecord.totalPackets, BigInt(packets), true);
    view.setBigUint64(HitRecord.totalBytes, BigInt(packets * 60), true);
    view.setUint32(HitRecord.connections, said.connections ?? 0, true);
    view.setUint32(HitRecord.generation, generation, true);
    view.setUint32(HitRecord.sourceLeaf, leaves[0]!, true);
    view.setUint32(HitRecord.destinationLeaf, leaves[1]!, true);
    view.setUint32(HitRecord.number, said.number ?? 2, true);
    view.setUint16(HitRecord.port, said.port ?? 80, true);
    view.setUint8(HitRecord.protocolSlot, ProtocolSlot.Tcp);
    view.setUint8(HitRecord.deniedBy, said.deniedBy ?? 0);
    view.setUint8(HitRecord.auditedBy, said.auditedBy ?? 0);
    view.setUint8(HitRecord.isOver, said.isOver === false ? 0 : 1);
    this.waiting.push(bytes);
  }

  get hasHits(): boolean {
    return this.waiting.length > 0;
  }

  async *hits(): AsyncGenerator<Uint8Array> {
    yield* this.lastHits();
  }

  *lastHits(): Generator<Uint8Array> {
    for (const bytes of this.waiting.splice(0)) yield bytes;
  }
}

/** A ConnectionRecord of a connection that goes on. */
function livingConnection(port: number, packets: number, bytes: number): Uint8Array {
  const record = new Uint8Array(ConnectionRecord.bytes);
  const view = new DataView(record.buffer);
  record.set([10, 0, 0, 1], ConnectionRecord.source);
  record.set([10, 0, 0, 2], ConnectionRecord.destination);
  view.setUint16(ConnectionRecord.destinationPort, port, true);
  view.setUint8(ConnectionRecord.protocol, 6);
  view.setUint8(ConnectionRecord.family, 4);
  view.setBigUint64(ConnectionRecord.totalPackets, BigInt(packets), true);
  view.setBigUint64(ConnectionRecord.totalBytes, BigInt(bytes), true);
  return record;
}

const none = { packets: 0, bytes: 0, connections: 0, lastHit: null };
const db = { kind: "NetworkPolicy", namespace: "shop", name: "db" };
const allowed = {
  direction: "ingress",
  tier: "NetworkPolicy",
  index: 0,
  policy: { ...db },
} as never;

describe("Hits", () => {
  let counts: FakeCounts;
  let hits: Hits;
  let snapshots: TableSnapshot[];
  let known: Set<string>;
  let living: Uint8Array[];

  const use = (generation: number, text: string) => {
    const table = tableOf(text);
    counts.use(generation, table);
    snapshots.unshift(new TableSnapshot(generation, table));
    snapshots.length = Math.min(snapshots.length, 2);
  };
  const make = () =>
    new Hits({
      dataplane: counts,
      flows: {
        get snapshot() {
          return snapshots[0];
        },
        snapshotOf: (generation) => snapshots.find((each) => each.generation === generation),
        drain: () => {},
      },
      living: async function* () {
        yield* living;
      },
      exists: ({ name }) => known.has(name),
    });

  beforeEach(() => {
    counts = new FakeCounts();
    snapshots = [];
    known = new Set();
    living = [];
    hits = make();
    use(1, shop);
  });
  afterEach(() => hits.close());

  test("a rule has what it allowed, a policy what it denied, and the default what nobody isolates", async () => {
    counts.say({ packets: 10, connections: 2 });
    counts.say({ port: 81, packets: 3, deniedBy: 2 });
    counts.say({ from: "192.0.2.1", packets: 4, deniedBy: 2 });
    counts.say({ from: "10.0.0.2", to: "10.0.0.1", packets: 7, connections: 1 });
    await hits.refresh();
    expect(hits.rule(allowed).hits).toMatchObject({ packets: 10, bytes: 600, connections: 2 });
    expect(hits.policy(db)).toMatchObject({
      rules: { packets: 10, connections: 2 },
      denied: { ingress: { packets: 7 }, egress: none },
    });
    // Of the first, the sender's side; of the last, both.
    expect(hits.defaults.allowed).toMatchObject({
      egress: { packets: 17 },
      ingress: { packets: 7 },
    });
    expect(hits.defaults.denied).toMatchObject({ ingress: { packets: 7 }, egress: none });
    expect(hits.unknown).toEqual({ passed: none, denied: none });
  });

  test("a count that goes on keeps its rule when its table is long gone", async () => {
    counts.say({ packets: 1, isOver: false });
    await hits.refresh();
    for (let generation = 2; generation < 6; generation++) use(generation, shop);
    counts.say({ packets: 20, isOver: false });
    counts.say({ packets: 300, number: 3 });
    counts.say({ packets: 4_000, number: 4, deniedBy: 2 });
    await hits.refresh();
    expect(hits.rule(allowed).hits.packets).toBe(21);
    expect(hits.unknown).toMatchObject({ passed: { packets: 300 }, denied: { packets: 4_000 } });
  });

  test("a verdict that the table does not give is not told of a rule", async () => {
    counts.say({ port: 81, packets: 5 });
    counts.say({ port: 80, packets: 6, deniedBy: 2 });
    await hits.refresh();
    expect(hits.unknown).toMatchObject({ passed: { packets: 5 }, denied: { packets: 6 } });
  });

  test("a policy that is gone is forgotten; one that only judges nobody keeps its counts", async () => {
    counts.say({ packets: 5 });
    await hits.refresh();
    const { since } = hits.policy(db)!;
    known.add("db");
    use(2, shop.split("---").slice(0, 2).join("---"));
    counts.say({ generation: 2, packets: 1 });
    await hits.refresh();
    expect(hits.policy(db)).toMatchObject({ since, rules: { packets: 5 } });
    known.clear();
    use(3, shop.split("---").slice(0, 2).join("---"));
    counts.say({ generation: 3, packets: 1 });
    await hits.refresh();
    expect(hits.policy(db)).toBeUndefined();
  });

  test("audited policies count what they would decide, apart from what is enforced", async () => {
    use(
      2,
      shop.replace(
        "name: db, namespace: shop }\nspec:\n  podSelector",
        [
          "name: db, namespace: shop, annotations: { sluice/mode: audit } }",
          "spec:",
          "  podSelector",
        ].join("\n"),
      ),
    );
    counts.say({ generation: 2, packets: 10, connections: 1 });
    counts.say({ generation: 2, port: 81, packets: 3, auditedBy: 2 });
    await hits.refresh();
    expect(hits.rule(allowed)).toMatchObject({ hits: none, audited: { packets: 10 } });
    expect(hits.policy(db)).toMatchObject({
      rules: none,
      denied: { ingress: none },
      audited: { ingress: { packets: 3 } },
    });
    expect(hits.defaults.allowed.ingress.packets).toBe(13);
  });

  test("in place, a connection counts when it begins and ends, and a drop at once", () => {
    const events = [
      eventBytes({ kind: "Opened" }),
      eventBytes({ kind: "Closed", totalPackets: 12, totalBytes: 3_456 }),
      eventBytes({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, destinationPort: 81 }),
      eventBytes({ kind: "Dropped", reason: "SpoofedSource", source: "192.0.2.1" }),
      eventBytes({ kind: "Closed", totalPackets: 3, totalBytes: 300, generation: 9 }),
      // Of a predecessor's table: the one in force has the same answer to the first alone.
      eventBytes({ kind: "Closed", totalPackets: 5, totalBytes: 500, generation: 0 }),
      eventBytes({
        ...{ kind: "Closed", totalPackets: 7, totalBytes: 700 },
        ...{ destinationPort: 81, generation: 0 },
      }),
    ];
    hits.takeEvents(Uint8Array.from(events.flatMap((bytes) => [...bytes])), events.length);
    expect(hits.rule(allowed).hits).toMatchObject({ packets: 17, bytes: 3_956, connections: 1 });
    expect(hits.policy(db)?.denied.ingress).toMatchObject({ packets: 1, bytes: 60 });
    expect(hits.unknown).toMatchObject({ passed: { packets: 10 }, denied: { packets: 0 } });
  });

  test("in place, a flood of one kind counts whole, however much is told at once", () => {
    const drop = { kind: "Dropped", reason: "PolicyIngress", deniedBy: 2 } as const;
    const events = Array.from({ length: 5_000 }, (_, index) =>
      eventBytes({ ...drop, destinationPort: 81, sourcePort: index }),
    );
    hits.takeEvents(Buffer.concat(events), events.length);
    expect(hits.policy(db)?.denied.ingress).toMatchObject({ packets: 5_000, bytes: 300_000 });
    // Of so many kinds at once it is not known what decided them all; none is lost.
    const kinds = Array.from({ length: 5_000 }, (_, index) =>
      eventBytes({ ...drop, destinationPort: 1_000 + index }),
    );
    hits.takeEvents(Buffer.concat(kinds), kinds.length);
    const denied = hits.policy(db)!.denied.ingress.packets;
    expect(denied).toBeGreaterThan(5_000);
    expect(denied + hits.unknown.denied.packets).toBe(10_000);
  });

  test("in place, what living connections have carried counts before their end, and once", async () => {
    hits.takeEvents(eventBytes({ kind: "Opened" }), 1);
    living = [Buffer.concat([livingConnection(80, 4, 400), livingConnection(80, 0, 0)])];
    await hits.refreshLiving();
    expect(hits.rule(allowed).hits).toMatchObject({ packets: 4, bytes: 400, connections: 1 });
    expect(hits.policy(db)?.rules).toMatchObject({ packets: 4, bytes: 400, connections: 1 });
    living = [livingConnection(80, 6, 600)];
    await hits.refreshLiving();
    expect(hits.policy(db)?.rules).toMatchObject({ packets: 6, bytes: 600 });
    // Metrics never shrink.
    expect([...hits.bySide()][0]).toMatchObject({ direction: "ingress", rules: { packets: 0 } });
    // The kernel goes on counting it: the next process reads it there.
    expect(JSON.stringify(hits.save())).not.toContain(",6,600,");
    living = [];
    hits.takeEvents(eventBytes({ kind: "Closed", totalPackets: 8, totalBytes: 800 }), 1);
    await hits.refreshLiving();
    expect(hits.policy(db)?.rules).toMatchObject({ packets: 8, bytes: 800, connections: 1 });
  });

  test("in place, what decides is looked for once, however many connections are of a kind", () => {
    let searched = 0;
    const [snapshot] = snapshots;
    const { reasonsOf } = snapshot!;
    snapshot!.reasonsOf = (...question) => {
      searched++;
      return reasonsOf.apply(snapshot, question);
    };
    const take = (events: readonly Uint8Array[]) =>
      hits.takeEvents(Uint8Array.from(events.flatMap((bytes) => [...bytes])), events.length);
    take([
      ...Array.from({ length: 40 }, (_, at) => eventBytes({ kind: "Opened", sourcePort: at + 1 })),
      // Nobody tells these two clients apart.
      eventBytes({ kind: "Opened", source: "192.0.2.1" }),
      eventBytes({ kind: "Opened", source: "192.0.2.2" }),
    ]);
    take([eventBytes({ kind: "Closed", totalPackets: 5, sourcePort: 99 })]);
    expect(searched).toBe(2);
    expect(hits.rule(allowed).hits).toMatchObject({ connections: 40, packets: 5 });

    // A port scan does not hold up the process: what it brings beyond that is nobody's.
    take(Array.from({ length: 400 }, (_, at) => eventBytes({ destinationPort: 1_000 + at })));
    expect(searched).toBeLessThan(300);
    expect(hits.unknown.passed.connections).toBeGreaterThan(100);
  });

  test("the next process goes on with the counts, and knows since when", async () => {
    counts.say({ packets: 10, connections: 2 });
    await hits.refresh();
    counts.say({ port: 81, packets: 3, deniedBy: 2 });
    const saved = JSON.parse(JSON.stringify(hits.save()));
    const before = hits.policy(db);
    const next = make();
    next.restore(saved);
    counts.say({ packets: 1 });
    await next.refresh();
    expect(next.policy(db)).toMatchObject({
      since: before?.since,
      rules: { packets: 11, connections: 2 },
      denied: { ingress: { packets: 3 } },
    });
    expect(next.since).toBe(hits.since);
    next.close();
  });
});
