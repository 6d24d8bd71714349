// Goal: a connection that one data plane writes down can be taken up by another, and what is written
//       down does not change its meaning unnoticed.
// Method: records made by hand, loaded, listed, saved and loaded again; the record's own definition
//         is pinned beside its version.

import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { DataplaneError } from "../../src/dataplane/errors.js";
import {
  ConnState,
  SAVED_CONNECTIONS_VERSION,
  SavedConnection,
} from "../../src/layout/layout.gen.js";
import { enums, structs } from "../../src/layout/schema.js";
import { connectionsOf } from "./connections.js";

function record(last: number, generation: number): Uint8Array {
  const bytes = new Uint8Array(SavedConnection.bytes);
  const view = new DataView(bytes.buffer);
  bytes.set([10, 0, 0, 1], SavedConnection.source);
  bytes.set([10, 0, 1, last], SavedConnection.destination);
  view.setBigUint64(SavedConnection.remainingUs, 60_000_000n, true);
  view.setUint32(SavedConnection.generation, generation, true);
  view.setUint16(SavedConnection.sourcePort, 40_000, true);
  view.setUint16(SavedConnection.destinationPort, 443, true);
  view.setUint8(SavedConnection.protocol, 6);
  view.setUint8(SavedConnection.family, 4);
  view.setUint8(SavedConnection.state, ConnState.Established);
  return bytes;
}

test("saved connections: their bytes mean what their version says", () => {
  const { name, bytes, fields } = structs.find((each) => each.name === "SavedConnection")!;
  const states = enums.find((each) => each.name === "ConnState")!.values;
  const meaning = JSON.stringify([
    name,
    bytes,
    fields.map((each) => [each.name, each.type, each.count ?? 1]),
    states.map((each) => each.name),
  ]);
  const hash = createHash("sha256").update(meaning).digest("hex").slice(0, 16);
  // When this fails, what older processes save is misread: a new SAVED_CONNECTIONS_VERSION is due.
  expect([SAVED_CONNECTIONS_VERSION, hash]).toEqual([1, "6abe3cdacafdef63"]);
});

test("saved connections: from one data plane to another, with their generations", async () => {
  const before = Dataplane.create({ workers: 2 });
  before.continueFrom(7);
  const records = [1, 2, 3].map((last) => record(last, last === 3 ? 8 : 7));
  expect(before.loadConnections(Buffer.concat([...records, records[0]!]))).toBe(3);
  expect((await connectionsOf(before)).map((each) => each.generation).sort()).toEqual([0, 7, 7]);
  const saved = Buffer.concat([...before.saveConnections()].map((each) => Buffer.from(each)));
  expect(saved.length).toBe(3 * SavedConnection.bytes);
  before.close();

  const after = Dataplane.create();
  expect(after.loadConnections(new Uint8Array(saved))).toBe(3);
  const found = await connectionsOf(after);
  expect(found.map((each) => each.generation)).toEqual([0, 0, 0]);
  expect(new Set(found.map((each) => each.state))).toEqual(new Set(["established"]));
  after.close();
});

test("saved connections: a table is never numbered as one before", () => {
  const dataplane = Dataplane.create();
  dataplane.continueFrom(41);
  const table = compile({ objects: [] });
  if (!table.ok) throw new Error("nothing does not compile");
  expect(dataplane.swapTable(table.blob, [])).toBe(42);
  expect(() => dataplane.continueFrom(50)).toThrow(DataplaneError);
  expect(() => dataplane.loadConnections(new Uint8Array(5))).toThrow(DataplaneError);
  dataplane.close();
});
