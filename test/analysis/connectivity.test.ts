import { assert, describe, test } from "vitest";
import { Connectivity, type Site } from "../../src/analysis/connectivity.js";
import {
  addressFromBits,
  addressToBits,
  describeAddresses,
  eachRange,
  type Membership,
  overlayRanges,
} from "../../src/analysis/connectivity-ranges.js";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { type Address, formatAddress } from "../../src/net/address.js";
import { containsPort, type PortSet } from "../../src/net/port-set.js";
import { prefixContains } from "../../src/net/prefix.js";
import { Random } from "../property/random.js";
import { randomCluster } from "../property/random-cluster.js";

const CLUSTERS = 60;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function blobOf(objects: readonly KubernetesObject[]): Uint8Array {
  const result = compile({ objects });
  assert(result.ok, "compiles");
  return result.blob;
}

/** Every (protocol, port) at which a set begins or ends, and their neighbours. */
function boundsOf(ports: PortSet): [protocol: number, port: number][] {
  const bounds: [number, number][] = [
    [1, 0],
    [47, 0],
    [58, 0],
  ];
  for (const [protocol, ranges] of [
    [6, ports.tcp],
    [17, ports.udp],
    [132, ports.sctp],
  ] as const) {
    const edges = new Set([0, 65_535]);
    for (const [first, last] of ranges) {
      for (const port of [first - 1, first, last, last + 1]) edges.add(port);
    }
    for (const port of edges) if (port >= 0 && port <= 65_535) bounds.push([protocol, port]);
  }
  return bounds;
}

/** A site with the first and last address of each range that it stands for. */
function sitesOf(connectivity: Connectivity): { site: Site; address: Address; pod?: number }[] {
  return ([4, 6] as const).flatMap((family) =>
    [...eachRange(connectivity.leaves[family])].flatMap(({ first, last, value }) => {
      const { classId, endpointId } = connectivity.leaf(value);
      const rows = endpointId === undefined ? {} : { rows: connectivity.rowsOf(endpointId) };
      const pod = endpointId === undefined ? {} : { pod: endpointId };
      return [...new Set([first, last])].map((bits) => ({
        site: { family, classId, ...rows },
        address: addressFromBits(family, bits),
        ...pod,
      }));
    }),
  );
}

// Goal: what connectivity says of two parties is what the native table decides for every packet
// between them.
// Method: random clusters; the ends of every address range against each other, at every bound of the
// port set that connectivity answers, judged by Table.classify.
test(`connectivity is the native table's (SEED=${seed})`, () => {
  let allowed = 0;
  let denied = 0;
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const blob = blobOf(randomCluster(random));
    const table = Table.open(blob);
    const connectivity = new Connectivity(blob);
    const sites = sitesOf(connectivity);
    const batch = new TupleBatch();
    const expected: { want: boolean; text: string }[] = [];
    for (let pair = 0; pair < 300; pair++) {
      const from = random.pick(sites);
      const to = random.pick(sites.filter(({ site }) => site.family === from.site.family));
      if (from.pod !== undefined && from.pod === to.pod) continue;
      const ports = connectivity.pool.get(connectivity.portsBetween(from.site, to.site));
      for (const [protocol, port] of boundsOf(ports)) {
        batch.push(from.address, to.address, protocol, port);
        const text = `${formatAddress(from.address)} -> ${formatAddress(to.address)} ${protocol} ${port}`;
        expected.push({ want: containsPort(ports, protocol, port), text });
      }
    }
    const verdicts = table.classify(batch);
    expected.forEach(({ want, text }, index) => {
      assert.equal(verdicts[index] === 0, want, `SEED=${seed + round} ${text}`);
      if (want) allowed++;
      else denied++;
    });
  }
  assert.isAbove(allowed, CLUSTERS, "some packets are allowed");
  assert.isAbove(denied, CLUSTERS, "some packets are denied");
});

