import {
  banner,
  camelOf,
  elementBytes,
  type Placed,
  type PlacedSchema,
  type PlacedStruct,
  shapeOf,
  wordOf,
} from "./place.js";
import type { Enum } from "./schema.js";

/** Writes layout.gen.ts: numbers, enums with their words, offsets, readers and writers of records. */
export function renderTypescript(schema: PlacedSchema): string {
  const { limits, blobHash, layoutHash } = schema;
  return [
    `// ${banner}`,
    "",
    "/** Of what a table blob holds. */",
    `export const BLOB_HASH = 0x${blobHash.toString(16)};`,
    "/** Of all that TypeScript and the addon share. */",
    `export const LAYOUT_HASH = 0x${layoutHash.toString(16)};`,
    "",
    ...Object.entries(limits).map(([name, value]) => `export const ${name} = ${value};`),
    ...schema.enums.flatMap(enumOf),
    ...schema.structs.flatMap(structOf),
    ...sectionsOf(schema),
    ...helpers,
    "",
  ].join("\n");
}

function enumOf({ name, doc, values }: Enum): string[] {
  return [
    "",
    `/** ${doc} */`,
    `export const ${name} = {`,
    ...values.flatMap((value, index) => [`  /** ${value.doc} */`, `  ${value.name}: ${index},`]),
    "} as const;",
    `export type ${name} = (typeof ${name})[keyof typeof ${name}];`,
    `/** The word for each value of ${name}, by its number. */`,
    `export const ${camelOf(name)}Words = [`,
    ...values.map((value) => `  "${wordOf(value)}",`),
    "] as const;",
  ];
}

function structOf(struct: PlacedStruct): string[] {
  const { name, doc, bytes, fields, typescript = [] } = struct;
  return [
    "",
    `/** ${doc} Byte offsets of its fields. */`,
    `export const ${name} = {`,
    `  bytes: ${bytes},`,
    ...fields.flatMap((field) => [
      `  /** ${shapeOf(field)}: ${field.doc} */`,
      `  ${field.name}: ${field.offset},`,
    ]),
    "} as const;",
    ...(typescript.length === 0 ? [] : fieldsOf(struct)),
    ...(typescript.includes("read") ? readerOf(struct) : []),
    ...(typescript.includes("write") ? writerOf(struct) : []),
  ];
}

const isUsed = ({ name }: Placed): boolean => name !== "reserved";

function fieldsOf({ name, fields }: PlacedStruct): string[] {
  return [
    "",
    `/** The fields of a ${name}. */`,
    `export interface ${name}Fields {`,
    ...fields
      .filter(isUsed)
      .flatMap((field) => [`  /** ${field.doc} */`, `  readonly ${field.name}: ${typeOf(field)};`]),
    "}",
  ];
}

function typeOf({ type, count }: Placed): string {
  if (count === undefined) return "number";
  return type === "u8" ? "Uint8Array" : "readonly number[]";
}

function readerOf({ name, fields }: PlacedStruct): string[] {
  return [
    "",
    `/** Reads the ${name} at byte \`at\`; arrays are copies. */`,
    `export function read${name}(view: DataView, at: number): ${name}Fields {`,
    "  return {",
    ...fields.filter(isUsed).map((field) => `    ${field.name}: ${readOf(field)},`),
    "  };",
    "}",
  ];
}

function readOf({ type, count, offset }: Placed): string {
  const at = offset === 0 ? "at" : `at + ${offset}`;
  if (count === undefined) {
    return type === "u8" ? `view.getUint8(${at})` : `${type}At(view, ${at})`;
  }
  return type === "u8"
    ? `bytesAt(view, ${at}, ${count})`
    : `listAt(view, ${at}, ${count}, ${type}At, ${sizeOf(type)})`;
}

function writerOf({ name, fields }: PlacedStruct): string[] {
  return [
    "",
    `/** Writes a ${name} at byte \`at\`. Shape: those bytes are zero before; short arrays leave zeros. */`,
    `export function write${name}(view: DataView, at: number, fields: ${name}Fields): void {`,
    ...fields.filter(isUsed).flatMap(writeOf),
    "}",
  ];
}

function writeOf({ name, type, count, offset }: Placed): string[] {
  const at = offset === 0 ? "at" : `at + ${offset}`;
  if (count === undefined) return [`  ${setOf(type, at, `fields.${name}`)}`];
  if (type === "u8") return [`  setBytes(view, ${at}, ${count}, fields.${name});`];
  const element = setOf(type, `${at} + place * ${sizeOf(type)}`, `fields.${name}[place] ?? 0`);
  return [`  for (let place = 0; place < ${count}; place++) ${element}`];
}

function setOf(type: Placed["type"], at: string, value: string): string {
  switch (type) {
    case "u8":
      return `view.setUint8(${at}, ${value});`;
    case "u16":
      return `view.setUint16(${at}, ${value}, true);`;
    case "u32":
      return `view.setUint32(${at}, ${value}, true);`;
    case "u64":
      return `view.setBigUint64(${at}, BigInt(${value}), true);`;
  }
}

function sizeOf(type: Placed["type"]): number {
  return elementBytes([], type);
}

function sectionsOf({ sections, structs }: PlacedSchema): string[] {
  return [
    "",
    "/** Array sections of a table blob. */",
    "export const SectionId = {",
    ...sections.flatMap(({ name, element, doc }, index) => [
      `  /** ${element}: ${doc} */`,
      `  ${name}: ${index},`,
    ]),
    "} as const;",
    "export type SectionName = keyof typeof SectionId;",
    "/** Bytes of one element of each section, by SectionId. */",
    "export const sectionElementBytes = [",
    ...sections.map(({ element }) => `  ${elementBytes(structs, element)},`),
    "] as const;",
  ];
}

/** What readers and writers are made of. */
const helpers = `
function u16At(view: DataView, at: number): number {
  return view.getUint16(at, true);
}

function u32At(view: DataView, at: number): number {
  return view.getUint32(at, true);
}

/** The nearest number that is exact: beyond it is no time and no count, but a broken clock. */
function u64At(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

function bytesAt(view: DataView, at: number, count: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, count).slice();
}

function listAt(
  view: DataView,
  at: number,
  count: number,
  read: (view: DataView, at: number) => number,
  size: number,
): readonly number[] {
  return Array.from({ length: count }, (_, place) => read(view, at + place * size));
}

function setBytes(view: DataView, at: number, count: number, bytes: Uint8Array): void {
  if (bytes.length > count) throw new RangeError(\`got \${bytes.length} bytes, want \${count} at most\`);
  new Uint8Array(view.buffer, view.byteOffset + at, count).set(bytes);
}`.split("\n");
