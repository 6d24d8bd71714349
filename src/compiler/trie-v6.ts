import {
  TRIE_CHILD_BIT,
  TRIE_NODE_ENTRIES,
  TRIE_V6_PREFIX_NODE,
  TRIE_V6_ROOT_ENTRIES,
} from "../layout/layout.gen.js";
import { byteAt, type PrefixList } from "./prefix-list.js";

/** A node as the blob has it: the bytes before `byteIndex` are those of every address below. */
export interface TrieV6Node {
  /** A prefix that begins with the node's value. */
  readonly prefix: number;
  /** How many of its bits the value has. */
  readonly bits: number;
  /** The byte that picks an entry; TRIE_V6_PREFIX_NODE when one prefix is all there is below. */
  readonly byteIndex: number;
  readonly skipFrom: number;
  readonly missLeaf: number;
  readonly hitLeaf: number;
  /** None when one prefix is all there is below. */
  readonly entries: Uint32Array;
}

/** The IPv6 trie as the blob has it: nodes by the byte that they look at, then by value. */
export interface TrieV6 {
  readonly root: Uint32Array;
  readonly nodes: readonly TrieV6Node[];
}

const noEntries = new Uint32Array();

/**
 * Builds the IPv6 trie: 16 bits by the root, then path-compressed nodes of 8 bits.
 *
 * A node skips the bytes in which all prefixes below it agree, as long as none of them ends there. Where
 * a single prefix is left it is compared as a whole: most of a cluster's far peers stand alone.
 *
 * Shape: prefixes ascend, the wider first.
 */
export function buildTrieV6(prefixes: PrefixList): TrieV6 {
  const root = new Uint32Array(TRIE_V6_ROOT_ENTRIES);
  const nodes: TrieV6Node[] = [];

  /** Makes the node for the prefixes from `start` to `end`, which agree in the bytes before `byte`. */
  const makeNode = (start: number, end: number, byte: number, missLeaf: number): number => {
    const common = { prefix: start, skipFrom: byte, missLeaf };
    if (end - start === 1) {
      const hitLeaf = prefixes.payloads[start]!;
      const bits = prefixes.lengths[start]!;
      const byteIndex = TRIE_V6_PREFIX_NODE;
      return nodes.push({ ...common, bits, byteIndex, hitLeaf, entries: noEntries }) - 1;
    }
    const byteIndex = branchingByte(prefixes, start, end, byte);
    const entries = new Uint32Array(TRIE_NODE_ENTRIES).fill(missLeaf);
    const bits = byteIndex * 8;
    const number = nodes.push({ ...common, bits, byteIndex, hitLeaf: missLeaf, entries }) - 1;
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
  return { root, nodes: byLevel(root, nodes) };
}

/** Numbers nodes, which stand in the order of a walk, by the byte that they look at. */
function byLevel(root: Uint32Array, nodes: readonly TrieV6Node[]): TrieV6Node[] {
  const order = Array.from(nodes.keys()).sort(
    (a, b) => nodes[a]!.byteIndex - nodes[b]!.byteIndex || a - b,
  );
  const numbers = new Uint32Array(nodes.length);
  order.forEach((node, number) => {
    numbers[node] = number;
  });
  for (const entries of [root, ...nodes.map((node) => node.entries)]) {
    for (let at = 0; at < entries.length; at++) {
      const entry = entries[at]!;
      if (entry >= TRIE_CHILD_BIT) entries[at] = TRIE_CHILD_BIT + numbers[entry - TRIE_CHILD_BIT]!;
    }
  }
  return order.map((node) => nodes[node]!);
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
