import type { Dataplane } from "../../src/dataplane/dataplane.js";
import { TableBlob } from "../../src/dataplane/table-blob.js";
import {
  DroppedFrame,
  DropReason,
  ExemptKind,
  FlowEvent,
  FlowEventKind,
} from "../../src/layout/layout.gen.js";
import { parseAddress } from "../../src/net/address.js";
import type { TableSource } from "../../src/observe/table-snapshot.js";
import { summarize } from "../../src/policy/ruleset.js";
import { compiledText } from "../compiled.js";

/** What an event says, with what it says when nothing is said. */
export interface EventFields {
  readonly kind?: keyof typeof FlowEventKind;
  readonly reason?: keyof typeof DropReason;
  /** Of an Exempt event, in the reason's place. */
  readonly exempt?: keyof typeof ExemptKind;
  readonly source?: string;
  readonly destination?: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly protocol?: number;
  readonly deniedBy?: number;
  readonly generation?: number;
  readonly lostBefore?: number;
  readonly timeUs?: number;
  readonly tcpFlags?: number;
  readonly totalPackets?: number;
  readonly totalBytes?: number;
}

/** Writes an event as the native ring has it. */
export function eventBytes(fields: EventFields): Uint8Array {
  const bytes = new Uint8Array(FlowEvent.bytes);
  const view = new DataView(bytes.buffer);
  const source = parseAddress(fields.source ?? "10.0.0.1")!;
  const destination = parseAddress(fields.destination ?? "10.0.0.2")!;
  bytes.set(source.bytes, FlowEvent.source);
  bytes.set(destination.bytes, FlowEvent.destination);
  view.setBigUint64(FlowEvent.timeUs, BigInt(fields.timeUs ?? 1_763_715_600_123_456), true);
  view.setUint16(FlowEvent.sourcePort, fields.sourcePort ?? 40_000, true);
  view.setUint16(FlowEvent.destinationPort, fields.destinationPort ?? 80, true);
  view.setUint8(FlowEvent.protocol, fields.protocol ?? 6);
  view.setUint8(FlowEvent.kind, FlowEventKind[fields.kind ?? "Opened"]);
  const reason =
    fields.exempt === undefined ? DropReason[fields.reason ?? "None"] : ExemptKind[fields.exempt];
  view.setUint8(FlowEvent.reason, reason);
  view.setUint8(FlowEvent.family, source.family);
  view.setUint32(FlowEvent.generation, fields.generation ?? 1, true);
  view.setUint32(FlowEvent.lostBefore, fields.lostBefore ?? 0, true);
  view.setUint8(FlowEvent.deniedBy, fields.deniedBy ?? 0);
  view.setUint8(FlowEvent.tcpFlags, fields.tcpFlags ?? 0);
  view.setUint32(FlowEvent.frameBytes, 60, true);
  view.setBigUint64(FlowEvent.totalPackets, BigInt(fields.totalPackets ?? 0), true);
  view.setBigUint64(FlowEvent.totalBytes, BigInt(fields.totalBytes ?? 0), true);
  return bytes;
}

/** A ring of events without the data plane behind it. */
export class FakeRing {
  #waiting: Uint8Array[] = [];
  #callback: (() => void) | undefined;

  get dataplane(): Dataplane {
    return this as unknown as Dataplane;
  }

  push(...events: EventFields[]): void {
    this.#waiting.push(...events.map(eventBytes));
    this.#callback?.();
  }

  drainEvents(buffer: Uint8Array): number {
    const count = Math.min(this.#waiting.length, Math.floor(buffer.length / FlowEvent.bytes));
    this.#waiting.splice(0, count).forEach((bytes, index) => {
      buffer.set(bytes, index * FlowEvent.bytes);
    });
    return count;
  }

  /** Whether somebody wants dropped frames. */
  wantsFrames = false;
  #frames: Uint8Array[] = [];

  drop(event: EventFields, frame: Uint8Array): void {
    const record = new Uint8Array(DroppedFrame.bytes);
    record.set(eventBytes({ kind: "Dropped", ...event }), DroppedFrame.event);
    new DataView(record.buffer).setUint32(DroppedFrame.capturedBytes, frame.length, true);
    record.set(frame, DroppedFrame.frame);
    this.#frames.push(record);
  }

  askForDroppedFrames(wanted: boolean): void {
    this.wantsFrames = wanted;
  }

  drainDroppedFrames(buffer: Uint8Array): number {
    const count = Math.floor(buffer.length / DroppedFrame.bytes);
    const taken = this.#frames.splice(0, count);
    for (const [index, record] of taken.entries()) buffer.set(record, index * DroppedFrame.bytes);
    return taken.length;
  }

  onEvents(callback: (() => void) | undefined): void {
    this.#callback = callback;
  }
}

/** Compiles manifests to what a FlowLog names things by. */
export function tableOf(text: string): TableSource {
  const { blob, ruleset, objects } = compiledText(text, "shop.yaml");
  return { blob: new TableBlob(blob), ruleset: summarize(ruleset), objects };
}

export const shop = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [{ name: c, image: i }] }
status: { podIPs: [{ ip: 10.0.0.1 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { containers: [{ name: c, image: i }] }
status: { podIPs: [{ ip: 10.0.0.2 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress:
  - from: [{ podSelector: { matchLabels: { app: web } } }]
    ports: [{ port: 80 }]
`;
