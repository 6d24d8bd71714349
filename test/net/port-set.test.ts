import fc from "fast-check";
import { assert, test } from "vitest";
import {
  allPorts,
  containsPort,
  intersectPorts,
  isAllPorts,
  isNoPorts,
  noPorts,
  type PortSet,
  portRange,
  portSetKey,
  subtractPorts,
  unionPorts,
} from "../../src/net/port-set.js";

/** Sets made of a few ranges that start and end close together, so that bounds often meet. */
const somePort = fc.oneof(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 65_530, max: 65_535 }));
const someRange = fc
  .record({ protocol: fc.constantFrom("TCP", "UDP", "SCTP"), a: somePort, b: somePort })
  .map(({ protocol, a, b }) => portRange(protocol, Math.min(a, b), Math.max(a, b)));
const someSet: fc.Arbitrary<PortSet> = fc
  .record({ ranges: fc.array(someRange, { maxLength: 5 }), other: fc.boolean() })
  .map(({ ranges, other }) => ({ ...ranges.reduce(unionPorts, noPorts), other }));

const points = [6, 17, 132].flatMap((protocol) =>
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65_529, 65_530, 65_531, 65_532, 65_533, 65_534, 65_535].map(
    (port) => ({ protocol, port }),
  ),
);
points.push({ protocol: 1, port: 0 });

// Goal: the algebra is that of sets, and equal sets have one form.
// Method: membership of every point near the bounds, before and after.
test("port sets: union, intersection and difference are those of sets", () => {
  fc.assert(
    fc.property(someSet, someSet, (a, b) => {
      for (const { protocol, port } of points) {
        const [inA, inB] = [containsPort(a, protocol, port), containsPort(b, protocol, port)];
        assert.equal(containsPort(unionPorts(a, b), protocol, port), inA || inB);
        assert.equal(containsPort(intersectPorts(a, b), protocol, port), inA && inB);
        assert.equal(containsPort(subtractPorts(a, b), protocol, port), inA && !inB);
      }
    }),
  );
});

test("port sets: equal sets are equal in form, however they were made", () => {
  fc.assert(
    fc.property(someSet, someSet, (a, b) => {
      assert.deepEqual(unionPorts(a, b), unionPorts(b, a));
      const rebuilt = unionPorts(subtractPorts(a, b), intersectPorts(a, b));
      assert.deepEqual(rebuilt, a);
      assert.equal(portSetKey(rebuilt), portSetKey(a));
    }),
  );
});

test("port sets: neighbouring ranges become one", () => {
  const set = unionPorts(portRange("TCP", 80, 80), portRange("TCP", 81, 90));
  assert.deepEqual(set.tcp, [[80, 90]]);
});

test("port sets: nothing and everything", () => {
  assert.isTrue(isNoPorts(subtractPorts(allPorts, allPorts)));
  assert.isTrue(
    isAllPorts(unionPorts(subtractPorts(allPorts, portRange("UDP")), portRange("UDP"))),
  );
  assert.isFalse(containsPort(portRange("TCP"), 1, 0));
});

test("port sets: a key is readable, and tells sets apart", () => {
  assert.equal(portSetKey(allPorts), "all");
  assert.equal(portSetKey(noPorts), "none");
  const set = unionPorts(
    portRange("TCP", 80, 80),
    unionPorts(portRange("TCP", 443, 445), portRange("SCTP")),
  );
  assert.equal(portSetKey(set), "tcp:80,443-445 sctp:*");
});
