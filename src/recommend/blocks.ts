import { type Address, addressKey, compareAddresses } from "../net/address.js";
import {
  comparePrefixes,
  formatPrefix,
  hostPrefix,
  type Prefix,
  prefixCovers,
  prefixOf,
} from "../net/prefix.js";

/** How wide a block for an address outside may be, by family, as a prefix length. */
export interface BlockLengths {
  readonly 4: number;
  readonly 6: number;
}

/** Every address alone. */
export const singleAddresses: BlockLengths = { 4: 32, 6: 128 };

/**
 * Chooses blocks for addresses outside the cluster: as wide as allowed, but never so wide that an address of a pod, a
 * node or a Service is inside, which would open it to somebody else.
 */
export class Blocks {
  readonly #lengths: BlockLengths;
  readonly #held = new Set<string>();

  constructor(lengths: BlockLengths, held: readonly Address[]) {
    this.#lengths = lengths;
    for (const address of held) {
      const bits = address.bytes.length * 8;
      for (let length = lengths[address.family]; length < bits; length++) {
        this.#held.add(formatPrefix(prefixOf(address, length)));
      }
    }
  }

  /** Covers addresses with the fewest blocks, neighbours joined where both halves are whole. Sorted. */
  cover(addresses: readonly Address[]): readonly Prefix[] {
    const each = addresses.map((address) => this.#around(address));
    return joined(each);
  }

  #around(address: Address): Prefix {
    const bits = address.bytes.length * 8;
    for (let length = this.#lengths[address.family]; length < bits; length++) {
      const block = prefixOf(address, length);
      if (!this.#held.has(formatPrefix(block))) return block;
    }
    return hostPrefix(address);
  }
}

/** The fewest blocks with exactly the addresses of the given ones. */
function joined(prefixes: readonly Prefix[]): readonly Prefix[] {
  const kept: Prefix[] = [];
  for (const prefix of [...prefixes].sort(comparePrefixes)) {
    if (kept.length > 0 && prefixCovers(kept.at(-1)!, prefix)) continue;
    kept.push(prefix);
    // Two halves are one block, which may be the half of a wider one.
    for (let pair = whole(kept.at(-2), kept.at(-1)!); pair !== undefined; ) {
      kept.splice(-2, 2, pair);
      pair = whole(kept.at(-2), kept.at(-1)!);
    }
  }
  return kept;
}

/** The block that two blocks are the halves of. */
function whole(a: Prefix | undefined, b: Prefix): Prefix | undefined {
  if (a === undefined || a.length !== b.length || a.length === 0) return undefined;
  if (a.address.family !== b.address.family || addressKey(a.address) === addressKey(b.address)) {
    return undefined;
  }
  const block = prefixOf(a.address, a.length - 1);
  const other = prefixOf(b.address, b.length - 1);
  return compareAddresses(block.address, other.address) === 0 ? block : undefined;
}
