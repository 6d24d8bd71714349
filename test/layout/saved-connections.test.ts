import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { SAVED_CONNECTIONS_VERSION } from "../../src/layout/layout.gen.js";
import { schema } from "../../src/layout/schema.js";

// Goal: connections that one release hands on are never read by another as what they are not.
// Method: what a record says, held against the version under which it was last written down here.

/** Of each version, a hash of what its records say. */
const known: Readonly<Record<number, string>> = { 1: "9955314ae38e6985" };

test("a change of SavedConnection or ConnState has a SAVED_CONNECTIONS_VERSION of its own", () => {
  const { structs, enums, limits } = schema.addon;
  const record = structs.find(({ name }) => name === "SavedConnection")!;
  const states = enums.find(({ name }) => name === "ConnState")!;
  const said = {
    bytes: record.bytes,
    fields: record.fields.map(({ name, type, count }) => [name, type, count]),
    states: states.values.map(({ name }) => name),
    flags: Object.entries(limits).filter(([name]) => /^SAVED_(?!CONNECTIONS_)/.test(name)),
  };
  const hash = createHash("sha256").update(JSON.stringify(said)).digest("hex").slice(0, 16);
  // After a change: raise the version in src/layout/schema.ts, and add its hash above.
  expect(known[SAVED_CONNECTIONS_VERSION]).toBe(hash);
});
