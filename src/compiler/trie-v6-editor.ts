import { TRIE_CHILD_BIT, TRIE_NODE_ENTRIES, TrieV6Node } from "../layout/layout.gen.js";
import type { BlobEditor } from "./blob-editor.js";
import { byteAt, type PrefixList } from "./prefix-list.js";
import { firstPlace } from "./sorted.js";

const ROOT = -1;
const LAST_BYTE = 15;
const NODE_WORDS = TrieV6Node.bytes / 4;

/** What the blob does not say of a node. */
interface NodeFacts {
  /** The node above, or ROOT. */
  parent: number;
  /** The entry of `parent` that leads here. */
  slot: number;
  children: number;
  /** Prefixes that end in the byte which the node looks at. */
  ends: number;
}

/**
 * Changes single addresses in the IPv6 trie of a blob, as `buildTrieV6` would have built it.
 *
 * Cost: an entry; where a node comes or goes, a pointer for each node.
 */
export class TrieV6Editor {
  readonly #editor: BlobEditor;
  /** By number: parents before children, in the order of their addresses. */
  readonly #nodes: NodeFacts[] = [];

  /** Takes the blob, and the prefixes that its trie was built from. */
  constructor(editor: BlobEditor, list: PrefixList) {
    this.#editor = editor;
    for (let node = 0; node < editor.count("trieV6Nodes"); node++) {
      this.#nodes.push({ parent: ROOT, slot: 0, children: 0, ends: 0 });
    }
    for (let index = 0; index < list.count; index++) this.#countEnd(list, index);
  }

  /** Sets the leaf of an address. `change` is 1 for a new prefix of 128 bits, -1 for one that goes. */
  paint(bytes: Uint8Array, leaf: number, change: number): void {
    const node = this.#nodeFor(bytes);
    this.#editor.set(this.#entry(node, bytes[LAST_BYTE]!), leaf);
    this.#nodes[node]!.ends += change;
    if (change < 0) this.#shrink(node);
  }

