import { describe, expect, test } from "vitest";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { TableHeader } from "../../src/layout/layout.gen.js";
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
