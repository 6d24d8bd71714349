import { BlockList } from "node:net";
import fc from "fast-check";
import { assert, test } from "vitest";
import { type Address, formatAddress, parseAddress } from "../../src/net/address.js";
import {
  comparePrefixes,
  formatPrefix,
  hostPrefix,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixCovers,
  prefixOf,
  readPrefix,
} from "../../src/net/prefix.js";

function address(family: 4 | 6): fc.Arbitrary<Address> {
  const length = family === 4 ? 4 : 16;
  // Few values for a byte, so that addresses often share a prefix.
  const byte = fc.constantFrom(0, 1, 0x80, 0xff);
  return fc
    .array(byte, { minLength: length, maxLength: length })
    .map((bytes) => ({ family, bytes: Uint8Array.from(bytes) }));
}

const prefixAndAddress = fc.constantFrom(4 as const, 6 as const).chain((family) =>
  fc.record({
    prefix: fc
      .tuple(address(family), fc.integer({ min: 0, max: family === 4 ? 32 : 128 }))
      .map(([each, length]): Prefix => prefixOf(each, length)),
    other: fc
      .tuple(address(family), fc.integer({ min: 0, max: family === 4 ? 32 : 128 }))
      .map(([each, length]): Prefix => prefixOf(each, length)),
    inside: address(family),
  }),
);

test("formatPrefix and parsePrefix undo each other", () => {
  fc.assert(
    fc.property(prefixAndAddress, ({ prefix }) => {
      const text = formatPrefix(prefix);
      if (text.includes("::ffff:") && text.includes(".")) return;
      assert.deepEqual(parsePrefix(text), prefix);
    }),
  );
});

// Goal: membership is that of node:net's BlockList, which knows nothing of ours.
test("prefixContains agrees with node:net", () => {
  fc.assert(
    fc.property(prefixAndAddress, ({ prefix, inside }) => {
      const type = inside.family === 4 ? "ipv4" : "ipv6";
      const list = new BlockList();
      list.addSubnet(formatAddress(prefix.address), prefix.length, type);
      assert.equal(prefixContains(prefix, inside), list.check(formatAddress(inside), type));
    }),
  );
});

// Goal: covering means that the first and the last address of the inner one are in the outer one.
test("prefixCovers agrees with prefixContains at both ends", () => {
  fc.assert(
    fc.property(prefixAndAddress, ({ prefix: outer, other: inner }) => {
      const last = Uint8Array.from(inner.address.bytes);
      for (let bit = inner.length; bit < last.length * 8; bit++)
        last[bit >> 3]! |= 0x80 >> (bit & 7);
      const ends = [inner.address, { family: inner.address.family, bytes: last }];
      assert.equal(
        prefixCovers(outer, inner),
        ends.every((end) => prefixContains(outer, end)),
      );
      assert.isTrue(prefixCovers(outer, outer));
      assert.equal(
        comparePrefixes(outer, inner) === 0,
        formatPrefix(outer) === formatPrefix(inner),
      );
    }),
  );
});

test("families never mix", () => {
  const everything = parsePrefix("0.0.0.0/0")!;
  assert.isFalse(prefixContains(everything, parseAddress("::1")!));
  assert.isFalse(prefixCovers(parsePrefix("::/0")!, everything));
});

test("hostPrefix holds one address", () => {
  assert.equal(formatPrefix(hostPrefix(parseAddress("10.0.0.1")!)), "10.0.0.1/32");
  assert.equal(formatPrefix(hostPrefix(parseAddress("fd00::1")!)), "fd00::1/128");
});

// Goal: all that the API server refuses is refused, and the message says what to write.
const refused: readonly [text: string, want: RegExp][] = [
  ["10.0.0.1", /10\.0\.0\.1\/32/],
  ["10.0.0.0/33", /0 to 32/],
  ["10.0.0.0/-1", /0 to 32/],
  ["10.0.0.0/", /0 to 32/],
  ["10.0.0.0/8/8", /0 to 32/],
  ["10.0.0.0/255.0.0.0", /0 to 32/],
  ["10.0.0.0/08", /leading 0s/],
  ["10.0.0.0/+8", /0 to 32/],
  ["010.0.0.0/8", /leading 0s/],
  ["10.0.0.5/24", /10\.0\.0\.0\/24/],
  ["2001:db8::1/32", /2001:db8::\/32/],
  ["::/129", /0 to 128/],
  ["fe80::1%eth0/64", /zone/],
  ["::ffff:10.0.0.0/104", /IPv4/],
  ["::ffff:0:0/96", /IPv4/],
  ["/8", /valid CIDR/],
  ["", /valid CIDR/],
  ["any", /valid CIDR/],
  [" 10.0.0.0/8", /valid CIDR/],
];
for (const [text, want] of refused) {
  test(`readPrefix refuses "${text}"`, () => {
    const read = readPrefix(text);
    assert("fault" in read);
    assert.match(read.fault.want, want);
    assert.equal(parsePrefix(text), undefined);
  });
}

test("readPrefix clears host bits when told to, and is no laxer otherwise", () => {
  const read = readPrefix("10.1.2.3/8", "mask");
  assert("prefix" in read);
  assert.equal(formatPrefix(read.prefix), "10.0.0.0/8");
  assert("fault" in readPrefix("010.1.2.3/8", "mask"));
});
