import type { DiagnosticCode } from "../diagnostics/catalogue.js";
import { diagnostic, type ObjectRef, type Span } from "../diagnostics/diagnostic.js";
import type { Sink } from "../diagnostics/findings.js";
import { suggest } from "../diagnostics/suggest.js";
import type { SourceText } from "./source-text.js";
import { entryOf, type YamlEntry, type YamlNode } from "./yaml-node.js";

/** What the reading of one object shares: its text, what it is called, and what was found. */
export interface Reading {
  readonly source: Pick<SourceText, "span">;
  readonly object: ObjectRef;
  readonly diagnostics: Sink;
  /**
   * Whether the API server names indexes in the path of a value of the wrong type. It does for
   * custom resources, which a schema checks, and not for built-in ones, which a decoder does.
   */
  readonly indexed: boolean;
  /** Whether a server has stored the object: it is valid, whatever the form that servers ask for today. */
  readonly stored?: boolean;
  /** Namespace of an object that names none; `default` when absent. */
  readonly namespace?: string;
}

/**
 * Faults of form: of names, keys, texts and limits that servers have asked for or not, release by release. The
 * value at fault is what it says, so of a stored object they are none.
 */
const formCodes: ReadonlySet<DiagnosticCode> = new Set([
  "SL1202",
  "SL1204",
  "SL1208",
  "SL1218",
  "SL1219",
  "SL1221",
]);

/**
 * One value of an object, with its place and path, to be read as one type or another.
 *
 * A value of the wrong type is reported where it is read, and then counts as not there. Null counts
 * as not there from the start, as it does for the API server.
 */
export class Cursor {
  readonly #reading: Reading;
  readonly #parent: Cursor | undefined;
  readonly #step: string | number;
  readonly #node: YamlNode | undefined;
  readonly #start: number;
  readonly #end: number;

  constructor(
    reading: Reading,
    node: YamlNode | undefined,
    place: { readonly start: number; readonly end: number },
    step: string | number = "",
    parent?: Cursor,
  ) {
    this.#reading = reading;
    this.#parent = parent;
    this.#step = step;
    this.#node = node?.type === "scalar" && node.value === null ? undefined : node;
    this.#start = place.start;
    this.#end = place.end;
  }

  /** Whether the value is missing or null. */
  get absent(): boolean {
    return this.#node === undefined;
  }

  /** Whether a server has stored the object. */
  get isStored(): boolean {
    return this.#reading.stored === true;
  }

  /** The kind of the object that this is part of. */
  get kind(): string {
    return this.#reading.object.kind;
  }

  /** The namespace of an object that names none. */
  get usualNamespace(): string {
    return this.#reading.namespace ?? "default";
  }

  /** The place of the value; of its key when it has none; of its parent when the key is missing. */
  get span(): Span {
    return this.#reading.source.span(this.#start, this.#end);
  }

