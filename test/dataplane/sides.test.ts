import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { CapturedFrames, CaptureJudge } from "../../src/dataplane/capture-judge.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { arp, type Host, mac, udp } from "./frames.js";

const pod: Host = { mac: "02:00:00:00:00:01", v4: "10.0.0.1", v6: "fd00::1" };
const peer: Host = { mac: "02:00:00:00:00:02", v4: "10.0.0.2", v6: "fd00::2" };
const manifest = `
{apiVersion: v1, kind: Namespace, metadata: {name: yard}}
---
apiVersion: v1
kind: Pod
metadata: {name: pod, namespace: yard}
status: {podIPs: [{ip: ${pod.v4}}, {ip: "${pod.v6}"}]}
`;

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

// Goal: a frame of a capture that tells no sides is the pod's by its MAC or address.
test("findSides: by source, with the MAC given or learnt", () => {
  const { objects, diagnostics } = parseManifests(manifest, "pod.yaml");
  assert.deepEqual(diagnostics, []);
  const compiled = compile({ objects, local: { pod: { namespace: "yard", name: "pod" } } });
  assert(compiled.ok);
  for (const known of [mac(pod.mac), undefined]) {
    const captured = new CapturedFrames(frames.length);
    let offset = 0;
    for (const [index, { length }] of frames.entries()) {
      captured.set(index, { offset, length, timeUs: index, truncated: false });
      offset += length;
    }
    const judge = CaptureJudge.onWire(compiled.blob, 0, known, frames.length);
    judge.findSides(Buffer.concat(frames), captured);
    const inside = frames.map((_, index) => !captured.isFromOutside(index));
    assert.deepEqual(inside, [true, false, true, true, false, true, true, false]);
  }
});
