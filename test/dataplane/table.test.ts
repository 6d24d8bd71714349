import { describe, expect, test } from "vitest";
import { pathManifests } from "../../src/bench/native/workload.js";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { TableHeader } from "../../src/layout/layout.gen.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";

describe("Table", () => {
  test("refuses bytes that are no table, with a code", () => {
    expect(() => Table.open(new Uint8Array(10))).toThrow(
      expect.objectContaining({ code: "table-too-short" }),
    );
    expect(() => Table.open(new Uint8Array(TableHeader.bytes))).toThrow(
      expect.objectContaining({ code: "table-magic" }),
    );
  });

  // Goal: an answer stays what it was, though answers share memory: more of them than one piece holds,
  // of all sizes, and with one piece taken away.
  test("keeps no answer in the place of another", () => {
    const { objects } = parseManifests(pathManifests, "web.yaml");
    const compiled = compile({ objects });
    if (!compiled.ok) throw new Error("the manifests compile");
    const table = Table.open(compiled.blob);
    const [client, server] = [parseAddress("192.0.2.1")!, parseAddress("100.64.0.1")!];
    const batch = new TupleBatch();
    const answers: { readonly got: Uint8Array; readonly want: number[] }[] = [];
    for (let size = 0; size < 6_000; size = Math.ceil(size * 1.1 + 1)) {
      for (const allowed of [0, 1]) {
        batch.clear();
        const want = Array.from({ length: size }, (_, at) => (at % 3 === allowed ? 0 : 2));
        for (const bits of want) batch.push(client, server, 6, bits === 0 ? 443 : 80);
        answers.push({ got: table.classify(batch), want });
        answers.push({ got: table.audit(batch), want });
      }
    }
    for (const { got, want } of answers) expect([...got]).toEqual(want);

    batch.clear();
    batch.push(client, server, 6, 80);
    const given = table.classify(batch);
    structuredClone(given.buffer, { transfer: [given.buffer as ArrayBuffer] });
    expect([...table.classify(batch)]).toEqual([2]);
  });
});

describe("TupleBatch", () => {
  const v4 = parseAddress("10.0.0.1");
  const v6 = parseAddress("fd00::1");
  if (v4 === undefined || v6 === undefined) throw new Error("the addresses parse");

  test("grows, and can be filled again", () => {
    const batch = new TupleBatch(1);
    for (let port = 0; port < 100; port++) batch.push(v4, v4, 6, port);
    expect(batch.count).toBe(100);
    batch.clear();
    expect(batch.bytes.length).toBe(0);
  });

  test("refuses two families and numbers out of range", () => {
    const batch = new TupleBatch();
    expect(() => batch.push(v4, v6, 6, 80)).toThrow(RangeError);
    expect(() => batch.push(v4, v4, 256, 80)).toThrow(RangeError);
    expect(() => batch.push(v4, v4, 6, 65_536)).toThrow(RangeError);
    expect(() => batch.push(v4, v4, Number.NaN, 80)).toThrow(RangeError);
    expect(batch.count).toBe(0);
  });
});
