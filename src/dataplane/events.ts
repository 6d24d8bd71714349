import {
  DENIED_BY_EGRESS,
  DENIED_BY_INGRESS,
  DroppedFrame,
  DropReason,
  dropReasonWords,
  ExemptKind,
  exemptKindWords,
  FlowEvent,
  FlowEventKind,
  flowEventKindWords,
  readDroppedFrame,
  readFlowEvent,
} from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";

/** A drop reason as shown to users: `policy-ingress`, `spoofed-source`, … */
export type DropReasonWord = (typeof dropReasonWords)[number];

/** A kind of message that no policy judges, as shown to users: `arp`, `neighbor`, … */
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
  /** Its kind, when no policy judges it; undefined when policy did. */
  readonly exempt: ExemptKindWord | undefined;
  /**
   * Of an audited frame, or the end of a connection: the sides that would deny it without audit mode.
   */
  readonly deniedBy: readonly ("egress" | "ingress")[];
  readonly generation: number;
  /** Link that received the frame. */
  readonly linkId: number;
  /** 0 when a connection ends. */
  readonly frameBytes: number;
  /** The frame's TCP flags; 0 for other protocols. */
  readonly tcpFlags: number;
  /** When a connection ends: its frames in both directions, and their bytes. */
  readonly totalPackets: number;
  readonly totalBytes: number;
  /** Events lost just before this one, because the ring was full. */
  readonly lostBefore: number;
}

/**
 * Reads record `index` of a buffer that `Dataplane.drainEvents` filled.
 *
 * Owner: the addresses are copies; the buffer may be filled again.
 */
export function decodeFlowEvent(buffer: Uint8Array, index: number): FlowEventRecord {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const event = readFlowEvent(view, index * FlowEvent.bytes);
  const { family } = event;
  const isExempt = event.kind === FlowEventKind.Exempt;
  const reason = isExempt ? DropReason.None : event.reason;
  const address = (bytes: Uint8Array): Address | undefined => {
    if (family !== 4 && family !== 6) return undefined;
    return { family, bytes: family === 4 ? bytes.subarray(0, 4) : bytes };
  };
  return {
    timeUs: event.timeUs,
    kind: flowEventKindWords[event.kind] ?? flowEventKindWords[FlowEventKind.Dropped],
    source: address(event.source),
    destination: address(event.destination),
    sourcePort: event.sourcePort,
    destinationPort: event.destinationPort,
    protocol: event.protocol,
    reason: reason === DropReason.None ? undefined : dropReasonWords[reason],
    exempt: isExempt ? exemptKindOf(event.reason) : undefined,
    deniedBy: sidesOf(event.deniedBy),
    generation: event.generation,
    linkId: event.linkId,
    frameBytes: event.frameBytes,
    tcpFlags: event.tcpFlags,
    totalPackets: event.totalPackets,
    totalBytes: event.totalBytes,
    lostBefore: event.lostBefore,
  };
}

/**
 * Reads record `index` of a buffer that `Dataplane.drainDroppedFrames` filled. `lostBefore` of its event counts frames.
 *
 * Owner: all of it are copies.
 */
export function decodeDroppedFrame(
  buffer: Uint8Array,
  index: number,
): { readonly event: FlowEventRecord; readonly frame: Uint8Array } {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const { event, capturedBytes, frame } = readDroppedFrame(view, index * DroppedFrame.bytes);
  return { event: decodeFlowEvent(event, 0), frame: frame.slice(0, capturedBytes) };
}

/** Names an ExemptKind; undefined when policy judges. */
export function exemptKindOf(kind: number): ExemptKindWord | undefined {
  return exemptKinds.find((word) => word === exemptKindWords[kind]);
}

/** The sides that deny, from the DENIED_BY_… bits of a verdict. */
export function sidesOf(bits: number): readonly ("egress" | "ingress")[] {
  return sides[bits & (DENIED_BY_EGRESS | DENIED_BY_INGRESS)]!;
}

const sides: readonly (readonly ("egress" | "ingress")[])[] = [0, 1, 2, 3].map((bits) => [
  ...((bits & DENIED_BY_EGRESS) !== 0 ? (["egress"] as const) : []),
  ...((bits & DENIED_BY_INGRESS) !== 0 ? (["ingress"] as const) : []),
]);
