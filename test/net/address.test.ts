import { isIP, SocketAddress } from "node:net";
import fc from "fast-check";
import { assert, test } from "vitest";
import {
  type Address,
  addressKey,
  compareAddresses,
  formatAddress,
  isIpv4Mapped,
  parseAddress,
} from "../../src/net/address.js";

const anyAddress: fc.Arbitrary<Address> = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => ({ family: 4 as const, bytes })),
  fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
      minLength: 8,
      maxLength: 8,
    })
    .map((groups) => ({
      family: 6 as const,
      bytes: Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])),
    })),
);

// Goal: texts are read and written in the canonical form of RFC 5952.
const canonical: readonly [text: string, canonical: string][] = [
  ["10.0.0.1", "10.0.0.1"],
  ["255.255.255.255", "255.255.255.255"],
  ["::", "::"],
  ["::1", "::1"],
  ["1::", "1::"],
  ["FD00:0010:0001:0:0:0:0:6", "fd00:10:1::6"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["::ffff:10.0.0.1", "::ffff:10.0.0.1"],
  ["::ffff:a00:1", "::ffff:10.0.0.1"],
  ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
];
for (const [text, want] of canonical) {
  test(`parseAddress reads ${text}`, () => {
    const address = parseAddress(text);
    assert(address !== undefined);
    assert.equal(formatAddress(address), want);
  });
}

// Goal: forms that readers disagree about, and all that are none, are refused.
const refused = [
  "",
  "10",
  "1.2",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.",
  ".1.2.3",
  "1..2.3",
  "256.0.0.1",
  "1.2.3.1000",
  "010.0.0.1",
  "1.2.3.00",
  "0x10.0.0.1",
  " 1.2.3.4",
  "1.2.3.4 ",
  "+1.2.3.4",
  "1.2.3.4/32",
  ":",
  ":::",
  "1:",
  ":1",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7:8::",
  "1:2:3:4::5:6:7:8",
  "2001::db8::1",
  "12345::",
  "g::",
  "fe80::1%eth0",
  "[::1]",
  "::1.2.3",
  "::1.2.3.4:5",
  "1:2:3:4:5:6:7:1.2.3.4",
  "::010.0.0.1",
  `${"0".repeat(100)}::`,
];
for (const text of refused) {
  test(`parseAddress refuses "${text.slice(0, 40)}"`, () => {
    assert.equal(parseAddress(text), undefined);
  });
}

test("formatAddress and parseAddress undo each other", () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      const text = formatAddress(address);
      assert.deepEqual(parseAddress(text), address);
      assert.equal(isIP(text), address.family);
    }),
  );
});

// Goal: no text is read otherwise than Node reads it.
// Method: texts made of the characters of addresses; where Node refuses, so do we.
test("parseAddress agrees with node:net", () => {
  const characters = fc.constantFrom(
    ..."0123456789abcdefF:.".split(""),
    "::",
    "ffff",
    "255",
    "0.0.",
  );
  fc.assert(
    fc.property(fc.array(characters, { maxLength: 14 }), (parts) => {
      const text = parts.join("");
      const ours = parseAddress(text);
      assert.equal(ours?.family ?? 0, isIP(text), text);
      if (ours?.family === 6 && !isIpv4Mapped(ours)) {
        const theirs = new SocketAddress({ address: text, family: "ipv6" }).address;
        assert.deepEqual(ours, parseAddress(theirs), text);
      }
    }),
    { numRuns: 2000 },
  );
});

test("compareAddresses orders as the keys of one family do, IPv4 first", () => {
  fc.assert(
    fc.property(anyAddress, anyAddress, (a, b) => {
      const order = Math.sign(compareAddresses(a, b));
      assert.equal(order, -Math.sign(compareAddresses(b, a)));
      assert.equal(order === 0, addressKey(a) === addressKey(b));
      if (a.family === b.family) assert.equal(order < 0, addressKey(a) < addressKey(b));
      else assert.equal(order < 0, a.family === 4);
    }),
  );
});
