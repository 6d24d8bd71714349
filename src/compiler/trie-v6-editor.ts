import {
  TRIE_CHILD_BIT,
  TRIE_NODE_ENTRIES,
  TRIE_V6_PREFIX_NODE,
  TrieV6Node,
} from "../layout/layout.gen.js";
import type { BlobEditor } from "./blob-editor.js";
import { byteAt, type PrefixList } from "./prefix-list.js";
import { firstPlace } from "./sorted.js";

const ROOT = -1;
const ADDRESS_BYTES = 16;
const ADDRESS_BITS = 128;
const LAST_BYTE = 15;
const NODE_WORDS = TrieV6Node.bytes / 4;

/** What the blob does not say of a node. */
interface NodeFacts {
  /** The node above, or ROOT. */
  parent: number;
  /** The entry of `parent` that leads here. */
  slot: number;
  children: number;
  /** Prefixes that end in the byte which the node looks at; a single prefix is not counted. */
  ends: number;
}

/** What the blob says of it. */
type NodeShape = Readonly<Record<"bits" | "byteIndex" | "missLeaf" | "hitLeaf", number>>;

/**
 * Changes single addresses in the IPv6 trie of a blob, as `buildTrieV6` would have built it.
 *
 * Cost: an entry; where a node comes or goes, a pointer for each node.
 */
