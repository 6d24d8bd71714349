import {
  DropReason,
  dropReasonWords,
  ExemptKind,
  exemptKindWords,
  FlowEvent,
  FlowEventKind,
  flowEventKindWords,
} from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";

/** A drop reason as users see it: `policy-ingress`, `spoofed-source`, … */
export type DropReasonWord = (typeof dropReasonWords)[number];

/** What no policy judges, as users see it: `arp`, `neighbor`, … */
export type ExemptKindWord = Exclude<(typeof exemptKindWords)[number], "none">;

export const exemptKinds = exemptKindWords.filter(
  (word): word is ExemptKindWord => word !== exemptKindWords[ExemptKind.None],
);

/** What happened to a flow, or to one frame. */
export interface FlowEventRecord {
  /** Microseconds since the epoch. */
  readonly timeUs: number;
  readonly kind: (typeof flowEventKindWords)[number];
  /** Undefined when the frame had no IP header that could be read. */
  readonly source: Address | undefined;
  readonly destination: Address | undefined;
  readonly sourcePort: number;
  /** For ICMP: type × 256 + code. */
  readonly destinationPort: number;
  /** IP protocol number; 0 without an IP header. */
  readonly protocol: number;
  /** Why it was dropped or cut; undefined when it was neither. */
  readonly reason: DropReasonWord | undefined;
  /** What it is, when no policy was asked; undefined when one was. */
  readonly exempt: ExemptKindWord | undefined;
  /** Of an audited frame, or the end of a connection: who would deny it if nothing were audited. */
  readonly deniedBy: readonly ("egress" | "ingress")[];
  readonly generation: number;
  /** Link that the frame came in by. */
  readonly linkId: number;
  /** 0 when a connection ends. */
  readonly frameBytes: number;
  /** Of the frame; 0 when it is no TCP. */
  readonly tcpFlags: number;
  /** When a connection ends: frames that went over it both ways, and their bytes. */
  readonly totalPackets: number;
  readonly totalBytes: number;
  /** Events that were lost just before this one, since nobody drained the ring. */
  readonly lostBefore: number;
}

/**
 * Reads record `index` of a buffer that `Dataplane.drainEvents` filled.
 *
 * Owner: the addresses are copies; the buffer may be filled again.
 */
export function decodeFlowEvent(buffer: Uint8Array, index: number): FlowEventRecord {
  const at = index * FlowEvent.bytes;
  const view = new DataView(buffer.buffer, buffer.byteOffset + at, FlowEvent.bytes);
  const family = view.getUint8(FlowEvent.family);
  const kind = view.getUint8(FlowEvent.kind);
  const isExempt = kind === FlowEventKind.Exempt;
  const cause = view.getUint8(FlowEvent.reason);
  const reason = isExempt ? DropReason.None : cause;
  const denied = view.getUint8(FlowEvent.deniedBy);
  const address = (offset: number): Address | undefined => {
    if (family !== 4 && family !== 6) return undefined;
    const start = at + offset;
    return { family, bytes: buffer.slice(start, start + (family === 4 ? 4 : 16)) };
  };
  return {
    timeUs: wholeNumber(view.getBigUint64(FlowEvent.timeUs, true)),
    kind: flowEventKindWords[kind] ?? flowEventKindWords[FlowEventKind.Dropped],
    source: address(FlowEvent.source),
    destination: address(FlowEvent.destination),
    sourcePort: view.getUint16(FlowEvent.sourcePort, true),
    destinationPort: view.getUint16(FlowEvent.destinationPort, true),
    protocol: view.getUint8(FlowEvent.protocol),
    reason: reason === DropReason.None ? undefined : dropReasonWords[reason],
    exempt: isExempt ? exemptKinds.find((word) => word === exemptKindWords[cause]) : undefined,
    deniedBy: sidesOf(denied),
    generation: view.getUint32(FlowEvent.generation, true),
    linkId: view.getUint16(FlowEvent.linkId, true),
    frameBytes: view.getUint32(FlowEvent.frameBytes, true),
    tcpFlags: view.getUint8(FlowEvent.tcpFlags),
    totalPackets: wholeNumber(view.getBigUint64(FlowEvent.totalPackets, true)),
    totalBytes: wholeNumber(view.getBigUint64(FlowEvent.totalBytes, true)),
    lostBefore: view.getUint32(FlowEvent.lostBefore, true),
  };
}

const sides = [[], ["egress"], ["ingress"], ["egress", "ingress"]] as const;

/** Names who denies, from the bits of a verdict. */
export function sidesOf(bits: number): readonly ("egress" | "ingress")[] {
  return sides[bits & 3]!;
}

/** The nearest number that is exact: beyond it is no time and no count, but a broken clock. */
function wholeNumber(value: bigint): number {
  return Math.min(Number(value), Number.MAX_SAFE_INTEGER);
}
