import { expect, test } from "vitest";
import { decodeFlowEvent } from "../../src/dataplane/events.js";
import { DropReason, FlowEvent, FlowEventKind } from "../../src/layout/layout.gen.js";

/** A buffer of two records: an empty one, and one whose every field has a value of its own. */
function sample(family: number): Uint8Array {
  // Not at the start of its memory, as a slice of a larger buffer would be.
  const bytes = new Uint8Array(new ArrayBuffer(FlowEvent.bytes * 3), FlowEvent.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset + FlowEvent.bytes);
  view.setBigUint64(FlowEvent.timeUs, 1_763_715_600_123_456n, true);
  for (let index = 0; index < 16; index++) {
    view.setUint8(FlowEvent.source + index, 1 + index);
    view.setUint8(FlowEvent.destination + index, 101 + index);
  }
  view.setUint16(FlowEvent.sourcePort, 40_000, true);
  view.setUint16(FlowEvent.destinationPort, 5_432, true);
  view.setUint8(FlowEvent.protocol, 6);
  view.setUint8(FlowEvent.kind, FlowEventKind.Dropped);
  view.setUint8(FlowEvent.reason, DropReason.PolicyIngress);
  view.setUint8(FlowEvent.family, family);
  view.setUint32(FlowEvent.generation, 70_000, true);
  view.setUint32(FlowEvent.lostBefore, 3, true);
  view.setUint16(FlowEvent.linkId, 260, true);
  view.setUint8(FlowEvent.deniedBy, 3);
  view.setUint32(FlowEvent.frameBytes, 65_000, true);
  view.setUint8(FlowEvent.tcpFlags, 18);
  view.setBigUint64(FlowEvent.totalPackets, 7n, true);
  view.setBigUint64(FlowEvent.totalBytes, 9_000_000_000n, true);
  return bytes;
}

test("decodeFlowEvent: every field", () => {
  expect(decodeFlowEvent(sample(4), 1)).toEqual({
    timeUs: 1_763_715_600_123_456,
    kind: "dropped",
    source: { family: 4, bytes: Uint8Array.of(1, 2, 3, 4) },
    destination: { family: 4, bytes: Uint8Array.of(101, 102, 103, 104) },
    sourcePort: 40_000,
    destinationPort: 5_432,
    protocol: 6,
    reason: "policy-ingress",
    deniedBy: ["egress", "ingress"],
    generation: 70_000,
    linkId: 260,
    frameBytes: 65_000,
    tcpFlags: 18,
    totalPackets: 7,
    totalBytes: 9_000_000_000,
    lostBefore: 3,
  });
});

test("decodeFlowEvent: whole IPv6 addresses, and none without an IP header", () => {
  expect(decodeFlowEvent(sample(6), 1).destination?.bytes.length).toBe(16);
  expect(decodeFlowEvent(sample(0), 1).source).toBeUndefined();
});

test("decodeFlowEvent: addresses outlive the buffer, and an empty record has no reason", () => {
  const buffer = sample(4);
  const event = decodeFlowEvent(buffer, 1);
  buffer.fill(0);
  expect(event.source?.bytes[0]).toBe(1);
  expect(decodeFlowEvent(buffer, 0)).toMatchObject({
    kind: "opened",
    reason: undefined,
    deniedBy: [],
  });
});
