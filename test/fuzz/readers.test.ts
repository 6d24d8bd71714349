import { describe, expect, test } from "vitest";
import { type Capture, CaptureError } from "../../src/capture/capture.js";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import { readCapture } from "../../src/capture/read-capture.js";
import { checksumOf } from "../../src/compiler/checksum.js";
import { compile } from "../../src/compiler/compile.js";
import { Provenance } from "../../src/compiler/decode.js";
import { decodeFlowEvent, type FlowEventRecord } from "../../src/dataplane/events.js";
import { Table } from "../../src/dataplane/table.js";
import {
  dropReasonWords,
  FlowEvent,
  flowEventKindWords,
  Section,
  SectionId,
  type SectionName,
  sectionElementBytes,
  TableHeader,
} from "../../src/layout/layout.gen.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { flowOf } from "../../src/observe/flow.js";
import { Random } from "../property/random.js";
import { mutate } from "./mutate.js";

// Goal: no bytes make what reads captures, flow events or the provenance of a table do anything but
// answer or refuse; what they answer lies inside the bytes, and costs no more than these are long.
// Method: seeds of each format, changed at random by a seed that is printed, against what must hold of
// any answer. Each once more with a planted fault, which must be found. FUZZ_SEED and FUZZ_ROUNDS
// search elsewhere, and longer.

const firstSeed = Number(process.env["FUZZ_SEED"] ?? 1);
const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 1);

/** Checks `count` inputs and returns the first that does not hold, with its seed. */
function firstObjection(
  count: number,
  objection: (random: Random) => string | undefined,
): string | undefined {
  for (let seed = firstSeed; seed < firstSeed + count * rounds; seed++) {
    const found = objection(new Random(seed));
    if (found !== undefined) return `FUZZ_SEED=${seed}: ${found}`;
  }
  return undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

function pcap(little: boolean, magic: number, frames: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(24 + frames.reduce((sum, length) => sum + 16 + length, 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, little);
  view.setUint16(4, 2, little);
  view.setUint32(16, 65_535, little);
  view.setUint32(20, 1, little);
  let at = 24;
  for (const [index, length] of frames.entries()) {
    view.setUint32(at, 1_700_000_000 + index, little);
    view.setUint32(at + 8, length, little);
    view.setUint32(at + 12, length + index, little);
    at += 16 + length;
  }
  return bytes;
}

function pcapng(): Uint8Array {
  const blocks: Uint8Array[] = [];
  const writer = new PcapngWriter((block) => blocks.push(block));
  const inside = writer.addInterface("pod");
  const outside = writer.addInterface("net");
  writer.addPacket(inside, 1_700_000_000_000_000, new Uint8Array(60).fill(7));
  writer.addPacket(outside, 1_700_000_000_000_900, new Uint8Array(42), 99, "a comment");
  const simple = new Uint8Array(24);
  new DataView(simple.buffer).setUint32(0, 3, true);
  new DataView(simple.buffer).setUint32(4, 24, true);
  new DataView(simple.buffer).setUint32(8, 8, true);
  new DataView(simple.buffer).setUint32(20, 24, true);
  return Buffer.concat([...blocks, simple]);
}

const captureSeeds = [
  pcap(true, 0xa1b2c3d4, [60, 42]),
  pcap(false, 0xa1b23c4d, [14]),
  pcapng(),
  Buffer.concat([pcapng(), pcapng()]),
];

type Read = (bytes: Uint8Array) => Capture;

/** What is wrong with what a reader makes of these bytes. */
function captureObjection(read: Read, bytes: Uint8Array, random: Random): string | undefined {
  let capture: Capture;
  try {
    capture = read(bytes);
  } catch (error) {
    if (!(error instanceof CaptureError)) return messageOf(error);
    return error.offset >= 0 && error.offset <= bytes.length ? undefined : "a place outside";
  }
  const { packets, interfaces, cutAt } = capture;
  if (packets.length * 16 + interfaces.length * 20 > bytes.length + 20) return "more than there is";
  if (cutAt !== undefined && cutAt >= bytes.length) return "cut behind the end";
  let last = 0;
  for (const { offset, length, originalLength, timeUs, interfaceId } of packets) {
    if (offset < last || offset + length > bytes.length) return "a packet outside, or twice";
    if (length > originalLength) return "more captured than was sent";
    if (!Number.isSafeInteger(timeUs) || timeUs < 0) return `time ${timeUs}`;
    if (interfaces[interfaceId] === undefined) return "a packet of no interface";
    last = offset + length;
  }
  // What a file says does not hang on what comes behind it, nor on where it is in memory.
  const part = read(Uint8Array.from(bytes.subarray(0, 24 + random.below(bytes.length - 23))));
  const same = JSON.stringify(packets.slice(0, part.packets.length));
  return JSON.stringify(part.packets) === same
    ? undefined
    : "the start of a file is read otherwise";
}

describe("captures", () => {
  const search = (count: number, read: Read) =>
    firstObjection(count, (random) => {
      const bytes = mutate(random, captureSeeds);
      return captureObjection(read, bytes, random);
    });

  test("any bytes are read or refused", { timeout: 60_000 * rounds }, () => {
    expect(search(60_000, readCapture)).toBeUndefined();
  });

  test("the fault of a reader is found", () => {
    const faulty: Read = (bytes) => {
      const capture = readCapture(bytes);
      const packets = capture.packets.map((packet) =>
        packet.length === 0 ? { ...packet, length: 1 } : packet,
      );
      return { ...capture, packets };
    };
    expect(search(60_000, faulty)).toContain("captured than was sent");
  });
});

describe("flow events", () => {
  const seed = new Uint8Array(FlowEvent.bytes);
  const view = new DataView(seed.buffer);
  view.setBigUint64(FlowEvent.timeUs, 1_763_715_600_123_456n, true);
  view.setUint8(FlowEvent.protocol, 6);
  view.setUint8(FlowEvent.family, 4);
  const unnamed = {
    snapshot: undefined,
    reasons: [],
    uuid: "",
    interfaceName: undefined,
    nodeName: "",
  };

  function eventObjection(event: FlowEventRecord): string | undefined {
    const { kind, reason, source, timeUs, totalPackets, totalBytes } = event;
    if (!flowEventKindWords.includes(kind)) return `kind ${kind}`;
    if (reason !== undefined && !dropReasonWords.includes(reason)) return `reason ${reason}`;
    if (source !== undefined && source.bytes.length !== (source.family === 4 ? 4 : 16)) {
      return `an address of ${source.bytes.length} bytes`;
    }
    for (const number of [timeUs, totalPackets, totalBytes]) {
      if (!Number.isSafeInteger(number)) return `number ${number}`;
    }
    const line = flowOf(event, unnamed);
    return Number.isNaN(Date.parse(line.time)) ? `time ${line.time}` : undefined;
  }
  const search = (count: number, decode: typeof decodeFlowEvent) =>
    firstObjection(count, (random) => {
      const record = new Uint8Array(FlowEvent.bytes);
      record.set(mutate(random, [seed]).subarray(0, record.length));
      try {
        return eventObjection(decode(record, 0));
      } catch (error) {
        return messageOf(error);
      }
    });

  test("any record is put into words", { timeout: 60_000 * rounds }, () => {
    expect(search(20_000, decodeFlowEvent)).toBeUndefined();
  });

  test("the fault of a decoder is found", () => {
    const faulty: typeof decodeFlowEvent = (buffer, index) => ({
      ...decodeFlowEvent(buffer, index),
      kind: flowEventKindWords[buffer[FlowEvent.kind]!]!,
    });
    expect(search(20_000, faulty)).toContain("kind undefined");
  });
});

describe("provenance", () => {
  const text = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: main, image: "example.invalid/x:1"}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: some, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: 80}]}]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}, {ports: [{port: 53, protocol: UDP}]}]
