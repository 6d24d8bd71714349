import { createHash } from "node:crypto";
import type { Enum, Field, FieldType, Schema, SchemaPart, Struct } from "./schema.js";

export const banner = "Generated from src/layout/schema.ts by `npm run generate`; do not edit.";

const sizes: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, u64: 8 };

/** A field with its place. `count` is undefined for a field of one element. */
export interface Placed extends Omit<Field, "count"> {
  readonly offset: number;
  readonly count: number | undefined;
}

/** A struct whose fields have their places. */
export interface PlacedStruct extends Omit<Struct, "fields" | "bytes"> {
  readonly bytes: number;
  readonly fields: readonly Placed[];
}

/** All of a schema in one list each, the blob's first, and its hashes. */
export interface PlacedSchema {
  readonly limits: Readonly<Record<string, number>>;
  readonly structs: readonly PlacedStruct[];
  readonly enums: readonly Enum[];
  readonly sections: Schema["blob"]["sections"];
  /** Of what a table blob holds: changes when stored tables can no longer be read. */
  readonly blobHash: number;
  /** Of everything: changes when an addon no longer fits. */
  readonly layoutHash: number;
}

/** Gives each field its offset. Errors: throws where a compiler would pad, or the size does not fit. */
export function placeSchema(schema: Schema): PlacedSchema {
  const { blob, addon } = schema;
  const enums = [...blob.enums, ...addon.enums];
  const structs = [...blob.structs, ...addon.structs].map((struct) => place(struct, enums));
  const header = structs.find(({ name }) => name === "TableHeader");
  const room = header?.fields.find(({ name }) => name === "sections")?.count ?? 0;
  if (blob.sections.length * 2 > room) throw new Error("TableHeader.sections is too small");
  return {
    limits: { ...blob.limits, ...addon.limits },
    structs,
    enums,
    sections: blob.sections,
    blobHash: hashOf(blob),
    layoutHash: hashOf(schema),
  };
}

function place(struct: Struct, enums: readonly Enum[]): PlacedStruct {
  let offset = 0;
  const fields = struct.fields.map((field): Placed => {
    const size = sizes[field.type];
    if (offset % size !== 0)
      throw new Error(`${struct.name}.${field.name}: offset ${offset} needs padding to ${size}`);
    const count = countOf(field, enums);
    const at = { ...field, count, offset };
    offset += size * (count ?? 1);
    return at;
  });
  const bytes = struct.bytes ?? offset;
  if (offset !== bytes)
    throw new Error(`${struct.name}: fields fill ${offset} bytes, want ${bytes}`);
  return { ...struct, bytes, fields };
}

function countOf({ name, count }: Field, enums: readonly Enum[]): number | undefined {
  if (typeof count !== "string") return count;
  const each = enums.find((candidate) => candidate.name === count);
  if (each === undefined)
    throw new Error(`${name}: got an element for each ${count}, want an enum`);
  return each.values.length;
}

/** What a schema says that moves no byte. */
const notLayout = new Set(["doc", "typescript"]);

function hashOf(part: SchemaPart | Schema): number {
  const text = JSON.stringify(part, (key, value) => (notLayout.has(key) ? undefined : value));
  return createHash("sha256").update(text).digest().readUInt32LE(0);
}

/** Bytes of a struct, or of a scalar. */
export function elementBytes(structs: readonly PlacedStruct[], element: string): number {
  return structs.find(({ name }) => name === element)?.bytes ?? sizes[element as FieldType];
}

/** `u32`, or `4 × u32`. */
export function shapeOf({ type, count }: Placed): string {
  return count === undefined ? type : `${count} × ${type}`;
}

/** The word that users see for a value of an enum. */
export function wordOf({ name, word }: Enum["values"][number]): string {
  return word ?? name.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase();
}

export function camelOf(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
