import type { Cursor } from "../manifest/cursor.js";
import { quoted } from "../manifest/cursor.js";
import { type Address, parseAddress } from "../net/address.js";
import { type Prefix, parsePrefix, prefixContains } from "../net/prefix.js";

/**
 * What a config may hold, declared once: the reader, the JSON Schema and the table in the docs all use it.
 *
 * A key without a value is an error; it does not count as absent.
 */
export interface Shape<Value> {
  /** Reads a value; undefined when it is invalid, which has then been reported. */
  read(cursor: Cursor): Value | undefined;
  /** As JSON Schema, draft 2020-12. */
  schema(): JsonSchema;
}

export type JsonSchema = { readonly [key: string]: unknown };

/** One key of a map. */
export interface Field<Value, Optional extends boolean> {
  readonly shape: Shape<Value>;
  readonly isOptional: Optional;
  readonly doc: string;
  /** The default when the key is absent, for the docs. */
  readonly fallback: string | undefined;
}

export function required<Value>(shape: Shape<Value>, doc: string): Field<Value, false> {
  return { shape, isOptional: false, doc, fallback: undefined };
}

export function optional<Value>(
  shape: Shape<Value>,
  doc: string,
  fallback?: string,
): Field<Value, true> {
  return { shape, isOptional: true, doc, fallback };
}

/** A text that matches `pattern` and that `accepts` takes; `want` describes it in errors. */
export function text(
  pattern: RegExp,
  want: string,
  accepts: (value: string) => boolean = () => true,
): Shape<string> {
  return {
    read(cursor) {
      if (cursor.absent) return reportMissing(cursor, want);
      const value = cursor.string();
      if (value === undefined || (pattern.test(value) && accepts(value))) return value;
      cursor.report("SL1219", `got ${quoted(value)}, want ${want}`);
      return undefined;
    },
    schema: () => ({ type: "string", pattern: pattern.source }),
  };
}

/** An address that a packet of some machine may come from, in any form that is read. */
export function sourceAddress(): Shape<Address> {
  const want = "an IPv4 or IPv6 address that a machine may send from";
  return {
    read(cursor) {
      if (cursor.absent) return reportMissing(cursor, want);
      const value = cursor.string();
      if (value === undefined) return undefined;
      const address = parseAddress(value);
      if (address !== undefined && !noSource.some((block) => prefixContains(block, address)))
        return address;
      cursor.report("SL1219", `got ${quoted(value)}, want ${want}`);
      return undefined;
    },
    // What it says in full no pattern does.
    schema: () => ({ type: "string", pattern: "^[0-9a-fA-F:.]{2,45}$" }),
  };
}

/** Addresses that are nobody's on a network: unspecified, loopback, IPv4-mapped and multicast ones. */
const noSource: readonly Prefix[] = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "224.0.0.0/3",
  "::/127",
  "::ffff:0:0/96",
  "ff00::/8",
].flatMap((text) => parsePrefix(text) ?? []);

/** One of some words. */
export function choice<const Word extends string>(...words: readonly Word[]): Shape<Word> {
  return {
    read: (cursor) =>
      cursor.absent ? reportMissing(cursor, `one of ${words.join(", ")}`) : cursor.oneOf(words),
    schema: () => (words.length === 1 ? { const: words[0] } : { enum: [...words] }),
  };
}

export function whole(least: number, most: number): Shape<number> {
  const want = `a whole number from ${least} to ${most}`;
  return {
    read(cursor) {
      if (cursor.absent) return reportMissing(cursor, want);
      const value = cursor.integer(64);
      if (value === undefined || (value >= least && value <= most)) return value;
      cursor.report("SL1218", `got ${value}, want ${want}`);
      return undefined;
    },
    schema: () => ({ type: "integer", minimum: least, maximum: most }),
  };
}

export function boolean(): Shape<boolean> {
  return {
    read: (cursor) => (cursor.absent ? reportMissing(cursor, "true or false") : cursor.boolean()),
    schema: () => ({ type: "boolean" }),
  };
}

/** A list of at least one. Items that could not be read are left out. */
export function list<Value>(item: Shape<Value>, most: number): Shape<readonly Value[]> {
  return {
    read(cursor) {
      if (cursor.absent) return reportMissing(cursor, "a list");
      const items = cursor.items();
      if (items === undefined) return undefined;
      if (items.length === 0 || items.length > most) {
        cursor.report("SL1215", `got ${items.length} items, want 1 to ${most}`);
      }
      return items.map((each) => item.read(each)).filter((value) => value !== undefined);
    },
    schema: () => ({ type: "array", items: item.schema(), minItems: 1, maxItems: most }),
  };
}

export type Fields = { readonly [key: string]: Field<unknown, boolean> };

/** The type that a map of these fields is read into; `cursor` gives the places of its values. */
export type MapOf<Of extends Fields> = {
  readonly [Key in keyof Of]: Of[Key] extends Field<infer Value, infer Optional>
    ? Optional extends true
      ? Value | undefined
      : Value
    : never;
} & { readonly cursor: Cursor };

export interface MapShape<Of extends Fields> extends Shape<MapOf<Of>> {
  readonly fields: Of;
}

/** Groups of keys: `oneOf` needs exactly one of them, `anyOf` at least one. */
export interface Choices<Key> {
  readonly oneOf?: readonly Key[];
  readonly anyOf?: readonly Key[];
}

/** A map of these keys and no others. */
export function map<const Of extends Fields>(
  fields: Of,
  choices: Choices<keyof Of & string> = {},
): MapShape<Of> {
  const known = Object.keys(fields);
  return {
    fields,
    read(cursor) {
      if (cursor.absent) return reportMissing(cursor, `a map of ${known.join(", ")}`);
      if (!cursor.isMap()) return undefined;
      cursor.onlyFields(known);
      const there = new Set(cursor.fields().map(([key]) => key));
      checkChoices(cursor, there, choices);
      const values: Record<string, unknown> = { cursor };
      let isWhole = true;
      for (const [key, { shape, isOptional }] of Object.entries(fields)) {
        if (!there.has(key) && isOptional) continue;
        const value = shape.read(cursor.field(key));
        values[key] = value;
        isWhole &&= value !== undefined || isOptional;
      }
      return isWhole ? (values as MapOf<Of>) : undefined;
    },
    schema: () => ({
      type: "object",
      properties: Object.fromEntries(
        Object.entries(fields).map(([key, { shape, doc, fallback }]) => [
          key,
          {
            description: fallback === undefined ? doc : `${doc} (${fallback} when left out)`,
            ...shape.schema(),
          },
        ]),
      ),
      required: known.filter((key) => !fields[key]?.isOptional),
      additionalProperties: false,
      ...Object.fromEntries(
        Object.entries(choices).map(([kind, keys]: [string, readonly string[]]) => [
          kind,
          keys.map((key) => ({ required: [key] })),
        ]),
      ),
    }),
  };
}

function checkChoices(
  cursor: Cursor,
  there: ReadonlySet<string>,
  { oneOf, anyOf }: Choices<string>,
): void {
  const chosen = oneOf?.filter((key) => there.has(key));
  if (oneOf !== undefined && chosen?.length !== 1) {
    const got = chosen?.join(" and ") || "nothing";
    cursor.report("SL1217", `got ${got}, want exactly one of ${oneOf.join(", ")}`);
  }
  if (anyOf !== undefined && !anyOf.some((key) => there.has(key))) {
    cursor.report("SL1217", `got nothing, want at least one of ${anyOf.join(", ")}`);
  }
}

function reportMissing(cursor: Cursor, want: string): undefined {
  cursor.missing(want);
}
