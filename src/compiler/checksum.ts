import { TableHeader } from "../layout/layout.gen.js";

/**
 * Computes the checksum of a blob, its own field taken as zero.
 *
 * Shape:  the length is a multiple of 64; the bytes start on a word.
 * Source: docs/format.md, "Table blob".
 */
export function checksumOf(blob: Uint8Array): number {
  const words = new Uint32Array(blob.buffer, blob.byteOffset, blob.byteLength / 4);
  const own = TableHeader.checksum / 4;
  let [a, b, c, d] = [1, 2, 3, 4];
  for (let at = 0; at < words.length; at += 4) {
    a = step(a, at === own ? 0 : words[at]!);
    b = step(b, at + 1 === own ? 0 : words[at + 1]!);
    c = step(c, at + 2 === own ? 0 : words[at + 2]!);
    d = step(d, at + 3 === own ? 0 : words[at + 3]!);
  }
  return [a, b, c, d].reduce(step, 0) >>> 0;
}

function step(lane: number, word: number): number {
  const mixed = lane ^ word;
  return Math.imul((mixed << 13) | (mixed >>> 19), 0x9e3779b1);
}