  /** Walks to the node in which a prefix ends, and learns who leads to whom on the way. */
  #countEnd(list: PrefixList, index: number): void {
    const last = (list.lengths[index]! - 1) >> 3;
    if (last < 2) return;
    let parent = ROOT;
    let slot = (byteAt(list, index, 0) << 8) | byteAt(list, index, 1);
    for (;;) {
      const node = this.#editor.get(this.#entry(parent, slot)) - TRIE_CHILD_BIT;
      const facts = this.#nodes[node]!;
      if (parent !== ROOT && facts.parent === ROOT) this.#nodes[parent]!.children++;
      facts.parent = parent;
      facts.slot = slot;
      const byte = this.#byteIndex(node);
      if (byte === last) {
        facts.ends++;
        return;
      }
      parent = node;
      slot = byteAt(list, index, byte);
    }
  }

  /** Finds the node that looks at the last byte of an address, making it when there is none. */
  #nodeFor(bytes: Uint8Array): number {
    let parent = ROOT;
    let slot = (bytes[0]! << 8) | bytes[1]!;
    for (;;) {
      const entry = this.#editor.get(this.#entry(parent, slot));
      if (entry < TRIE_CHILD_BIT) {
        const number = firstPlace(this.#nodes.length, (node) => this.#isBehind(node, bytes));
        this.#insert(number, { parent, slot, children: 0, ends: 0 }, bytes, LAST_BYTE, entry);
        if (parent !== ROOT) this.#nodes[parent]!.children++;
        return number;
      }
      const node = entry - TRIE_CHILD_BIT;
      const byte = this.#firstDifference(node, bytes);
      if (byte < this.#byteIndex(node)) this.#split(node, bytes, byte);
      else if (byte === LAST_BYTE) return node;
      parent = node;
      slot = bytes[byte]!;
    }
  }

  /** Puts a node that looks at `byte` in the place of `node`, which becomes its child. */
  #split(node: number, bytes: Uint8Array, byte: number): void {
    const { parent, slot } = this.#nodes[node]!;
    const missLeaf = this.#missLeaf(node);
    const oldSlot = this.#valueByte(node, byte);
    this.#insert(node, { parent, slot, children: 1, ends: 0 }, bytes, byte, missLeaf);
    const old = this.#nodes[node + 1]!;
    old.parent = node;
    old.slot = oldSlot;
    this.#point(node + 1);
  }

  /** Takes out a node that nothing ends in and that does not branch, and so on upwards. */
  #shrink(from: number): void {
    let node = from;
    while (node !== ROOT) {
      const { parent, slot, children, ends } = this.#nodes[node]!;
      if (ends > 0 || children > 1) return;
      if (children === 1) {
        const child = this.#nodes[node + 1]!;
        child.parent = parent;
        child.slot = slot;
        this.#remove(node);
        return;
      }
      this.#editor.set(this.#entry(parent, slot), this.#missLeaf(node));
      this.#remove(node);
      if (parent !== ROOT) this.#nodes[parent]!.children--;
      node = parent;
    }
  }

  #insert(
    number: number,
    facts: NodeFacts,
    bytes: Uint8Array,
    byteIndex: number,
    missLeaf: number,
  ): void {
    for (const each of this.#nodes) if (each.parent >= number) each.parent++;
    this.#nodes.splice(number, 0, facts);
    this.#editor.insert("trieV6Entries", number, TRIE_NODE_ENTRIES);
    this.#editor.fill(this.#entry(number, 0), TRIE_NODE_ENTRIES, missLeaf);
    this.#editor.insert("trieV6Nodes", number);
    const at = this.#field(number, 0);
    for (let byte = 0; byte < byteIndex; byte++) {
      const [value, mask] = [at + TrieV6Node.value / 4, at + TrieV6Node.mask / 4].map(
        (start) => start + (byte >> 2),
      ) as [number, number];
      const shift = (byte & 3) * 8;
      this.#editor.set(value, (this.#editor.get(value) | (bytes[byte]! << shift)) >>> 0);
      this.#editor.set(mask, (this.#editor.get(mask) | (0xff << shift)) >>> 0);
    }
    this.#editor.set(this.#field(number, TrieV6Node.missLeaf), missLeaf);
    this.#editor.set(this.#field(number, TrieV6Node.byteIndex), byteIndex);
    for (let node = this.#nodes.length - 1; node >= number; node--) this.#point(node);
  }

  #remove(number: number): void {
    this.#nodes.splice(number, 1);
    for (const each of this.#nodes) if (each.parent > number) each.parent--;
    this.#editor.remove("trieV6Entries", number, TRIE_NODE_ENTRIES);
    this.#editor.remove("trieV6Nodes", number);
    for (let node = number; node < this.#nodes.length; node++) this.#point(node);
  }

  /** Writes the number of a node where its parent leads to it. */
  #point(node: number): void {
    const { parent, slot } = this.#nodes[node]!;
    this.#editor.set(this.#entry(parent, slot), TRIE_CHILD_BIT + node);
  }

  /** Reports whether a node stands behind the one that looks at the last byte of an address. */
  #isBehind(node: number, bytes: Uint8Array): boolean {
    const byte = this.#firstDifference(node, bytes);
    return byte < this.#byteIndex(node) && this.#valueByte(node, byte) > bytes[byte]!;
  }

  /** Finds the first byte in which an address differs from the path; the node's own byte if none. */
  #firstDifference(node: number, bytes: Uint8Array): number {
    const end = this.#byteIndex(node);
    let byte = 0;
    while (byte < end && this.#valueByte(node, byte) === bytes[byte]) byte++;
    return byte;
  }

  #valueByte(node: number, byte: number): number {
    const word = this.#editor.get(this.#field(node, TrieV6Node.value) + (byte >> 2));
    return (word >>> ((byte & 3) * 8)) & 0xff;
  }

  #byteIndex(node: number): number {
    return this.#editor.get(this.#field(node, TrieV6Node.byteIndex));
  }

  #missLeaf(node: number): number {
    return this.#editor.get(this.#field(node, TrieV6Node.missLeaf));
  }

  #field(node: number, field: number): number {
    return this.#editor.start("trieV6Nodes") + node * NODE_WORDS + field / 4;
  }

  #entry(node: number, slot: number): number {
    if (node === ROOT) return this.#editor.start("trieV6Root") + slot;
    return this.#editor.start("trieV6Entries") + node * TRIE_NODE_ENTRIES + slot;
  }
}
