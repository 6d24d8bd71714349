// Goal: what one process leaves can be read by the next, whatever version either is of, and nothing that
//       it was not.
// Method: a handoff state packed by a real data plane; then its bytes changed at random and its versions raised.

import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import {
  createMemoryFile,
  isSealed,
  sealMemoryFile,
} from "../../src/dataplane/descriptor-passing.js";
import {
  ConnState,
  SAVED_CONNECTIONS_VERSION,
  SavedConnection,
} from "../../src/layout/layout.gen.js";
import {
  HandoffError,
  loadConnections,
  packHandoff,
  readHandoff,
} from "../../src/node/handoff/handoff-state.js";
import { connectionsOf } from "../dataplane/connections.js";
import { Random } from "../property/random.js";

const open: number[] = [];
afterEach(() => {
  for (const file of open.splice(0)) closeSync(file);
});

/** Writes down a connection by UDP, from a port of its own. */
function writeRecord(record: Uint8Array, port: number, zone: number): void {
  const view = new DataView(record.buffer, record.byteOffset);
  record.set([10, 0, 0, 1], SavedConnection.source);
  record.set([10, 0, 0, 2], SavedConnection.destination);
  view.setBigUint64(SavedConnection.remainingUs, 60_000_000n, true);
  view.setUint32(SavedConnection.zone, zone, true);
  view.setUint16(SavedConnection.sourcePort, port, true);
  view.setUint8(SavedConnection.protocol, 17);
  view.setUint8(SavedConnection.family, 4);
  view.setUint8(SavedConnection.state, ConnState.Replied);
}

/** Connections in two zones: three in 0, one in 7. */
function packed(): Uint8Array {
  const dataplane = Dataplane.create();
  dataplane.continueFrom(41);
  for (const [port, zone] of [
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 7],
  ] as const) {
    const record = new Uint8Array(SavedConnection.bytes);
    writeRecord(record, port, zone);
    expect(dataplane.loadConnections(record)).toBe(1);
  }
  const { file, descriptors } = packHandoff(dataplane, {
    version: "1.2.3",
    zones: [
      { interfaces: ["a", "b"], zone: 0 },
      { interfaces: ["c", "d"], zone: 7 },
    ],
  });
  dataplane.close();
  expect(descriptors).toEqual([]);
  expect(isSealed(file)).toBe(true);
  const bytes = new Uint8Array(fstatSync(file).size);
  readSync(file, bytes, 0, bytes.length, 0);
  closeSync(file);
  return bytes;
}

function fileOf(bytes: Uint8Array, isToSeal = true): number {
  const file = createMemoryFile("test");
  open.push(file);
  writeSync(file, bytes);
  if (isToSeal) sealMemoryFile(file);
  return file;
}

/** The same with another document. */
function changed(
  bytes: Uint8Array,
  change: (document: Record<string, unknown>) => void,
): Uint8Array {
  const length = new DataView(bytes.buffer).getUint32(8, true);
  const document = JSON.parse(new TextDecoder().decode(bytes.subarray(12, 12 + length)));
  change(document);
  const json = new TextEncoder().encode(JSON.stringify(document));
  const head = bytes.slice(0, 12);
  new DataView(head.buffer).setUint32(8, json.length, true);
  return new Uint8Array(Buffer.concat([head, json, bytes.subarray(12 + length)]));
}

test("handoff: what was packed is read, and its connections are taken up by zone", async () => {
  const file = fileOf(packed());
  const handoff = readHandoff({ file, descriptors: [] });
  expect(handoff).toMatchObject({ version: "1.2.3", links: [], zones: [{ zone: 0 }, { zone: 7 }] });
  const successor = Dataplane.create();
  expect(loadConnections(file, handoff, new Set([7]), successor)).toEqual({ saved: 4, taken: 1 });
  expect(loadConnections(file, handoff, new Set([0, 7]), successor)).toEqual({
    saved: 4,
    taken: 3,
  });
  expect(await connectionsOf(successor)).toHaveLength(4);
  successor.close();
});

test("handoff: more connections than are written at once", () => {
  const count = 20_000;
  const before = Dataplane.create();
  const records = new Uint8Array(count * SavedConnection.bytes);
  for (let each = 0; each < count; each++) {
    writeRecord(records.subarray(each * SavedConnection.bytes), each, 0);
  }
  expect(before.loadConnections(records)).toBe(count);
  const { file } = packHandoff(before, { version: "1", zones: [{ interfaces: ["a"], zone: 0 }] });
  open.push(file);
  before.close();
  const successor = Dataplane.create();
  const handoff = readHandoff({ file, descriptors: [] });
  expect(loadConnections(file, handoff, new Set([0]), successor)).toEqual({
    saved: count,
    taken: count,
  });
  successor.close();
});

