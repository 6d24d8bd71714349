import {
  Section,
  SectionId,
  type SectionName,
  sectionElementBytes,
  TableHeader,
  TrieV6Node,
} from "../layout/layout.gen.js";
import { LINE_WORDS, lineTerm, lineValue } from "./checksum.js";
import type { RestSection } from "./encode.js";

const CHECKSUM_AT = TableHeader.checksum / 4;
const sectionCount = Object.keys(SectionId).length;

/**
 * A table blob in which words are changed and elements inserted, with its checksum kept up to date.
 *
 * Shape: the same bytes as if they had been laid out anew, in a buffer with room to grow.
 * Cost:  a changed word costs its line; an element put in or taken out moves what stands behind it.
 */
export class BlobEditor {
  #words: Uint32Array<ArrayBuffer>;
  /** Each line's share of the checksum, except for lines in `#changed`. */
  #values: Int32Array;
  #lines: number;
  readonly #changed = new Set<number>();
  #moved = true;
  /** Lines that are other ones than at the last `takeChanged`; undefined where lines have moved since. */
  #taken: Set<number> | undefined = new Set();
  #sum = 0;

  constructor(blob: Uint8Array) {
    this.#lines = blob.byteLength / (LINE_WORDS * 4);
    this.#words = new Uint32Array(this.#lines * LINE_WORDS);
    new Uint8Array(this.#words.buffer).set(blob);
    this.#values = new Int32Array(this.#lines);
    for (let line = 0; line < this.#lines; line++) {
      this.#values[line] = lineValue(this.#words, line);
    }
  }

  /** Returns the place of a section's first word. */
  start(section: SectionName): number {
    return this.#words[fieldOf(SectionId[section], Section.offset)]! / 4;
  }

  /** Returns how many elements a section has. */
  count(section: SectionName): number {
    return this.get(fieldOf(SectionId[section], Section.count));
  }

  get(at: number): number {
    return this.#words[at]!;
  }

  set(at: number, value: number): void {
    if (this.#words[at] === value) return;
    this.#words[at] = value;
    this.#changed.add(Math.floor(at / LINE_WORDS));
  }

  fill(start: number, count: number, value: number): void {
    for (let at = start; at < start + count; at++) this.set(at, value);
  }

  /** Puts one element of zeros before element `index` of a group of `elements` of a section. */
  insert(section: SectionName, index: number, elements = 1): void {
    this.#splice(section, index * elements, elements);
  }

  /** Removes an element: the inverse of `insert`. */
  remove(section: SectionName, index: number, elements = 1): void {
    this.#splice(section, index * elements, -elements);
  }

  /** Sets a field of the header. */
  setHeader(field: "classCount" | "rowCount", value: number): void {
    this.set(TableHeader[field] / 4, value);
  }

  /**
   * Gives every leaf in the tries another number, by its old one.
   *
   * Cost: a pass over the tries.
   */
  renumberLeaves(numbers: Uint32Array): void {
    // Signed, an entry that leads to a node is negative: numbers that fit 31 bits are several times quicker.
    const entries = new Int32Array(this.#words.buffer);
    const signed = Int32Array.from(numbers);
    for (const section of ["trieV4Root", "trieV4Nodes", "trieV6Root", "trieV6Entries"] as const) {
      const start = this.start(section);
      const end = start + this.count(section);
      for (let line = start / LINE_WORDS; line * LINE_WORDS < end; line++) {
        if (mapLine(entries, line * LINE_WORDS, Math.min(end, (line + 1) * LINE_WORDS), signed)) {
          this.#changed.add(line);
        }
      }
    }
    const start = this.start("trieV6Nodes");
    for (let node = 0; node < this.count("trieV6Nodes"); node++) {
      for (const field of [TrieV6Node.missLeaf, TrieV6Node.hitLeaf]) {
        const at = start + (node * TrieV6Node.bytes + field) / 4;
        this.set(at, numbers[this.get(at)]!);
      }
    }
  }

  /** Lays all sections behind the tries out anew. */
  setRest(sections: Readonly<Record<RestSection, Uint8Array>>): void {
    const names = (Object.keys(SectionId) as SectionName[]).slice(SectionId.leaves);
    const first = this.start("leaves") / LINE_WORDS;
    const starts: number[] = [];
    let lines = first;
    for (const name of names as RestSection[]) {
      starts.push(lines);
      lines += linesOf(Math.ceil(sections[name].byteLength / 4));
    }
    this.#resize(lines);
    (names as RestSection[]).forEach((name, order) => {
      this.#write(starts[order]!, sections[name]);
      const id = SectionId[name];
      this.set(fieldOf(id, Section.offset), starts[order]! * LINE_WORDS * 4);
      this.set(fieldOf(id, Section.count), sections[name].byteLength / sectionElementBytes[id]!);
    });
  }

  /**
   * Brings the checksum up to date and returns the blob.
   *
   * Owner: the editor; the bytes change with the next edit.
   */
  blob(): Uint8Array {
    this.#settle();
    if (this.#moved) {
      this.#sum = 0;
      for (let line = 0; line < this.#lines; line++) {
        this.#sum = (this.#sum + lineTerm(line, this.#values[line]!)) | 0;
      }
      this.#moved = false;
    }
    // Its own line is computed without it.
    if (this.#words[CHECKSUM_AT] !== this.#sum >>> 0) {
      this.#words[CHECKSUM_AT] = this.#sum;
      this.#taken?.add(Math.floor(CHECKSUM_AT / LINE_WORDS));
    }
    return new Uint8Array(this.#words.buffer, 0, this.#lines * LINE_WORDS * 4);
  }

  /**
   * Returns the lines of `blob` that are other ones than the last time, ascending; undefined where lines have moved.
   */
  takeChanged(): Uint32Array | undefined {
    const taken = this.#taken;
    this.#taken = new Set();
    return taken && Uint32Array.from(taken).sort();
  }

  #splice(section: SectionName, index: number, elements: number): void {
    const id = SectionId[section];
    const countAt = fieldOf(id, Section.count);
    const elementWords = sectionElementBytes[id]! / 4;
    const start = this.start(section);
    const at = start + index * elementWords;
    const end = start + this.get(countAt) * elementWords;
    const added = elements * elementWords;
    const lines = linesOf(end + added) - linesOf(end);
    if (at % LINE_WORDS === 0 && added % LINE_WORDS === 0) {
      this.#moveLines(id, at / LINE_WORDS, lines);
    } else {
      if (added > 0) this.#moveLines(id, linesOf(end), lines);
      this.#words.copyWithin(Math.max(at, at + added), Math.max(at, at - added), end);
      if (added > 0) this.#words.fill(0, at, at + added);
      else this.#words.fill(0, end + added, end);
      for (let line = Math.floor(at / LINE_WORDS); line < linesOf(end + Math.max(added, 0)); line++)
        this.#changed.add(line);
      if (added < 0) this.#moveLines(id, linesOf(end) + lines, lines);
    }
    this.set(countAt, this.get(countAt) + elements);
  }

  /** Moves the lines from `line` on, which belong to the section or stand behind it. */
  #moveLines(section: number, line: number, by: number): void {
    if (by === 0) return;
    this.#settle();
    this.#moved = true;
    this.#taken = undefined;
    const lines = this.#lines + by;
    if (lines > this.#values.length) this.#grow(lines);
    const from = Math.max(line, line - by);
    const to = Math.max(line, line + by);
    this.#words.copyWithin(to * LINE_WORDS, from * LINE_WORDS, this.#lines * LINE_WORDS);
    this.#values.copyWithin(to, from, this.#lines);
    if (by > 0) {
      this.#words.fill(0, line * LINE_WORDS, to * LINE_WORDS);
      this.#values.fill(0, line, to);
    }
    this.#lines = lines;
    for (let later = section + 1; later < sectionCount; later++) {
      const at = fieldOf(later, Section.offset);
      this.set(at, this.get(at) + by * LINE_WORDS * 4);
    }
    this.set(TableHeader.totalBytes / 4, lines * LINE_WORDS * 4);
  }

  /** Writes bytes from a line on, and zeros up to the end of their last line. */
  #write(line: number, bytes: Uint8Array): void {
    const count = linesOf(Math.ceil(bytes.byteLength / 4));
    const room = new Uint8Array(this.#words.buffer, line * LINE_WORDS * 4, count * LINE_WORDS * 4);
    const rest = room.subarray(bytes.byteLength);
    const isSame =
      Buffer.compare(room.subarray(0, bytes.byteLength), bytes) === 0 &&
      rest.every((byte) => byte === 0);
    if (isSame) return;
    const whole = new Uint8Array(room.byteLength);
    whole.set(bytes);
    const words = new Uint32Array(whole.buffer);
    const first = line * LINE_WORDS;
    for (let at = 0; at < words.length; at++) this.set(first + at, words[at]!);
  }

  /** Adds lines of zeros at the end, or takes the last ones away. */
  #resize(lines: number): void {
    if (lines === this.#lines) return;
    this.#settle();
    this.#moved = true;
    this.#taken = undefined;
    if (lines > this.#values.length) this.#grow(lines);
    const [from, to] = [Math.min(lines, this.#lines), Math.max(lines, this.#lines)];
    this.#words.fill(0, from * LINE_WORDS, to * LINE_WORDS);
    this.#values.fill(0, from, to);
    this.#lines = lines;
    this.set(TableHeader.totalBytes / 4, lines * LINE_WORDS * 4);
  }

  #grow(lines: number): void {
    const capacity = Math.ceil(lines * 1.25);
    const words = new Uint32Array(capacity * LINE_WORDS);
    words.set(this.#words.subarray(0, this.#lines * LINE_WORDS));
    this.#words = words;
    const values = new Int32Array(capacity);
    values.set(this.#values);
    this.#values = values;
  }

  /** Computes the lines that were changed. */
  #settle(): void {
    for (const line of this.#changed) {
      const value = lineValue(this.#words, line);
      this.#sum = (this.#sum - lineTerm(line, this.#values[line]!) + lineTerm(line, value)) | 0;
      this.#values[line] = value;
      this.#taken?.add(line);
    }
    this.#changed.clear();
  }
}

/** Maps the entries of a line that are leaves; returns whether one is another now. */
function mapLine(entries: Int32Array, from: number, to: number, numbers: Int32Array): boolean {
  let difference = 0;
  for (let at = from; at < to; at++) {
    const entry = entries[at]!;
    if (entry < 0) continue;
    const number = numbers[entry]!;
    difference |= number ^ entry;
    entries[at] = number;
  }
  return difference !== 0;
}

/** The place of a field of a section's entry in the header. */
function fieldOf(section: number, field: number): number {
  return (TableHeader.sections + section * Section.bytes + field) / 4;
}

function linesOf(words: number): number {
  return Math.ceil(words / LINE_WORDS);
}
