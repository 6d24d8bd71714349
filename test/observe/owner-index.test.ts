import { expect, test } from "vitest";
import type { ObjectHead, Pod } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";
import { OwnerIndex } from "../../src/observe/owner-index.js";

// Goal: an address belongs to the last object that has it, whatever the pieces; a piece is read once for all tables.
// Method: pods in pieces, one of which stays the same array while another takes an address over; pieces that tell when
// they are read.

const pod = (name: string, address: string, more = ""): Pod =>
  parseManifests(
    `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { b: "2", a: "1" } }
spec: { containers: [{ name: main, image: example.com/main }]${more} }
status: { phase: Running, podIP: ${address} }
`,
    "pods.yaml",
  ).objects[0] as Pod;

const nobody = { endpoints: [] };
const nameOf = (index: OwnerIndex, address: string) => index.of(parseAddress(address)!)?.name;

/** A list that counts how often it is gone through. */
function counted(objects: readonly ObjectHead[]) {
  const count = { reads: 0 };
  const piece = new Proxy(objects, {
    get(target, key, receiver) {
      if (key === Symbol.iterator) count.reads++;
      return Reflect.get(target, key, receiver);
    },
  });
  return { piece, count };
}

test("the last object that has an address owns it", () => {
  const [first, second] = [
    [pod("a", "10.0.0.1"), pod("b", "10.0.0.2")],
    [pod("c", "10.0.0.1"), pod("host", "10.0.0.2", ", hostNetwork: true")],
  ];
  const index = new OwnerIndex([first, second], nobody);
  expect(nameOf(index, "10.0.0.1")).toBe("c");
  expect(nameOf(index, "10.0.0.2")).toBe("b");
  expect(nameOf(index, "10.0.0.3")).toBeUndefined();
  expect(index.of(parseAddress("10.0.0.1")!)?.labels).toEqual(["a=1", "b=2"]);
  expect(nameOf(new OwnerIndex([second, first], nobody), "10.0.0.1")).toBe("a");
});

test("a piece that two tables share is read once", () => {
  const shared = counted([pod("a", "10.0.0.1")]);
  const before = new OwnerIndex([shared.piece, [pod("b", "10.0.0.2")]], nobody);
  const after = new OwnerIndex([shared.piece, [pod("c", "10.0.0.2")]], nobody);
  expect([nameOf(before, "10.0.0.1"), nameOf(after, "10.0.0.1")]).toEqual(["a", "a"]);
  expect([nameOf(before, "10.0.0.2"), nameOf(after, "10.0.0.2")]).toEqual(["b", "c"]);
  expect(shared.count.reads).toBe(1);
});

test("a pod whose interface was read has its addresses, and not those of its manifest", () => {
  const rules = { isolatedBy: [], policies: [], rules: 0 };
  const address = parseAddress("10.0.0.9")!;
  const stated = [parseAddress("10.0.0.1")!];
  const own = { namespace: "shop", name: "a", addresses: [address], stated };
  const endpoints = [{ ...own, ingress: rules, egress: rules }];
  const pieces = [[pod("b", "10.0.0.1")], [pod("a", "10.0.0.1"), pod("c", "10.0.0.9")]];
  const index = new OwnerIndex(pieces, { endpoints });
  expect(nameOf(index, "10.0.0.9")).toBe("a");
  expect(nameOf(index, "10.0.0.1")).toBe("b");
  expect(nameOf(new OwnerIndex(pieces, nobody), "10.0.0.1")).toBe("a");
});
