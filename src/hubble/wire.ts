import type { MessageName } from "./definitions.js";
import { enums, type FieldDefinition, type MessageDefinition, messages } from "./definitions.js";

/**
 * Messages of definitions.ts as bytes, and back.
 *
 * Shape: a message is what it is in Protobuf's JSON: a timestamp is RFC 3339 text, an enumeration its word, a
 *        BoolValue its value, and fields that have their default may be absent. A Flow of observe is one.
 * Source: Protobuf's encoding and its JSON mapping.
 */

const varint = 0;
const fixed64 = 1;
const delimited = 2;
const fixed32 = 5;

type Value = unknown;
type Members = Readonly<Record<string, Value>>;

/** A message that is no message of its type. */
export class WireError extends Error {}

/** Encodes a message. Members that the type does not have are left out. */
export function encodeMessage(type: MessageName, value: object): Buffer {
  const writer = new Writer();
  writeMembers(writer, messages[type], value as Members);
  return writer.bytes();
}

/**
 * Decodes a message.
 *
 * Shape:  every repeated field is there, others where they were sent. `unknown` is called for each field that the
 *         type does not have.
 * Errors: WireError.
 */
export function decodeMessage(
  type: MessageName,
  bytes: Uint8Array,
  unknown: (type: string, field: number) => void = () => {},
): Record<string, Value> {
  return readMembers(new Reader(bytes), type, unknown);
}

class Writer {
  #bytes = Buffer.allocUnsafe(256);
  #length = 0;

  bytes(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#length));
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#length + more));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }

  /** A whole number from 0 to 2^53, or a negative one of 32 bits, which takes 64 as the encoding has it. */
  varint(value: number): void {
    this.#reserve(10);
    if (value < 0) {
      for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
        const byte = Number(rest & 0x7fn);
        this.#bytes[this.#length++] = rest > 0x7fn ? byte | 0x80 : byte;
        if (rest <= 0x7fn) return;
      }
    }
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  double(value: number): void {
    this.#reserve(8);
    this.#length = this.#bytes.writeDoubleLE(value, this.#length);
  }

  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.#reserve(length);
    this.#length += this.#bytes.write(value, this.#length);
  }

  delimited(value: Uint8Array): void {
    this.varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }
}

function writeMembers(writer: Writer, definition: MessageDefinition, value: Members): void {
  for (const [name, [number, type, rule]] of Object.entries(definition)) {
    const member = value[name];
    if (member === undefined) continue;
    if (rule === "repeated") {
      for (const each of member as readonly Value[]) writeField(writer, number, type, each);
    } else if (member !== defaultOf(type)) writeField(writer, number, type, member);
  }
}

/** Writes one value, whether it is the default or not. */
function writeField(writer: Writer, number: number, type: string, value: Value): void {
  const tag = (kind: number) => writer.varint(number * 8 + kind);
  switch (type) {
    case "string":
      tag(delimited);
      writer.text(value as string);
      return;
    case "bool":
      tag(varint);
      writer.varint(value ? 1 : 0);
      return;
    case "int32":
    case "uint32":
    case "uint64":
      tag(varint);
      writer.varint(value as number);
      return;
    case "double":
      tag(fixed64);
      writer.double(value as number);
      return;
    default: {
      const words = enums[type];
      if (words !== undefined) {
        tag(varint);
        writer.varint(words[value as string] ?? 0);
        return;
      }
      tag(delimited);
      writer.delimited(encodeMessage(type as MessageName, plainOf(type, value)));
    }
  }
}

/** What a singular field is when it is absent; undefined for messages, which are there or not. */
function defaultOf(type: string): Value {
  if (type === "string") return "";
  if (type === "bool") return false;
  if (enums[type] !== undefined) {
    return Object.entries(enums[type]).find(([, number]) => number === 0)?.[0];
  }
  return type in messages ? undefined : 0;
}

/** The members of a message that JSON writes as a plain value. */
function plainOf(type: string, value: Value): Members {
  switch (type) {
    case "google.protobuf.Timestamp":
      return timestampOf(value as string);
    case "google.protobuf.BoolValue":
      return { value };
    default:
      return value as Members;
  }
}

/** RFC 3339, in UTC, with up to nine digits behind the point. */
function timestampOf(text: string): Members {
  const fraction = /\.(\d{1,9})Z$/.exec(text)?.[1] ?? "";
  const seconds = Math.floor(Date.parse(text) / 1_000);
  return { seconds, nanos: Number(fraction.padEnd(9, "0")) };
}

