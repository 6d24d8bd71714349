import { TRIE_CHILD_BIT, TRIE_NODE_ENTRIES, TRIE_V6_ROOT_ENTRIES } from "../layout/layout.gen.js";
import { byteAt, type PrefixList } from "./prefix-list.js";

/** A node as the blob has it: the bytes before `byteIndex` are those of every address below. */
export interface TrieV6Node {
  /** A prefix whose first `byteIndex` bytes are the node's value. */
  readonly prefix: number;
  readonly byteIndex: number;
  readonly missLeaf: number;
  readonly entries: Uint32Array;
}

/** The IPv6 trie as the blob has it; parents stand before their children. */
export interface TrieV6 {
  readonly root: Uint32Array;
  readonly nodes: readonly TrieV6Node[];
}

/**
 * Builds the IPv6 trie: 16 bits by the root, then path-compressed nodes of 8 bits.
 *
 * A node skips the bytes in which all prefixes below it agree, as long as none of them ends there.
 *
 * Shape: prefixes ascend, the wider first; nodes are numbered in the order of a walk.
 */
export function buildTrieV6(prefixes: PrefixList): TrieV6 {
  const root = new Uint32Array(TRIE_V6_ROOT_ENTRIES);
  const nodes: TrieV6Node[] = [];

  /** Makes the node for the prefixes from `start` to `end`, which agree in the bytes before `byte`. */
  const makeNode = (start: number, end: number, byte: number, missLeaf: number): number => {
    const byteIndex = branchingByte(prefixes, start, end, byte);
    const entries = new Uint32Array(TRIE_NODE_ENTRIES).fill(missLeaf);
    const number = nodes.push({ prefix: start, byteIndex, missLeaf, entries }) - 1;
    forEachChild(prefixes, start, end, byteIndex, entries, (from, to, value) => {
      entries[value] = TRIE_CHILD_BIT + makeNode(from, to, byteIndex + 1, entries[value]!);
    });
    return number;
  };

  for (let index = 0; index < prefixes.count; ) {
    const high = (byteAt(prefixes, index, 0) << 8) | byteAt(prefixes, index, 1);
    const length = prefixes.lengths[index]!;
    if (length <= 16) {
      root.fill(prefixes.payloads[index]!, high, high + 2 ** (16 - length));
      index++;
      continue;
    }
    const start = index;
    while (
      index < prefixes.count &&
      ((byteAt(prefixes, index, 0) << 8) | byteAt(prefixes, index, 1)) === high
    ) {
      index++;
    }
    root[high] = TRIE_CHILD_BIT + makeNode(start, index, 2, root[high]!);
  }
  return { root, nodes };
}

/** Paints the prefixes that end in byte `byte`, and calls `visit` for each run of longer ones. */
function forEachChild(
  prefixes: PrefixList,
  start: number,
  end: number,
  byte: number,
  entries: Uint32Array,
  visit: (from: number, to: number, value: number) => void,
): void {
  for (let index = start; index < end; ) {
    const value = byteAt(prefixes, index, byte);
    const bits = (byte + 1) * 8 - prefixes.lengths[index]!;
    if (bits >= 0) {
      entries.fill(prefixes.payloads[index]!, value, value + 2 ** bits);
      index++;
      continue;
    }
    const from = index;
    while (index < end && byteAt(prefixes, index, byte) === value) index++;
    visit(from, index, value);
  }
}

/** Finds the first byte from `byte` on in which a prefix ends, or two of them differ. */
function branchingByte(prefixes: PrefixList, start: number, end: number, byte: number): number {
  let shortest = 128;
  for (let index = start; index < end; index++) {
    shortest = Math.min(shortest, prefixes.lengths[index]!);
  }
  const last = (shortest - 1) >> 3;
  // Sorted: where the first and the last agree, all do.
  let at = byte;
  while (at < last && byteAt(prefixes, start, at) === byteAt(prefixes, end - 1, at)) at++;
  return at;
}