`;
  const { objects } = parseManifests(text, "shop.yaml");
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error("the manifests compile");
  const original = compiled.blob;
  const cold: readonly SectionName[] = [
    "endpoints",
    "leaves",
    "strings",
    "endpointInfos",
    "policyInfos",
    "ruleInfos",
    "rowInfos",
    "rowLists",
    "originSets",
  ];

  /** The table with some words of its cold sections, and of their places, changed. */
  function damaged(random: Random, valueMax: number): Uint8Array {
    const blob = Uint8Array.from(original);
    const view = new DataView(blob.buffer);
    for (let change = 1 + random.below(3); change > 0; change--) {
      const id = SectionId[random.pick(cold)];
      const place = TableHeader.sections + id * Section.bytes;
      const start = view.getUint32(place + Section.offset, true);
      const words = (view.getUint32(place + Section.count, true) * sectionElementBytes[id]!) >> 2;
      const value = random.oneIn(2) ? random.below(8) : random.below(valueMax);
      const inside = !random.oneIn(8) && words > 0 && start + words * 4 <= blob.length;
      const at = inside ? start + 4 * random.below(words) : place + Section.count;
      view.setUint32(at, value, true);
    }
    view.setUint32(TableHeader.checksum, checksumOf(blob), true);
    return blob;
  }

  /** Reads everything that explains a verdict. Errors: whatever it finds. */
  function readAll(blob: Uint8Array): void {
    const provenance = new Provenance(blob);
    for (let id = 0; id < provenance.endpointCount; id++) {
      provenance.endpoint(id);
      for (const direction of ["Ingress", "Egress"] as const) {
        const policies = [...provenance.isolatedBy(id, direction)];
        for (const origin of [0, 1, 2, 3, 1_000]) {
          for (const protocol of [6, 17, 47]) {
            const reason = provenance.reason(id, direction, origin, protocol, 80);
            if (reason.rule !== undefined) policies.push(reason.rule.policy);
          }
        }
        if (policies.some((policy) => policy === undefined)) throw new Error("no such policy");
      }
    }
  }

  const search = (count: number, valueMax: number, isAccepted: (blob: Uint8Array) => boolean) => {
    let read = 0;
    const found = firstObjection(count, (random) => {
      const blob = damaged(random, valueMax);
      if (!isAccepted(blob)) return undefined;
      read += 1;
      try {
        readAll(blob);
        return undefined;
      } catch (error) {
        return messageOf(error);
      }
    });
    return { found, read };
  };

  test(
    "whatever the checker accepts can be read",
    () => {
      const accepts = (blob: Uint8Array) => {
        try {
          Table.open(blob);
          return true;
        } catch (error) {
          expect(error).toMatchObject({ code: "table-bounds" });
          return false;
        }
      };
      const { found, read } = search(1_500, 2 ** 32, accepts);
      expect(found).toBeUndefined();
      expect(read).toBeGreaterThan(150);
    },
    60_000 * rounds,
  );

  // Small numbers, or a list that nobody has checked would be read for hours.
  test(
    "what a checker that accepts everything lets through is found",
    () => {
      expect(search(1_500, 2 ** 16, () => true).found).toMatch(/FUZZ_SEED=\d+: /);
    },
    60_000 * rounds,
  );
});