class Reader {
  readonly #view: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#view.length;
  }

  /** Loses what is above 2^53. */
  varint(): number {
    return Number(BigInt.asUintN(64, this.#varint64()));
  }

  int32(): number {
    return Number(BigInt.asIntN(32, this.#varint64()));
  }

  #varint64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#view[this.#at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new WireError("a number does not end");
  }

  bytes(length: number): Buffer {
    if (length > this.#view.length - this.#at) throw new WireError("the message ends in a field");
    this.#at += length;
    return this.#view.subarray(this.#at - length, this.#at);
  }
}

function readMembers(
  reader: Reader,
  type: MessageName,
  unknown: (type: string, field: number) => void,
): Record<string, Value> {
  const fields = fieldsByNumber(type);
  const read: Record<string, Value> = {};
  for (const { name, rule } of fields.values()) if (rule === "repeated") read[name] = none;
  while (!reader.isAtEnd) {
    const tag = reader.varint();
    const [number, kind] = [Math.floor(tag / 8), tag % 8];
    const field = fields.get(number);
    if (field === undefined) {
      unknown(type, number);
      skip(reader, kind);
      continue;
    }
    const values = readValues(reader, kind, field.type, unknown);
    if (field.rule === "repeated") append(read, field.name, values);
    else if (values.length > 0) read[field.name] = values.at(-1);
  }
  return read;
}

/** Of all repeated fields that have no value: a filter of two bytes has forty of them. */
const none: readonly Value[] = Object.freeze([]);

function append(read: Record<string, Value>, name: string, values: readonly Value[]): void {
  if (read[name] === none) read[name] = [];
  const all = read[name] as Value[];
  for (const value of values) all.push(value);
}

/** Reads the values of one field; a packed one has several. */
function readValues(
  reader: Reader,
  kind: number,
  type: string,
  unknown: (type: string, field: number) => void,
): readonly Value[] {
  const isMessage = type in messages;
  if (type === "string" || isMessage) {
    if (kind !== delimited) throw new WireError(`a ${type} of wire type ${kind}`);
    const bytes = reader.bytes(reader.varint());
    if (!isMessage) return [bytes.toString("utf8")];
    return [jsonOf(type, readMembers(new Reader(bytes), type as MessageName, unknown))];
  }
  if (type === "double") {
    if (kind !== fixed64) throw new WireError(`a double of wire type ${kind}`);
    return [reader.bytes(8).readDoubleLE()];
  }
  if (kind === varint) return [readScalar(reader, type)];
  if (kind !== delimited) throw new WireError(`a ${type} of wire type ${kind}`);
  const packed = new Reader(reader.bytes(reader.varint()));
  const values: Value[] = [];
  while (!packed.isAtEnd) values.push(readScalar(packed, type));
  return values;
}

function readScalar(reader: Reader, type: string): Value {
  if (type === "int32") return reader.int32();
  const number = reader.varint();
  if (type === "bool") return number !== 0;
  const words = enums[type];
  if (words === undefined) return number;
  // A word of a newer protocol stays a number, and is like none of ours.
  return Object.entries(words).find(([, each]) => each === number)?.[0] ?? `${number}`;
}

function jsonOf(type: string, members: Members): Value {
  if (type === "google.protobuf.BoolValue") return members["value"] ?? false;
  if (type !== "google.protobuf.Timestamp") return members;
  const { seconds = 0, nanos = 0 } = members as { seconds?: number; nanos?: number };
  const date = new Date(seconds * 1_000);
  if (Number.isNaN(date.getTime()) || nanos > 999_999_999) throw new WireError("a time is none");
  return date.toISOString().replace(/000Z$/, `${String(nanos).padStart(9, "0")}Z`);
}

function skip(reader: Reader, kind: number): void {
  if (kind === varint) reader.varint();
  else if (kind === delimited) reader.bytes(reader.varint());
  else if (kind === fixed64) reader.bytes(8);
  else if (kind === fixed32) reader.bytes(4);
  else throw new WireError(`a field of wire type ${kind}`);
}

interface NamedField {
  readonly name: string;
  readonly type: string;
  readonly rule: FieldDefinition[2];
}

const byNumber = new Map<MessageName, ReadonlyMap<number, NamedField>>();

function fieldsByNumber(type: MessageName): ReadonlyMap<number, NamedField> {
  const known = byNumber.get(type);
  if (known !== undefined) return known;
  const fields: MessageDefinition = messages[type];
  const made = new Map(
    Object.entries(fields).map(([name, [number, of, rule]]) => [number, { name, type: of, rule }]),
  );
  byNumber.set(type, made);
  return made;
}
