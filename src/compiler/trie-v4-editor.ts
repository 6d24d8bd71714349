import { TableHeader, TRIE_CHILD_BIT, TRIE_NODE_ENTRIES } from "../layout/layout.gen.js";
import type { BlobEditor } from "./blob-editor.js";
import { byteAt, type PrefixList } from "./prefix-list.js";
import { placeIn } from "./sorted.js";

const INNER_AT = TableHeader.trieV4Inner / 4;

/** The nodes of one level, by number: which address bits lead there, how many prefixes need them. */
interface Level {
  readonly keys: number[];
  readonly prefixes: number[];
}

/**
 * Changes single addresses in the IPv4 trie of a blob, as `buildTrieV4` would have built it.
 *
 * Cost: an entry; where a node comes or goes, a pointer for each node.
 */
export class TrieV4Editor {
  readonly #editor: BlobEditor;
  readonly #inner: Level = { keys: [], prefixes: [] };
  readonly #outer: Level = { keys: [], prefixes: [] };

  /** Takes the blob, and the prefixes that its trie was built from. */
  constructor(editor: BlobEditor, list: PrefixList) {
    this.#editor = editor;
    for (let index = 0; index < list.count; index++) {
      const high = (byteAt(list, index, 0) << 8) | byteAt(list, index, 1);
      const length = list.lengths[index]!;
      if (length > 16) countLast(this.#inner, high);
      if (length > 24) countLast(this.#outer, (high << 8) | byteAt(list, index, 2));
    }
  }

  /** Sets the leaf of an address. `change` is 1 for a new prefix of 32 bits, -1 for one that goes. */
  paint(bytes: Uint8Array, leaf: number, change: number): void {
    const high = (bytes[0]! << 8) | bytes[1]!;
    const key = (high << 8) | bytes[2]!;
    if (change > 0) this.#makeNodes(high, key);
    const inner = placeIn(this.#inner.keys, high);
    const outer = placeIn(this.#outer.keys, key);
    this.#editor.set(this.#entry(this.#inner.keys.length + outer, bytes[3]!), leaf);
    this.#outer.prefixes[outer]! += change;
    this.#inner.prefixes[inner]! += change;
    if (this.#outer.prefixes[outer] === 0) this.#removeOuter(outer, inner, bytes[2]!);
    if (this.#inner.prefixes[inner] === 0) this.#removeInner(inner, high);
  }

  #makeNodes(high: number, key: number): void {
    const inner = placeIn(this.#inner.keys, high);
    const hasInner = this.#inner.keys[inner] === high;
    if (!hasInner) {
      const leaf = this.#editor.get(this.#root(high));
      this.#insert(this.#inner, inner, high, inner, leaf);
      this.#editor.set(INNER_AT, this.#inner.keys.length);
    }
    const outer = placeIn(this.#outer.keys, key);
    const hasOuter = this.#outer.keys[outer] === key;
    if (!hasOuter) {
      const leaf = this.#editor.get(this.#entry(inner, key & 0xff));
      this.#insert(this.#outer, outer, key, this.#inner.keys.length + outer, leaf);
    }
    if (!(hasInner && hasOuter)) this.#point();
  }

  #insert(level: Level, place: number, key: number, number: number, leaf: number): void {
    level.keys.splice(place, 0, key);
    level.prefixes.splice(place, 0, 0);
    this.#editor.insert("trieV4Nodes", number, TRIE_NODE_ENTRIES);
    this.#editor.fill(this.#entry(number, 0), TRIE_NODE_ENTRIES, leaf);
  }

  #removeOuter(outer: number, inner: number, byte: number): void {
    const number = this.#inner.keys.length + outer;
    // No longer prefix is left in it, so that all entries say what is around.
    this.#editor.set(this.#entry(inner, byte), this.#editor.get(this.#entry(number, 0)));
    this.#remove(this.#outer, outer, number);
    this.#point();
  }

  #removeInner(inner: number, high: number): void {
    this.#editor.set(this.#root(high), this.#editor.get(this.#entry(inner, 0)));
    this.#remove(this.#inner, inner, inner);
    this.#editor.set(INNER_AT, this.#inner.keys.length);
    this.#point();
  }

  #remove(level: Level, place: number, number: number): void {
    level.keys.splice(place, 1);
    level.prefixes.splice(place, 1);
    this.#editor.remove("trieV4Nodes", number, TRIE_NODE_ENTRIES);
  }

  /** Writes the number of each node where its parent leads to it. */
  #point(): void {
    const innerCount = this.#inner.keys.length;
    this.#inner.keys.forEach((high, number) => {
      this.#editor.set(this.#root(high), TRIE_CHILD_BIT + number);
    });
    let inner = 0;
    this.#outer.keys.forEach((key, place) => {
      while (this.#inner.keys[inner] !== key >>> 8) inner++;
      this.#editor.set(this.#entry(inner, key & 0xff), TRIE_CHILD_BIT + innerCount + place);
    });
  }

  #root(high: number): number {
    return this.#editor.start("trieV4Root") + high;
  }

  #entry(node: number, byte: number): number {
    return this.#editor.start("trieV4Nodes") + node * TRIE_NODE_ENTRIES + byte;
  }
}

/** Counts a prefix in the node that stands last, or in a new one. */
function countLast({ keys, prefixes }: Level, key: number): void {
  if (keys.at(-1) !== key) {
    keys.push(key);
    prefixes.push(0);
  }
  prefixes[prefixes.length - 1]!++;
}
