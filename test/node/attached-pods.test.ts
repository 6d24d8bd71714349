import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Pod } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { formatAddress, parseAddress } from "../../src/net/address.js";
import { AttachedPods } from "../../src/node/cni/attached-pods.js";

// Goal:   what plugins have told of pods counts as long as it may be true, also in a process that starts anew.
// Method: two processes' worth of one file; the loopback stands for an interface that the node still has.
let folder: string;
let told: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-cni-"));
  told = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = () => new AttachedPods("a", join(folder, "cni.sock.pods"), (line) => told.push(line));

const attach = (pods: AttachedPods, name: string, address: string, hostInterface: string) =>
  pods.add({
    network: "pods",
    container: name,
    interface: "eth0",
    pod: { namespace: "shop", name, uid: `uid-${name}` },
    addresses: [parseAddress(address)!],
    hostInterface,
  });

/** What the pods say of a pod of which the API server has one address. */
function addressesOf(pods: AttachedPods, name: string, address: string): readonly string[] {
  const manifest = `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIP: ${address} }
`;
  const [pod] = parseManifests(manifest, "pod.yaml").objects as readonly Pod[];
  return pods.addressesOf({ pod: pod!, uids: [`uid-${name}`] }).map(formatAddress);
}

test("an address is its pod's after a start too, and nobody else's", () => {
  attach(open(), "web", "10.1.0.5", "lo");
  const pods = open();
  expect(addressesOf(pods, "web", "10.1.0.99")).toEqual(["10.1.0.5"]);
  expect(addressesOf(pods, "next", "10.1.0.5")).toEqual([]);
});

// Its DEL was asked while no process was there. Else the next pod with the address would be without its policy.
test("what a pod had whose interface has gone meanwhile is free", () => {
  attach(open(), "web", "10.1.0.5", "sluice-gone0");
  const pods = open();
  expect(addressesOf(pods, "next", "10.1.0.5")).toEqual(["10.1.0.5"]);
  pods.reload();
  expect(addressesOf(pods, "next", "10.1.0.5")).toEqual(["10.1.0.5"]);
  expect(told).toEqual([]);
});

// A successor reads the file once: what is noted after that would be lost, or would go over what it has noted itself.
test("while a successor takes over, nothing is noted, and what was noted before is read", () => {
  const [before, successor] = [open(), open()];
  attach(before, "web", "10.1.0.5", "lo");
  before.hold();
  expect(successor.reload()).toBe(true);
  expect(successor.reload()).toBe(false);
  expect(addressesOf(successor, "web", "10.1.0.99")).toEqual(["10.1.0.5"]);
  expect(() => attach(before, "late", "10.1.0.6", "lo")).toThrow("another process is taking over");
  const place = { network: "pods", container: "web", interface: "eth0" };
  expect(() => before.remove(place)).toThrow("another process is taking over");
  before.goOn();
  attach(before, "late", "10.1.0.6", "lo");
  expect(successor.reload()).toBe(true);
});
