import type { Random } from "../property/random.js";

/** Numbers at which readers of lengths and counts go wrong. */
const numbers = [
  0,
  1,
  2,
  3,
  4,
  8,
  12,
  16,
  20,
  0x7f,
  0xff,
  0xffff,
  0x7fffffff,
  0x80000000,
  2 ** 32 - 1,
];

/** Makes an input from one of the seeds, changed in some places, cut, repeated or joined to another. */
export function mutate(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  let bytes = Uint8Array.from(random.pick(seeds));
  for (let change = 1 + random.below(5); change > 0 && bytes.length > 0; change--) {
    const at = random.below(bytes.length);
    const end = Math.min(bytes.length, at + 1 + random.below(40));
    switch (random.below(8)) {
      case 0:
        bytes[at] = random.below(256);
        break;
      case 1:
        bytes[at] = bytes[at]! ^ (1 << random.below(8));
        break;
      case 2:
      case 3:
      case 4:
        setNumber(random, bytes, at);
        break;
      case 5:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(end));
        break;
      case 6:
        bytes = joined(bytes.subarray(0, end), bytes.subarray(at));
        break;
      default:
        bytes = random.oneIn(2) ? bytes.slice(0, at) : joined(bytes, random.pick(seeds));
    }
  }
  return bytes;
}

/** Writes one of the numbers, or one near the length, where lengths stand: on a multiple of 4. */
function setNumber(random: Random, bytes: Uint8Array, at: number): void {
  const place = at & ~3;
  if (place + 4 > bytes.length) return;
  const value = random.oneIn(4) ? bytes.length - random.below(40) : random.pick(numbers);
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(place, value >>> 0, !random.oneIn(3));
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