// Goal: the listed address ranges are the trie's, and parties are named by the addresses they have.
// Method: both ends of each range are looked up natively; blocks are compared with the class of each.
test(`address ranges are the native trie's (SEED=${seed})`, () => {
  for (let round = 0; round < CLUSTERS; round++) {
    const blob = blobOf(randomCluster(new Random(seed + round)));
    const table = Table.open(blob);
    const connectivity = new Connectivity(blob);
    for (const family of [4, 6] as const) {
      const batch = new TupleBatch();
      const ends = [...eachRange(connectivity.leaves[family])].flatMap(({ first, last, value }) =>
        [first, last].map((bits) => ({ address: addressFromBits(family, bits), value })),
      );
      for (const { address } of ends) batch.push(address, address, 6, 80);
      const leaves = table.locate(batch);
      ends.forEach(({ address, value }, index) => {
        const place = `SEED=${seed + round} ${formatAddress(address)}`;
        assert.equal(leaves[index * 2], value, place);
        const { classId, endpointId } = connectivity.leaf(value);
        if (endpointId !== undefined) {
          const sites = connectivity.pods[endpointId]?.sites ?? [];
          const found = sites.filter(
            (site) => formatAddress(site.address) === formatAddress(address),
          );
          assert.equal(found.length, 1, place);
          return;
        }
        const holders = connectivity.outside.filter(({ blocks }) =>
          blocks.some(
            ({ cidr, except }) =>
              prefixContains(cidr, address) &&
              !except.some((hole) => prefixContains(hole, address)),
          ),
        );
        assert.deepEqual(
          holders.map((each) => each.classId),
          [classId],
          place,
        );
      });
    }
  }
});

describe("describeAddresses", () => {
  const describeAll = (...parts: [start: number, member: Membership][]) =>
    describeAddresses({
      family: 4,
      starts: parts.map(([start]) => BigInt(start)),
      values: parts.map(([, member]) => member),
    }).map(({ cidr, except }) =>
      [cidr, ...except].map((each) => `${formatAddress(each.address)}/${each.length}`),
    );
  const net = 10 * 2 ** 24;

  const cases: readonly [name: string, [number, Membership][], string[][]][] = [
    ["nothing", [[0, "out"]], []],
    ["everything", [[0, "in"]], [["0.0.0.0/0"]]],
    [
      "everything but one",
      [
        [0, "in"],
        [net + 1, "out"],
        [net + 2, "in"],
      ],
      [["0.0.0.0/0", "10.0.0.1/32"]],
    ],
    [
      "one block with a hole that is of no interest",
      [
        [0, "out"],
        [net, "in"],
        [net + 7, "either"],
        [net + 8, "in"],
        [net + 256, "out"],
      ],
      [["10.0.0.0/24"]],
    ],
    [
      "a block inside an exception",
      [
        [0, "out"],
        [net, "in"],
        [net + 128, "out"],
        [net + 160, "in"],
        [net + 192, "out"],
        [net + 256, "in"],
        [net + 512, "out"],
      ],
      [["10.0.0.0/23", "10.0.0.128/25"], ["10.0.0.160/27"]],
    ],
  ];
  for (const [name, parts, want] of cases) {
    test(name, () => assert.deepEqual(describeAll(...parts), want));
  }
});

describe("overlayRanges", () => {
  test("has a bound wherever one of the two has", () => {
    const a = { family: 4 as const, starts: [0n, 5n, 9n], values: ["a", "b", "a"] };
    const b = { family: 4 as const, starts: [0n, 5n, 7n], values: [1, 2, 1] };
    const laid = overlayRanges(a, b, (x, y) => `${x}${y}`);
    assert.deepEqual(laid.starts, [0n, 5n, 7n, 9n]);
    assert.deepEqual(laid.values, ["a1", "b2", "b1", "a1"]);
  });

  test("joins neighbours that become alike", () => {
    const a = { family: 6 as const, starts: [0n, 5n], values: [1, 2] };
    const laid = overlayRanges(a, a, () => "same");
    assert.deepEqual(laid.starts, [0n]);
  });
});

test("addresses and their bits convert both ways", () => {
  for (const bits of [0n, 1n, 0x0a000001n, 0xffffffffn]) {
    assert.equal(addressToBits(addressFromBits(4, bits)), bits);
    assert.equal(addressToBits(addressFromBits(6, bits << 90n)), bits << 90n);
  }
});
