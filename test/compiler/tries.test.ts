import { assert, test } from "vitest";
import { byteAt, PrefixListBuilder, sortedOrder } from "../../src/compiler/prefix-list.js";
import { buildTrieV4 } from "../../src/compiler/trie-v4.js";
import { buildTrieV6 } from "../../src/compiler/trie-v6.js";
import {
  TRIE_CHILD_BIT,
  TRIE_NODE_ENTRIES,
  TRIE_V6_PREFIX_NODE,
} from "../../src/layout/layout.gen.js";
import type { Address } from "../../src/net/address.js";
import { type Prefix, prefixContains, prefixOf } from "../../src/net/prefix.js";
import { Random } from "../property/random.js";

/** Prefixes that nest and meet: few distinct bytes, all lengths. */
function randomPrefixes(random: Random, family: 4 | 6): Prefix[] {
  const bytes = family === 4 ? 4 : 16;
  return random.list(1, 40, () => {
    const address: Address = {
      family,
      bytes: Uint8Array.from({ length: bytes }, () => random.pick([0, 1, 10, 128, 255])),
    };
    return prefixOf(address, random.oneIn(3) ? bytes * 8 : random.below(bytes * 8 + 1));
  });
}

function sortedList(prefixes: readonly Prefix[]) {
  const builder = new PrefixListBuilder();
  prefixes.forEach((prefix, index) => {
    builder.add(prefix, index + 1);
  });
  const sorted = new PrefixListBuilder();
  const list = builder.list();
  for (const index of sortedOrder(list)) sorted.copy(list, index, list.payloads[index]!);
  return sorted.list();
}

/** The longest prefix that holds the address; of equal ones the last, as painting leaves it. */
function longestMatch(prefixes: readonly Prefix[], address: Address): number[] {
  const holding = prefixes.filter((prefix) => prefixContains(prefix, address));
  const longest = Math.max(-1, ...holding.map((prefix) => prefix.length));
  const best = prefixes.flatMap((prefix, index) =>
    prefix.length === longest && prefixContains(prefix, address) ? [index + 1] : [],
  );
  return best.length === 0 ? [0] : best;
}

function lookUpV4({ root, nodes }: ReturnType<typeof buildTrieV4>, { bytes }: Address): number {
  let entry = root[(bytes[0]! << 8) | bytes[1]!]!;
  for (let byte = 2; entry >= TRIE_CHILD_BIT; byte++) {
    entry = nodes[(entry - TRIE_CHILD_BIT) * TRIE_NODE_ENTRIES + bytes[byte]!]!;
  }
  return entry;
}

function lookUpV6(
  { root, nodes }: ReturnType<typeof buildTrieV6>,
  prefixes: readonly Prefix[],
  order: Uint32Array,
  { bytes }: Address,
): number {
  let entry = root[(bytes[0]! << 8) | bytes[1]!]!;
  while (entry >= TRIE_CHILD_BIT) {
    const node = nodes[entry - TRIE_CHILD_BIT]!;
    const value = prefixes[order[node.prefix]!]!.address.bytes;
    const agrees = bytes.every(
      (byte, at) =>
        ((byte ^ value[at]!) & (0xff00 >> Math.min(8, Math.max(0, node.bits - at * 8))) & 0xff) ===
        0,
    );
    if (!agrees) return node.missLeaf;
    if (node.byteIndex === TRIE_V6_PREFIX_NODE) return node.hitLeaf;
    entry = node.entries[bytes[node.byteIndex]!]!;
  }
  return entry;
}

// Goal: both tries find the longest prefix.
// Method: random nested prefixes; every prefix's own bounds and random addresses, against a plain
// search. (That the native side walks them alike is the property test's business.)
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
for (const family of [4, 6] as const) {
  test(`IPv${family} trie: longest match (SEED=${seed})`, () => {
    for (let round = 0; round < 60; round++) {
      const random = new Random(seed + round);
      const prefixes = randomPrefixes(random, family);
      const list = sortedList(prefixes);
      const order = list.payloads.map((payload) => payload - 1);
      const lookUp =
        family === 4
          ? lookUpV4.bind(null, buildTrieV4(list))
          : lookUpV6.bind(null, buildTrieV6(list), prefixes, order);
      const probes = [
        ...prefixes.map((prefix) => prefix.address),
        ...randomPrefixes(random, family).map((prefix) => prefix.address),
      ];
      for (const address of probes) {
        const where = `SEED=${seed + round} ${address.bytes.join(".")}`;
        assert.include(longestMatch(prefixes, address), lookUp(address), where);
      }
    }
  });
}

test("IPv6 trie: a single prefix takes one node and no entries, whatever its depth", () => {
  const address = { family: 6, bytes: Uint8Array.from({ length: 16 }, (_, at) => at) } as const;
  for (const length of [17, 64, 127, 128]) {
    const { nodes } = buildTrieV6(sortedList([prefixOf(address, length)]));
    assert.deepEqual(
      nodes.map(({ byteIndex, bits, entries }) => [byteIndex, bits, entries.length]),
      [[TRIE_V6_PREFIX_NODE, length, 0]],
    );
  }
});

test("IPv6 trie: nodes stand by the byte that they look at, then by value", () => {
  for (let round = 0; round < 60; round++) {
    const random = new Random(seed + round);
    const list = sortedList(randomPrefixes(random, 6));
    const { nodes } = buildTrieV6(list);
    const places = nodes.map(({ byteIndex, prefix, bits }) => {
      const value = Array.from({ length: bits >> 3 }, (_, byte) => byteAt(list, prefix, byte));
      return [byteIndex, ...value].map((part) => String(part).padStart(3, "0")).join(".");
    });
    assert.deepEqual(places, places.toSorted(), `SEED=${seed + round}`);
  }
});