export class TrieV6Editor {
  readonly #editor: BlobEditor;
  /** By number: by the byte that they look at, then by value; so parents before children. */
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
    const { parent, slot } = this.#nodes[node]!;
    if (this.#byteIndex(node) === LAST_BYTE) {
      this.#editor.set(this.#entry(node, bytes[LAST_BYTE]!), leaf);
      this.#nodes[node]!.ends += change;
      if (change < 0) this.#shrink(node);
    } else if (change >= 0) {
      this.#editor.set(this.#field(node, TrieV6Node.hitLeaf), leaf);
    } else {
      this.#editor.set(this.#entry(parent, slot), leaf);
      this.#remove(node);
      if (parent !== ROOT) {
        this.#nodes[parent]!.children--;
        this.#shrink(parent);
      }
    }
  }

  /** Walks to the node in which a prefix ends, and notes each node's parent on the way. */
  #countEnd(list: PrefixList, index: number): void {
    const last = lastByteOf(list.lengths[index]!);
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
      if (byte === TRIE_V6_PREFIX_NODE) return;
      if (byte === last) {
        facts.ends++;
        return;
      }
      parent = node;
      slot = byteAt(list, index, byte);
    }
  }

  /** Finds the node that holds the leaf of this address alone; makes it if there is none. */
  #nodeFor(bytes: Uint8Array): number {
    let parent = ROOT;
    let slot = (bytes[0]! << 8) | bytes[1]!;
    for (;;) {
      const entry = this.#editor.get(this.#entry(parent, slot));
      if (entry < TRIE_CHILD_BIT) return this.#insertAddress(bytes, parent, slot, entry);
      const node = entry - TRIE_CHILD_BIT;
      const byteIndex = this.#byteIndex(node);
      const bits = this.#bits(node);
      const difference = this.#firstDifference(node, bytes);
      const standsAlone = byteIndex === TRIE_V6_PREFIX_NODE;
      if (difference < (standsAlone ? lastByteOf(bits) : byteIndex)) {
        parent = this.#split(node, bytes, difference);
      } else if (standsAlone) {
        if (bits === ADDRESS_BITS && difference === ADDRESS_BYTES) return node;
        parent = this.#branch(node);
        // What the prefix covers is painted in the branch; an address of it goes on below.
        if (this.#byteIndex(parent) === LAST_BYTE) return parent;
      } else if (byteIndex === LAST_BYTE) {
        return node;
      } else {
        parent = node;
      }
      slot = bytes[this.#byteIndex(parent)]!;
    }
  }

  #insertAddress(bytes: Uint8Array, parent: number, slot: number, missLeaf: number): number {
    const node = this.#insert({ parent, slot, children: 0, ends: 0 }, bytes, {
      bits: ADDRESS_BITS,
      byteIndex: TRIE_V6_PREFIX_NODE,
      missLeaf,
      hitLeaf: missLeaf,
    });
    if (parent !== ROOT) this.#nodes[parent]!.children++;
    return node;
  }

  /** Puts a node that looks at `byte` in the place of `node`, which becomes its child. */
  #split(node: number, bytes: Uint8Array, byteIndex: number): number {
    const { parent, slot } = this.#nodes[node]!;
    const missLeaf = this.#missLeaf(node);
    const oldSlot = this.#valueByte(node, byteIndex);
    const facts = { parent, slot, children: 1, ends: 0 };
    const shape = { bits: byteIndex * 8, byteIndex, missLeaf, hitLeaf: missLeaf };
    const branch = this.#insert(facts, bytes, shape);
    // Its number is before that of the node, which looks at a later byte.
    this.#attach(node + 1, branch, oldSlot);
    return branch;
  }

  /** Makes a node that stands for a single prefix one that branches where the prefix ends. */
  #branch(node: number): number {
    const { parent, slot } = this.#nodes[node]!;
    const value = this.#value(node);
    const [bits, missLeaf, hitLeaf] = [this.#bits(node), this.#missLeaf(node), this.#hitLeaf(node)];
    const byteIndex = lastByteOf(bits);
    this.#remove(node);
    const facts = { parent, slot, children: 0, ends: 1 };
    const branch = this.#insert(facts, value, {
      bits: byteIndex * 8,
      byteIndex,
      missLeaf,
      hitLeaf: missLeaf,
    });
    const covered = 2 ** ((byteIndex + 1) * 8 - bits);
    this.#editor.fill(this.#entry(branch, value[byteIndex]!), covered, hitLeaf);
    return branch;
  }

  /** Takes out a node that branches no more: a single prefix or a single node is left of it. */
  #shrink(node: number): void {
    const { parent, slot, children, ends } = this.#nodes[node]!;
    if (children + ends > 1) return;
    if (children === 1) {
      this.#attach(
        this.#nodes.findIndex((each) => each.parent === node),
        parent,
        slot,
      );
      this.#remove(node);
      return;
    }
    const byteIndex = this.#byteIndex(node);
    const value = this.#value(node);
    const missLeaf = this.#missLeaf(node);
    const differs = (at: number): boolean => this.#editor.get(this.#entry(node, at)) !== missLeaf;
    let first = 0;
    while (!differs(first)) first++;
    let end = first;
    while (end < TRIE_NODE_ENTRIES && differs(end)) end++;
    const hitLeaf = this.#editor.get(this.#entry(node, first));
    value[byteIndex] = first;
    this.#remove(node);
    this.#insert({ parent, slot, children: 0, ends: 0 }, value, {
      bits: (byteIndex + 1) * 8 - Math.log2(end - first),
      byteIndex: TRIE_V6_PREFIX_NODE,
      missLeaf,
      hitLeaf,
    });
  }

  /** Inserts a node at the place that is its own, and points at it. Returns its number. */
  #insert(facts: NodeFacts, bytes: Uint8Array, shape: NodeShape): number {
    const { bits, byteIndex, missLeaf, hitLeaf } = shape;
    const value = bytes.map((byte, at) => (at * 8 < bits ? byte : 0));
    const number = firstPlace(this.#nodes.length, (node) => this.#isBehind(node, byteIndex, value));
    for (const each of this.#nodes) if (each.parent >= number) each.parent++;
    this.#nodes.splice(number, 0, facts);
    if (byteIndex !== TRIE_V6_PREFIX_NODE) {
      this.#editor.insert("trieV6Entries", number, TRIE_NODE_ENTRIES);
      this.#editor.fill(this.#entry(number, 0), TRIE_NODE_ENTRIES, missLeaf);
    }
    this.#editor.insert("trieV6Nodes", number);
    const words = new DataView(value.buffer, value.byteOffset);
    for (let at = 0; at < ADDRESS_BYTES; at += 4) {
      this.#editor.set(this.#field(number, TrieV6Node.value + at), words.getUint32(at, true));
    }
    this.#editor.set(this.#field(number, TrieV6Node.missLeaf), missLeaf);
    this.#editor.set(this.#field(number, TrieV6Node.hitLeaf), hitLeaf);
    this.#editor.set(this.#field(number, TrieV6Node.bits), bits | (byteIndex << 8));
    for (let node = this.#nodes.length - 1; node >= number; node--) this.#point(node);
    this.#attach(number, facts.parent, facts.slot);
    return number;
  }

  #remove(number: number): void {
    const branches = this.#byteIndex(number) !== TRIE_V6_PREFIX_NODE;
    this.#nodes.splice(number, 1);
    for (const each of this.#nodes) if (each.parent > number) each.parent--;
    if (branches) this.#editor.remove("trieV6Entries", number, TRIE_NODE_ENTRIES);
    this.#editor.remove("trieV6Nodes", number);
    for (let node = number; node < this.#nodes.length; node++) this.#point(node);
  }

  /** Makes a node the child of `parent`, in its entry `slot`. */
  #attach(node: number, parent: number, slot: number): void {
    const facts = this.#nodes[node]!;
    facts.parent = parent;
    facts.slot = slot;
    const skipFrom = parent === ROOT ? 2 : this.#byteIndex(parent) + 1;
    const at = this.#field(node, TrieV6Node.bits);
    this.#editor.set(at, (this.#editor.get(at) & 0xffff) | (skipFrom << 16));
    this.#point(node);
  }

  /** Writes the number of a node where its parent leads to it. */
  #point(node: number): void {
    const { parent, slot } = this.#nodes[node]!;
    this.#editor.set(this.#entry(parent, slot), TRIE_CHILD_BIT + node);
  }

  /** Reports whether a node stands behind the place of one with this byte and value. */
  #isBehind(node: number, byteIndex: number, value: Uint8Array): boolean {
    const own = this.#byteIndex(node);
    if (own !== byteIndex) return own > byteIndex;
    let byte = 0;
    while (byte < LAST_BYTE && this.#valueByte(node, byte) === value[byte]) byte++;
    return this.#valueByte(node, byte) > value[byte]!;
  }

  /** Finds the first byte in which an address differs from the path; 16 if none. */
  #firstDifference(node: number, bytes: Uint8Array): number {
    const bits = this.#bits(node);
    for (let byte = 0; byte * 8 < bits; byte++) {
      const free = Math.max(0, (byte + 1) * 8 - bits);
      if ((this.#valueByte(node, byte) ^ bytes[byte]!) >> free !== 0) return byte;
    }
    return ADDRESS_BYTES;
  }

  #value(node: number): Uint8Array {
    return Uint8Array.from({ length: ADDRESS_BYTES }, (_, byte) => this.#valueByte(node, byte));
  }

  #valueByte(node: number, byte: number): number {
    const word = this.#editor.get(this.#field(node, TrieV6Node.value + byte));
    return (word >>> ((byte & 3) * 8)) & 0xff;
  }

  #bits(node: number): number {
    return this.#editor.get(this.#field(node, TrieV6Node.bits)) & 0xff;
  }

  #byteIndex(node: number): number {
    return (this.#editor.get(this.#field(node, TrieV6Node.bits)) >>> 8) & 0xff;
  }

  #missLeaf(node: number): number {
    return this.#editor.get(this.#field(node, TrieV6Node.missLeaf));
  }

  #hitLeaf(node: number): number {
    return this.#editor.get(this.#field(node, TrieV6Node.hitLeaf));
  }

  #field(node: number, field: number): number {
    return this.#editor.start("trieV6Nodes") + node * NODE_WORDS + (field >> 2);
  }

  #entry(node: number, slot: number): number {
    if (node === ROOT) return this.#editor.start("trieV6Root") + slot;
    return this.#editor.start("trieV6Entries") + node * TRIE_NODE_ENTRIES + slot;
  }
}

/** The byte in which a prefix ends. */
function lastByteOf(bits: number): number {
  return (bits - 1) >> 3;
}
