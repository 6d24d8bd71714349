import { assert, test } from "vitest";
import type { Capture } from "../../src/capture/capture.js";
import { sentByPod } from "../../src/capture/sides.js";
import { parseAddress } from "../../src/net/address.js";
import { arp, type Host, mac, udp } from "../dataplane/frames.js";

const pod: Host = { mac: "02:00:00:00:00:01", v4: "10.0.0.1", v6: "fd00::1" };
const peer: Host = { mac: "02:00:00:00:00:02", v4: "10.0.0.2", v6: "fd00::2" };
const addresses = [pod.v4, pod.v6].map((text) => {
  const parsed = parseAddress(text);
  assert(parsed !== undefined);
  return parsed;
});

const frames = [
  udp(4, pod, 1, peer, 2),
  udp(4, peer, 2, pod, 1),
  udp(6, pod, 1, peer, 2),
  arp(pod.mac, peer.mac, 2, pod, peer.v4),
  arp(peer.mac, pod.mac, 2, peer, pod.v4),
  udp(6, pod, 1, peer, 2, { source: "fe80::1" }),
  udp(4, peer, 1, pod, 2, { source: pod.v4 }),
  new Uint8Array(3),
];

function captureOf(interfaceIds: readonly number[] = []): Capture {
  let offset = 0;
  const packets = frames.map(({ length }, index) => {
    const interfaceId = interfaceIds[index] ?? 0;
    const packet = { offset, length, originalLength: length, timeUs: index, interfaceId };
    offset += length;
    return packet;
  });
  return {
    format: "pcap",
    bytes: Buffer.concat(frames),
    interfaces: [],
    packets,
    cutAt: undefined,
  };
}

// Goal: a packet is the pod's by its interface, else by its MAC or address.
test("sentByPod: by interface", () => {
  const capture = captureOf([1, 0, 1, 0, 0, 0, 0, 1]);
  const sides = sentByPod(capture, { mac: mac(pod.mac), addresses, interfaceId: 1 });
  assert.deepEqual(sides, [true, false, true, false, false, false, false, true]);
});

test("sentByPod: by source, with the MAC given or learnt", () => {
  for (const known of [mac(pod.mac), undefined]) {
    const sides = sentByPod(captureOf(), { mac: known, addresses, interfaceId: undefined });
    assert.deepEqual(sides, [true, false, true, true, false, true, true, false]);
  }
});
