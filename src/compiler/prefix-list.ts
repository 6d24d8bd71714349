import type { Address } from "../net/address.js";
import { formatPrefix, type Prefix } from "../net/prefix.js";

/** Words of 32 bits that hold the address bits of an IPv6 prefix; IPv4 uses the first. */
const WORDS = 4;

/**
 * Prefixes of one family side by side in typed arrays, each with a number of the caller's.
 *
 * Shape: `words` has four u32 a prefix, most significant first, bits past the length zero.
 */
export interface PrefixList {
  readonly count: number;
  readonly words: Uint32Array;
  readonly lengths: Uint8Array;
  readonly payloads: Uint32Array;
}

/** Collects prefixes of one family. */
export class PrefixListBuilder {
  #count = 0;
  #words = new Uint32Array(64 * WORDS);
  #lengths = new Uint8Array(64);
  #payloads = new Uint32Array(64);

  add({ address, length }: Prefix, payload: number): void {
    this.#write(address, this.#reserve(length, payload));
  }

  /** Adds the prefix that holds one address alone. */
  addHost(address: Address, payload: number): void {
    this.#write(address, this.#reserve(address.bytes.length * 8, payload));
  }

  #write({ bytes }: Address, index: number): void {
    const at = index * WORDS;
    for (let word = 0; word * 4 < bytes.length; word++) {
      const byte = word * 4;
      this.#words[at + word] =
        (bytes[byte]! << 24) |
        (bytes[byte + 1]! << 16) |
        (bytes[byte + 2]! << 8) |
        bytes[byte + 3]!;
    }
  }

  /** Adds the prefix at `index` of another list. */
  copy(from: PrefixList, index: number, payload: number): void {
    const at = this.#reserve(from.lengths[index]!, payload) * WORDS;
    for (let word = 0; word < WORDS; word++) {
      this.#words[at + word] = from.words[index * WORDS + word]!;
    }
  }

  list(): PrefixList {
    return {
      count: this.#count,
      words: this.#words,
      lengths: this.#lengths,
      payloads: this.#payloads,
    };
  }

  #reserve(length: number, payload: number): number {
    const index = this.#count++;
    if (index === this.#lengths.length) {
      this.#words = grown(this.#words, Uint32Array);
      this.#lengths = grown(this.#lengths, Uint8Array);
      this.#payloads = grown(this.#payloads, Uint32Array);
    }
    this.#lengths[index] = length;
    this.#payloads[index] = payload;
    return index;
  }
}

/**
 * Returns indexes into `list`, by address and then the wider prefix first.
 *
 * Cost: one pass a byte, from the last to the first; none where all prefixes have the same.
 */
export function sortedOrder(list: PrefixList): Uint32Array {
  let order = Uint32Array.from({ length: list.count }, (_, index) => index);
  let other = new Uint32Array(list.count);
  const sortBy = (digitOf: (index: number) => number): void => {
    const starts = new Uint32Array(257);
    for (const index of order) starts[digitOf(index) + 1]!++;
    if (starts.includes(list.count, 1)) return;
    for (let digit = 1; digit < 257; digit++) starts[digit]! += starts[digit - 1]!;
    for (const index of order) other[starts[digitOf(index)]!++] = index;
    [order, other] = [other, order];
  };
  sortBy((index) => list.lengths[index]!);
  for (let byte = WORDS * 4 - 1; byte >= 0; byte--) sortBy((index) => byteAt(list, index, byte));
  return order;
}

/** Orders two prefixes of a list; 0 when they are equal. */
export function compareAt({ words, lengths }: PrefixList, a: number, b: number): number {
  for (let word = 0; word < WORDS; word++) {
    const difference = words[a * WORDS + word]! - words[b * WORDS + word]!;
    if (difference !== 0) return difference;
  }
  return lengths[a]! - lengths[b]!;
}

/** Reports whether the prefix at `outer` covers the one at `inner`. */
export function coversAt({ words, lengths }: PrefixList, outer: number, inner: number): boolean {
  const length = lengths[outer]!;
  if (length > lengths[inner]!) return false;
  for (let word = 0, bits = length; bits > 0; word++, bits -= 32) {
    const difference = words[outer * WORDS + word]! ^ words[inner * WORDS + word]!;
    if (bits >= 32 ? difference !== 0 : difference >>> (32 - bits) !== 0) return false;
  }
  return true;
}

/** Returns byte `byte` (0 to 15) of the address of the prefix at `index`. */
export function byteAt({ words }: PrefixList, index: number, byte: number): number {
  return (words[index * WORDS + (byte >> 2)]! >>> (24 - (byte & 3) * 8)) & 0xff;
}

/** Formats the prefix at `index` of a list of this family. */
export function prefixText(list: PrefixList, index: number, family: 4 | 6): string {
  const bytes = Uint8Array.from({ length: family === 4 ? 4 : 16 }, (_, at) =>
    byteAt(list, index, at),
  );
  return formatPrefix({ address: { family, bytes }, length: list.lengths[index]! });
}

function grown<List extends Uint32Array | Uint8Array>(
  old: List,
  make: new (length: number) => List,
): List {
  const larger = new make(old.length * 2);
  larger.set(old);
  return larger;
}
