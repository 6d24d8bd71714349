import { assert, test } from "vitest";
import { BlobEditor } from "../../src/compiler/blob-editor.js";
import type { DecisionTable } from "../../src/compiler/decision-table.js";
import { encode } from "../../src/compiler/encode.js";
import { type PrefixList, PrefixListBuilder, sortedOrder } from "../../src/compiler/prefix-list.js";
import { TrieV4Editor } from "../../src/compiler/trie-v4-editor.js";
import { TrieV6Editor } from "../../src/compiler/trie-v6-editor.js";
import type { Address } from "../../src/net/address.js";
import { formatPrefix, type Prefix, prefixContains, prefixOf } from "../../src/net/prefix.js";
import { Random } from "../property/random.js";

const leafCount = 5;
const rounds = 20;
const changesARound = 25;

interface Marked {
  readonly prefix: Prefix;
  readonly leaf: number;
}

/** Few distinct bytes, so that addresses part at any byte and meet below any prefix. */
function randomAddress(random: Random, family: 4 | 6): Address {
  const shared = random.below(family === 4 ? 4 : 16);
  const bytes = Uint8Array.from({ length: family === 4 ? 4 : 16 }, (_, at) =>
    at < shared ? 0 : random.pick([0, 1, 2, 128, 255]),
  );
  return { family, bytes };
}

/** The address that has a prefix's bits first, and then its own. */
function moved({ family, bytes }: Address, { address, length }: Prefix): Address {
  const mask = (at: number): number => 0xff00 >> Math.min(8, Math.max(0, length - at * 8));
  return { family, bytes: bytes.map((byte, at) => address.bytes[at]! | (byte & ~mask(at))) };
}

/** The leaf of an address by the blocks alone: the longest one's, or 0. */
function leafAround(blocks: readonly Marked[], address: Address, below: number): number {
  let best = -1;
  let leaf = 0;
  for (const block of blocks) {
    const { length } = block.prefix;
    if (length > best && length < below && prefixContains(block.prefix, address)) {
      best = length;
      leaf = block.leaf;
    }
  }
  return leaf;
}

/** What a trie is built from: sorted, without what would change nothing. */
function listOf(marked: readonly Marked[]): PrefixList {
  const all = new PrefixListBuilder();
  for (const { prefix, leaf } of marked) all.add(prefix, leaf);
  const list = all.list();
  const kept = new PrefixListBuilder();
  for (const index of sortedOrder(list)) {
    const { prefix, leaf } = marked[index]!;
    if (leaf === leafAround(marked, prefix.address, prefix.length)) continue;
    kept.copy(list, index, leaf);
  }
  return kept.list();
}

function blobOf(family: 4 | 6, list: PrefixList): Uint8Array {
  const none = new PrefixListBuilder().list();
  const leaves = Array.from({ length: leafCount }, (_, originId) => ({
    classId: 0,
    endpointId: 0xffff_ffff,
    originId,
  }));
  const table: DecisionTable = {
    classCount: 1,
    leaves,
    v4: family === 4 ? list : none,
    v6: family === 6 ? list : none,
    endpoints: [],
    auditRows: [],
    rows: [],
    cells: new Uint32Array(),
    portSets: [],
    policies: [],
    rules: [],
    sets: [],
    setOrigins: [],
    originCount: leafCount,
  };
  const encoded = encode(table);
  assert("blob" in encoded);
  return encoded.blob;
}

// Goal: an edited trie is, byte for byte, the one that would be built anew.
// Method: random blocks that nest; hosts that come, change their leaf and go; after each change the
// blob is held against a new one. Hosts are few and mostly inside the blocks, so
// that nodes are made and taken out again.
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
for (const family of [4, 6] as const) {
  test(`IPv${family} trie, edited: the bytes of one built anew (SEED=${seed})`, () => {
    for (let round = 0; round < rounds; round++) {
      const random = new Random(seed + round);
      const blocks = new Map<string, Marked>();
      for (let made = random.below(5); made > 0; made--) {
        const length = 1 + random.below(family === 4 ? 31 : 127);
        const prefix = prefixOf(randomAddress(random, family), length);
        blocks.set(formatPrefix(prefix), { prefix, leaf: 1 + random.below(leafCount - 1) });
      }
      const around = [...blocks.values()];
      const hosts = random.list(2, 8, () => {
        const host = randomAddress(random, family);
        return around.length === 0 || random.oneIn(3)
          ? host
          : moved(host, random.pick(around).prefix);
      });
      const marks = new Map<string, Marked>();
      const list = listOf(around);
      const editor = new BlobEditor(blobOf(family, list));
      const trie = family === 4 ? new TrieV4Editor(editor, list) : new TrieV6Editor(editor, list);
      for (let change = 0; change < changesARound; change++) {
        const host = random.pick(hosts);
        const prefix = prefixOf(host, host.bytes.length * 8);
        const key = formatPrefix(prefix);
        const outside = leafAround(around, host, prefix.length);
        const was = marks.get(key)?.leaf ?? outside;
        const is = random.oneIn(2) ? outside : random.below(leafCount);
        if (was === is) continue;
        if (is === outside) marks.delete(key);
        else marks.set(key, { prefix, leaf: is });
        trie.paint(host.bytes, is, Number(is !== outside) - Number(was !== outside));
        const wanted = blobOf(family, listOf([...around, ...marks.values()]));
        const where = `SEED=${seed + round}, change ${change}: ${key} from ${was} to ${is}`;
        assert.isTrue(Buffer.from(editor.blob()).equals(wanted), where);
      }
    }
  });
}
