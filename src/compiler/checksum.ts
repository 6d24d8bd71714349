import { TABLE_ALIGNMENT_BYTES, TableHeader } from "../layout/layout.gen.js";

/** The checksum looks at the blob by lines of 64 bytes, which is what sections are aligned to. */
export const LINE_WORDS = TABLE_ALIGNMENT_BYTES / 4;

const OWN_WORD = TableHeader.checksum / 4;
const COLUMN_FACTORS = Uint32Array.from({ length: LINE_WORDS }, (_, column) =>
  Math.imul(0x9e3779b1, 2 * column + 1),
);

/**
 * Computes the checksum of a blob, its own field taken as zero.
 *
 * Shape:  the length is a multiple of 64; the bytes start on a word.
 * Source: docs/format.md, "Table blob".
 */
export function checksumOf(blob: Uint8Array): number {
  const words = new Uint32Array(blob.buffer, blob.byteOffset, blob.byteLength / 4);
  let sum = 0;
  for (let line = 0; line < words.length / LINE_WORDS; line++) {
    sum = (sum + lineTerm(line, lineValue(words, line))) | 0;
  }
  return sum >>> 0;
}

/** Returns one line's value, independent of its position in the blob. */
export function lineValue(words: Uint32Array, line: number): number {
  const start = line * LINE_WORDS;
  let value = 0;
  for (let column = 0; column < LINE_WORDS; column++) {
    const at = start + column;
    const word = at === OWN_WORD ? 0 : words[at]!;
    value = (value + Math.imul(word ^ (word >>> 16), COLUMN_FACTORS[column]!)) | 0;
  }
  return value;
}

/** Returns what a line of this value adds to the checksum. */
export function lineTerm(line: number, value: number): number {
  const mixed = Math.imul(value ^ Math.imul(line, 0x85ebca6b), 0xc2b2ae35);
  return Math.imul(mixed ^ (mixed >>> 15), 0x9e3779b1);
}
