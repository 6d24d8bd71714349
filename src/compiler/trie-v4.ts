import { TRIE_CHILD_BIT, TRIE_NODE_ENTRIES, TRIE_V4_ROOT_ENTRIES } from "../layout/layout.gen.js";
import { byteAt, type PrefixList } from "./prefix-list.js";

/** The IPv4 trie as the blob has it. */
export interface TrieV4 {
  readonly root: Uint32Array;
  /** 256 entries a node: first the nodes for byte 2, then those for byte 3. */
  readonly nodes: Uint32Array;
  readonly innerCount: number;
}

/**
 * Builds the IPv4 trie: 16 bits by the root, then 8 by a node, twice at most.
 *
 * Shape: prefixes ascend, the wider first, so that painting them in order leaves the longest on top;
 *        nodes are numbered in the order of their addresses.
 */
export function buildTrieV4(prefixes: PrefixList): TrieV4 {
  const root = new Uint32Array(TRIE_V4_ROOT_ENTRIES);
  const inner: Uint32Array[] = [];
  const outer: Uint32Array[] = [];
  for (let index = 0; index < prefixes.count; index++) {
    const length = prefixes.lengths[index]!;
    const leaf = prefixes.payloads[index]!;
    const high = (byteAt(prefixes, index, 0) << 8) | byteAt(prefixes, index, 1);
    if (length <= 16) {
      root.fill(leaf, high, high + 2 ** (16 - length));
      continue;
    }
    const second = child(root, high, inner);
    const byte2 = byteAt(prefixes, index, 2);
    if (length <= 24) {
      second.fill(leaf, byte2, byte2 + 2 ** (24 - length));
      continue;
    }
    const third = child(second, byte2, outer);
    const byte3 = byteAt(prefixes, index, 3);
    third.fill(leaf, byte3, byte3 + 2 ** (32 - length));
  }

  const nodes = new Uint32Array((inner.length + outer.length) * TRIE_NODE_ENTRIES);
  inner.forEach((node, number) => {
    // Only now the number of inner nodes is known, which precede the outer ones.
    const placed = node.map((entry) => (entry >= TRIE_CHILD_BIT ? entry + inner.length : entry));
    nodes.set(placed, number * TRIE_NODE_ENTRIES);
  });
  outer.forEach((node, number) => {
    nodes.set(node, (inner.length + number) * TRIE_NODE_ENTRIES);
  });
  return { root, nodes, innerCount: inner.length };
}

/** Returns the node below an entry, making one that says what the entry said. */
function child(entries: Uint32Array, at: number, nodes: Uint32Array[]): Uint32Array {
  const entry = entries[at]!;
  if (entry >= TRIE_CHILD_BIT) return nodes[entry - TRIE_CHILD_BIT]!;
  const node = new Uint32Array(TRIE_NODE_ENTRIES).fill(entry);
  entries[at] = TRIE_CHILD_BIT + nodes.push(node) - 1;
  return node;
}