test("handoff: another version of the program is none of its business; of the records, it is", () => {
  const successor = Dataplane.create();
  const newer = fileOf(
    changed(packed(), (document) => Object.assign(document, { version: "99.0.0", also: ["new"] })),
  );
  const handoff = readHandoff({ file: newer, descriptors: [] });
  expect(loadConnections(newer, handoff, new Set([0]), successor)).toEqual({ saved: 4, taken: 3 });
  const other = fileOf(
    changed(packed(), (document) => {
      document["connections"] = { version: SAVED_CONNECTIONS_VERSION + 1, recordBytes: 112 };
    }),
  );
  const unknown = readHandoff({ file: other, descriptors: [] });
  expect(() => loadConnections(other, unknown, new Set([0]), successor)).toThrow(
    "connections are of version 2, want 1",
  );
  successor.close();
});

test("handoff: generation and counts go on from where they were", () => {
  const totals = {
    ...{
      opened: 7,
      closed: 5,
      cut: 1,
      eventsLost: 3,
      audited: 4,
      rejected: 6,
      reset: 8,
      fragmentsEvicted: 10,
      drops: { "vlan-tag": 12 },
    },
    laterKind: 99,
  };
  const file = fileOf(changed(packed(), (document) => Object.assign(document, { totals })));
  const handoff = readHandoff({ file, descriptors: [] });
  expect(handoff).toMatchObject({ generation: 0, totals: { opened: 7, drops: {} } });
  const successor = Dataplane.create();
  successor.continueFrom(41, handoff.totals);
  const { opened, closed, cut, evictions, eventsLost, audited, rejected, reset, drops, exempt } =
    successor.counters();
  const { fragmentsEvicted } = successor.counters();
  // That process had no such counts yet.
  expect(exempt).toEqual({ arp: 0, neighbor: 0, listener: 0, "router-advertisement": 0 });
  expect(evictions).toEqual({ closing: 0, unanswered: 0, unassured: 0, assured: 0 });
  const later = fileOf(
    changed(packed(), (document) =>
      Object.assign(document, {
        totals: { ...totals, exempt: { neighbor: 5 }, evictions: { closing: 9 } },
      }),
    ),
  );
  expect(readHandoff({ file: later, descriptors: [] }).totals).toMatchObject({
    exempt: { ...exempt, neighbor: 5 },
    evictions: { ...evictions, closing: 9 },
  });
  const summed = { opened, closed, cut, eventsLost, audited, rejected, reset, fragmentsEvicted };
  expect({ ...summed, drops }).toEqual({
    ...{
      opened: 7,
      closed: 5,
      cut: 1,
      eventsLost: 3,
      audited: 4,
      rejected: 6,
      reset: 8,
      fragmentsEvicted: 10,
      drops: { "vlan-tag": 12 },
    },
  });
  successor.close();
});

test("handoff: what others can still change, or is none, is refused with the reason", () => {
  const reasonOf = (bytes: Uint8Array, isToSeal = true, descriptors: number[] = []): string => {
    try {
      readHandoff({ file: fileOf(bytes, isToSeal), descriptors });
    } catch (error) {
      expect(error).toBeInstanceOf(HandoffError);
      return (error as Error).message;
    }
    return "";
  };
  const good = packed();
  expect(reasonOf(good, false)).toBe("it can still be changed by others");
  expect(reasonOf(good.subarray(0, 11))).toBe("too short");
  expect(reasonOf(good.subarray(0, 40))).toBe("too short");
  expect(reasonOf(new Uint8Array(100))).toBe("it is no handoff state");
  const later = good.slice();
  later[4] = 9;
  expect(reasonOf(later)).toBe("got format 9, want 1");
  const link = { interface: "a", kind: "tap", ways: [{ descriptors: [0], words: [] }] };
  const linked = (more: object) =>
    changed(good, (document) => {
      document["links"] = [{ ...link, guard: [], program: [], counts: {}, ...more }];
    });
  expect(reasonOf(linked({}))).toBe("descriptors are missing");
  expect(reasonOf(linked({ guard: [0] }), true, [99])).toBe("descriptors are missing");
  expect(reasonOf(linked({ kind: "pigeon" }), true, [99])).toBe("got a link of kind pigeon");
  expect(reasonOf(linked({ ways: 5 }), true, [99])).toBe("its document is not what it should be");
  expect(reasonOf(linked({ counts: { sentFrames: -1 } }), true, [99])).toBe(
    "its document is not what it should be",
  );
  expect(reasonOf(linked({}), true, [99])).toBe("");
});

test("handoff: any bytes are read or refused, and never more than connections", () => {
  const random = new Random(1);
  const successor = Dataplane.create();
  const good = packed();
  let read = 0;
  for (let round = 0; round < 400; round++) {
    const bytes = good.slice(0, round % 5 === 0 ? random.below(good.length) : good.length);
    for (let changes = random.below(4); changes > 0; changes--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    const file = fileOf(bytes);
    try {
      const handoff = readHandoff({ file, descriptors: [] });
      read++;
      expect(loadConnections(file, handoff, new Set([0, 7]), successor).taken).toBeLessThanOrEqual(
        4,
      );
    } catch (error) {
      expect(error).toBeInstanceOf(HandoffError);
    }
  }
  expect(read).toBeGreaterThan(50);
  successor.close();
});