  /** The path as the API server writes it, such as `spec.ingress[0].from`. */
  path(indexed = true): string {
    const before = this.#parent?.path(indexed) ?? "";
    if (typeof this.#step === "number") return indexed ? `${before}[${this.#step}]` : before;
    return before === "" ? this.#step : `${before}.${this.#step}`;
  }

  /** Reports a fault of this value; `indexed` false where the API server's path has no indexes. */
  report(code: DiagnosticCode, message: string, { indexed = true } = {}): void {
    if (this.isStored && formCodes.has(code)) return;
    const { object, diagnostics } = this.#reading;
    diagnostics.push(diagnostic(code, this.span, message, { object, field: this.path(indexed) }));
  }

  /** Returns the value of a field of a map; an absent cursor where there is none. */
  field(name: string): Cursor {
    const entry = this.#node?.type === "map" ? entryOf(this.#node, name) : undefined;
    if (entry === undefined) return new Cursor(this.#reading, undefined, this.#place(), name, this);
    return this.#inside(entry);
  }

  /** Returns the keys of a map and their values, or nothing when it is absent or something else. */
  fields(): readonly (readonly [key: string, value: Cursor])[] {
    if (!this.isMap()) return [];
    return this.#entries().map((entry) => [entry.key, this.#inside(entry)]);
  }

  /** The place of a key of a map; the map's own where it has none. */
  keySpan(key: string): Span {
    const entry = this.#node?.type === "map" ? entryOf(this.#node, key) : undefined;
    if (entry === undefined) return this.span;
    return this.#reading.source.span(entry.keyStart, entry.keyEnd);
  }

  /** Reports a fault of one entry of a map: at the place of the key, under the path of the map. */
  reportAt(key: string, code: DiagnosticCode, message: string): void {
    const { object, diagnostics } = this.#reading;
    const about = { object, field: this.path() };
    diagnostics.push(diagnostic(code, this.keySpan(key), message, about));
  }

  /** Reports whether the value is a map; reports a value of another type. */
  isMap(): boolean {
    if (this.#node === undefined) return false;
    if (this.#node.type === "map") return true;
    this.#wrongType("a map");
    return false;
  }

  /** Reports every field of a map that is not among `known`. */
  onlyFields(known: readonly string[]): void {
    for (const entry of this.#entries()) {
      if (known.includes(entry.key)) continue;
      const { source, object, diagnostics } = this.#reading;
      const near = suggest(entry.key, known);
      const key = entry.key.length > 64 ? `${entry.key.slice(0, 64)}…` : entry.key;
      const want = near === undefined ? `want ${known.join(", ")}` : `did you mean "${near}"?`;
      const message = `unknown field "${key}", ${want}`;
      const span = source.span(entry.keyStart, entry.keyEnd);
      const field = this.#inside(entry).path();
      diagnostics.push(diagnostic("SL1103", span, message, { object, field }));
    }
  }

  /** Returns the items of a list; undefined when it is absent or something else. */
  items(): readonly Cursor[] | undefined {
    if (this.#node === undefined) return undefined;
    if (this.#node.type !== "sequence") return this.#wrongType("a list");
    return this.#node.items.map((item, index) => {
      const place = item.end > item.start ? item : this.#place();
      return new Cursor(this.#reading, item, place, index, this);
    });
  }

  string(): string | undefined {
    if (this.#node === undefined) return undefined;
    if (this.#node.type === "scalar" && typeof this.#node.value === "string") {
      return this.#node.value;
    }
    return this.#wrongType("text");
  }

  /** Returns a text; undefined for anything else, which whoever reads it for good reports. */
  textOrNothing(): string | undefined {
    const node = this.#node;
    return node?.type === "scalar" && typeof node.value === "string" ? node.value : undefined;
  }

  /** Returns this value as one of a map of texts, whose faults the API server lays at the map. */
  stringOfMap(): string | undefined {
    if (this.#node === undefined) return undefined;
    if (this.#node.type === "scalar" && typeof this.#node.value === "string") {
      return this.#node.value;
    }
    return this.#wrongType("text", this.#reading.indexed ? this : (this.#parent ?? this));
  }

  /** Returns a text that must be there and not be empty. */
  requiredString(want: string): string | undefined {
    const text = this.string();
    if (text === "" || this.absent) this.missing(want);
    return text === "" ? undefined : text;
  }

  boolean(): boolean | undefined {
    if (this.#node === undefined) return undefined;
    if (this.#node.type === "scalar" && typeof this.#node.value === "boolean") {
      return this.#node.value;
    }
    return this.#wrongType("true or false");
  }

  /** Returns a whole number of as many bits, sign included. */
  integer(bits: 32 | 64 = 32): number | undefined {
    if (this.#node === undefined) return undefined;
    if (this.#node.type !== "scalar" || typeof this.#node.value !== "number") {
      return this.#wrongType("a whole number");
    }
    return this.#checkInteger(this.#node.value, bits);
  }

  /** Returns a whole number of 32 bits or a text, as ports of policies are. */
  integerOrString(): number | string | undefined {
    if (this.#node?.type === "scalar" && typeof this.#node.value === "string") {
      return this.#node.value;
    }
    if (this.#node?.type === "scalar" && typeof this.#node.value === "number") {
      return this.#checkInteger(this.#node.value);
    }
    return this.#node === undefined ? undefined : this.#wrongType("a port number or a port name");
  }

  missing(want: string): void {
    this.report("SL1201", `got nothing, want ${want}`);
  }

  /** Returns a text that is one of `words`; reports any other. Absent is undefined. */
  oneOf<Word extends string>(words: readonly Word[]): Word | undefined {
    const text = this.string();
    if (text === undefined) return undefined;
    const word = words.find((each) => each === text);
    if (word !== undefined) return word;
    const near = suggest(text, words);
    const hint = near === undefined ? "" : `, did you mean ${near}?`;
    this.report("SL1210", `got ${quoted(text)}, want one of ${words.join(", ")}${hint}`);
    return undefined;
  }

  #checkInteger(value: number, bits = 32): number | undefined {
    if (!Number.isInteger(value)) return this.#wrongType("a whole number");
    if (value >= -(2 ** (bits - 1)) && value < 2 ** (bits - 1)) return value;
    const message = `got ${value}, want a whole number of ${bits} bits`;
    this.#reportDecode("SL1102", message);
    return undefined;
  }

  #wrongType(want: string, named: Cursor = this): undefined {
    const node = this.#node!;
    let got: string;
    if (node.type === "map") got = "a map";
    else if (node.type === "sequence") got = "a list";
    else if (typeof node.value === "string") got = `text ${quoted(node.value)}`;
    else if (typeof node.value === "number") got = `number ${node.value}`;
    else got = `boolean ${node.value}`;
    const hint = want === "text" && node.type === "scalar" ? " in quotes" : "";
    this.#reportDecode("SL1101", `got ${got}, want ${want}${hint}`, named);
    return undefined;
  }

  #reportDecode(code: "SL1101" | "SL1102", message: string, named: Cursor = this): void {
    const { object, diagnostics, indexed } = this.#reading;
    const about = { object, field: named.path(indexed) };
    diagnostics.push(diagnostic(code, this.span, message, about));
  }

  #entries(): readonly YamlEntry[] {
    return this.#node?.type === "map" ? this.#node.entries : [];
  }

  #inside(entry: YamlEntry): Cursor {
    const { value } = entry;
    const empty = value.type === "scalar" && value.value === null;
    const place = empty ? { start: entry.keyStart, end: entry.keyEnd } : value;
    return new Cursor(this.#reading, value, place, entry.key, this);
  }

  #place(): { readonly start: number; readonly end: number } {
    return { start: this.#start, end: this.#end };
  }
}

/** Shows a text of the input in a message: in quotes, and cut when it is long. */
export function quoted(text: string): string {
  return text.length > 64 ? `"${text.slice(0, 64)}…"` : `"${text}"`;
}
