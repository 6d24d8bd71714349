import { assert, describe, test } from "vitest";
import { readPodRanges } from "../../src/cli/readers.js";
import { headOf } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { addressKey, formatAddress } from "../../src/net/address.js";
import {
  assignAddresses,
  RangesFull,
  spreadAddresses,
} from "../../src/workloads/assign-addresses.js";

const podText = (name: string, rest = "") => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop}
${rest}`;

function assigned(texts: readonly string[], ranges?: string) {
  const { objects, diagnostics } = parseManifests(texts.join("\n---\n"), "shop.yaml");
  assert.deepEqual(diagnostics, []);
  const wanted = ranges === undefined ? undefined : readPodRanges(ranges, "--pod-cidr");
  const found = assignAddresses(objects.map(headOf), wanted);
  return new Map([...found].map(([ref, addresses]) => [ref, addresses.map(formatAddress)]));
}

describe("addresses of pods that have none", () => {
  test("one of each family, the same whoever else is there", () => {
    const [v4, v6] = assigned([podText("a")]).get("shop/a")!;
    assert.match(v4!, /^10\.99\./);
    assert.match(v6!, /^fd99::/);
    assert.deepEqual(assigned([podText("b"), podText("a")]).get("shop/a"), [v4, v6]);
  });

  test("none for pods on the host's network, pods that have ended, and pods that have one", () => {
    const texts = [
      podText("a", "spec: {hostNetwork: true}"),
      podText("b", "status: {phase: Succeeded}"),
      podText("c", "status: {podIP: 10.0.0.1}"),
    ];
    assert.equal(assigned(texts).size, 0);
  });

  test("never the first of the range of a node's pods, which counts as the node's", () => {
    const node =
      "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {podCIDR: 10.1.0.0/24}";
    const got = assigned([podText("a"), node], "10.1.0.0/30").get("shop/a");
    assert.deepEqual(got, ["10.1.0.2"]);
  });

  // Method: how often it is asked whether an address is free; once a pod and once an address would do.
  test("a range that becomes full costs a pod no more than an empty one", () => {
    const took = (bits: number) => {
      const range = readPodRanges(`10.0.0.0/${bits}`, "--pod-cidr");
      const names = Array.from({ length: 2 ** (32 - bits) - 2 }, (_, index) => `shop/p${index}`);
      let asked = 0;
      const taken = new Set<string>();
      const has = taken.has.bind(taken);
      taken.has = (key) => {
        asked++;
        return has(key);
      };
      const found = spreadAddresses(names, taken, range)!;
      assert.equal(
        new Set([...found.values()].map(([each]) => addressKey(each!))).size,
        names.length,
      );
      return asked / names.length;
    };
    assert.isBelow(took(17), 4);
    assert.isBelow(took(18), 4);
  });

  // Method: whatever pod a gets, something else has already; it must then get another one.
  test.each([
    ["a pod has", (ip: string) => podText("z", `status: {podIP: "${ip}"}`)],
    [
      "a pod that has ended had",
      (ip: string) => podText("z", `status: {phase: Failed, podIP: "${ip}"}`),
    ],
    [
      "a pod on the host's network has",
      (ip: string) => podText("z", `spec: {hostNetwork: true}\nstatus: {podIP: "${ip}"}`),
    ],
    [
      "a node has",
      (ip: string) =>
        `apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nstatus: {addresses: [{type: InternalIP, address: "${ip}"}]}`,
    ],
    [
      "a policy names alone",
      (ip: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "${ip}/${ip.includes(":") ? 128 : 32}"}}]}]}`,
    ],
    [
      "a policy excepts alone",
      (ip: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {podSelector: {}, egress: [{to: [{ipBlock: ${
        ip.includes(":")
          ? `{cidr: "::/0", except: ["${ip}/128"]}`
          : `{cidr: 0.0.0.0/0, except: [${ip}/32]}`
      }}]}]}`,
    ],
    [
      "a cluster policy names alone",
      (ip: string) => `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: p}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress: [{action: Deny, to: [{networks: ["${ip}/${ip.includes(":") ? 128 : 32}"]}]}]`,
    ],
  ])("never one that %s", (_name, taking) => {
    const alone = assigned([podText("a")]).get("shop/a")!;
    for (const ip of alone) {
      const addresses = assigned([podText("a"), taking(ip)]).get("shop/a")!;
      assert.equal(addresses.length, 2);
      assert.notInclude(addresses, ip);
    }
  });

  test("out of other ranges, each once, until they are full", () => {
    const names = ["a", "b", "c", "d", "e", "f"];
    const found = assigned(
      names.map((name) => podText(name)),
      "192.168.7.8/29",
    );
    assert.deepEqual(
      [...found.values()].flat().sort(),
      [9, 10, 11, 12, 13, 14].map((last) => `192.168.7.${last}`).sort(),
    );
    assert.throws(
      () =>
        assigned(
          [...names, "g"].map((name) => podText(name)),
          "192.168.7.8/29",
        ),
      RangesFull,
    );
  });

  test("both families out of ranges of different sizes", () => {
    const [v4, v6] = assigned([podText("a")], "172.16.0.0/12,fd01::/64").get("shop/a")!;
    assert.match(v4!, /^172\.(1[6-9]|2\d|3[01])\./);
    assert.match(v6!, /^fd01::/);
  });
});

describe("--pod-cidr", () => {
  test.each([
    ["nothing", "a range such as"],
    ["10.0.0.0", "a range such as"],
    ["127.0.0.0/16", "which has addresses of 127.0.0.0/8"],
    ["0.0.0.0/0", "which no pod has"],
    ["fe80::/64", "which has addresses of fe80::/10"],
    ["10.0.0.1/32", "has no address for a pod"],
    ["10.0.0.0/16,10.1.0.0/16", "one range of each family"],
  ])("%s is refused", (text, why) => {
    assert.throws(() => readPodRanges(text, "--pod-cidr"), why);
  });
});
