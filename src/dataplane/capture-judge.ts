import {
  CapturedFrame,
  DropReason,
  dropReasonWords,
  JudgedFrame,
  NONE,
  readJudgedFrame,
  writeCapturedFrame,
} from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";
import { addon, type NativeCaptureJudge } from "./addon.js";
import { native } from "./errors.js";
import { type DropReasonWord, type ExemptKindWord, exemptKindOf, sidesOf } from "./events.js";

/** Limits of tracked connections; for a file, no more than it has frames. */
const connections = { least: 64, most: 262_144, live: 65_536 } as const;

/**
 * Judges captured frames by a native packet filter that it keeps open: frames of a file by their own
 * timestamps, or frames seen on an interface.
 *
 * Cost: memory of a fixed size, for any number of frames.
 */
export class CaptureJudge {
  readonly #native: NativeCaptureJudge;

  private constructor(judge: NativeCaptureJudge) {
    this.#native = judge;
  }

  /**
   * Judges as on a wire with one pod at its inside, on which router advertisements pass.
   *
   * Shape:  `endpointId` is the pod's in the table; `podMac` six bytes, without which MAC addresses
   *         are not guarded; `frames` how many will come.
   * Errors: DataplaneError when the blob is no table, or the pod is not in it.
   */
  static onWire(
    blob: Uint8Array,
    endpointId: number,
    podMac: Uint8Array | undefined,
    frames: number,
  ): CaptureJudge {
    const most = Math.min(Math.max(frames, connections.least), connections.most);
    return CaptureJudge.#open(blob, endpointId, podMac, most);
  }

  /**
   * Judges what is seen on an interface, in both directions and without a source guard. A frame of a
   * connection that policy denies is denied too. A connection whose start was not seen is picked up midway,
   * as with `--loose`.
   *
   * Errors: DataplaneError when the blob is no table.
   */
  static watching(blob: Uint8Array): CaptureJudge {
    return CaptureJudge.#open(blob, NONE, undefined, connections.live);
  }

  static #open(blob: Uint8Array, endpointId: number, mac: Uint8Array | undefined, most: number) {
    const { NativeCaptureJudge } = addon();
    return native(
      "judging frames",
      () =>
        new CaptureJudge(new NativeCaptureJudge(blob, endpointId, mac ?? new Uint8Array(), most)),
    );
  }

  /**
   * Finds the frames that the pod sent, by its MAC or its addresses as source, and sets `fromOutside` of
   * every frame. An unknown MAC is learnt from the first frame with one of its addresses.
   *
   * Errors: DataplaneError when a frame lies outside `bytes`.
   */
  findSides(bytes: Uint8Array, frames: CapturedFrames): void {
    native("finding the pod's frames", () => this.#native.findSides(bytes, frames.records));
  }

  /**
   * Judges frames that follow those of the previous call.
   *
   * Shape:  JudgedFrame records, for `decodeJudgedFrame`.
   * Errors: DataplaneError when a frame lies outside `bytes`.
   */
  judge(bytes: Uint8Array, frames: CapturedFrames): Uint8Array {
    const judged = new Uint8Array(frames.count * JudgedFrame.bytes);
    native("judging frames", () => this.#native.judge(bytes, frames.records, judged));
    return judged;
  }
}

/** CapturedFrame records. */
export class CapturedFrames {
  readonly records: Uint8Array;
  readonly #view: DataView;

  constructor(count: number) {
    this.records = new Uint8Array(count * CapturedFrame.bytes);
    this.#view = new DataView(this.records.buffer);
  }

  get count(): number {
    return this.records.length / CapturedFrame.bytes;
  }

  /** Units: `timeUs` in microseconds, a whole number from 0 on. */
  set(
    index: number,
    frame: {
      readonly offset: number;
      readonly length: number;
      readonly timeUs: number;
      readonly truncated: boolean;
      readonly fromOutside?: boolean;
      readonly bareIp?: boolean;
    },
  ): void {
    writeCapturedFrame(this.#view, index * CapturedFrame.bytes, {
      offset: frame.offset,
      frameBytes: frame.length,
      timeUs: frame.timeUs,
      fromOutside: Number(frame.fromOutside ?? false),
      truncated: Number(frame.truncated),
      bareIp: Number(frame.bareIp ?? false),
    });
  }

  isFromOutside(index: number): boolean {
    return this.#view.getUint8(index * CapturedFrame.bytes + CapturedFrame.fromOutside) !== 0;
  }
}

/** The first packet of a connection, as the key of a table look-up. */
export interface FirstPacket {
  readonly protocol: number;
  /** Destination port; 0 where the protocol has none. */
  readonly port: number;
  /** Leaf numbers. */
  readonly source: number;
  readonly destination: number;
}

/** A captured frame's fields and its verdict. */
export interface JudgedFrameRecord {
  /** `arp` or `ip`; undefined when no header behind Ethernet's could be read. */
  readonly kind: "arp" | "ip" | undefined;
  /** The addresses of IP, or of ARP's sender and target. */
  readonly source: Address | undefined;
  readonly destination: Address | undefined;
  /** TCP, UDP and SCTP. */
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
  /** Undefined when the frame has no Ethernet header, as the next two. */
  readonly sourceMac: string | undefined;
  readonly destinationMac: string | undefined;
  readonly etherType: number | undefined;
  /** IP protocol number. */
  readonly protocol: number | undefined;
  readonly icmp: { readonly type: number; readonly code: number } | undefined;
  readonly arpOperation: number | undefined;
  readonly tcpFlags: number;
  /** Bytes behind the header of TCP or UDP; of another protocol, with its header. */
  readonly payloadBytes: number;
  readonly isLaterFragment: boolean;
  /** Why it is dropped; undefined when it passes. */
  readonly reason: DropReasonWord | undefined;
  readonly deniedBy: readonly ("egress" | "ingress")[];
  /** Set when the frame passes without a policy verdict: its kind. */
  readonly exempt: ExemptKindWord | undefined;
  /**
   * First packet of the connection that the frame belongs to or would begin; undefined when it has none.
   */
  readonly first: FirstPacket | undefined;
  /** The frame goes in the direction opposite to that first packet. */
  readonly isReply: boolean;
  /** An ICMP error: the connection is that of the quoted packet. */
  readonly isQuoted: boolean;
  /** The connection's start was not seen. */
  readonly isJoined: boolean;
}

const etherTypeArp = 0x0806;
const withPorts = [6, 17, 132];
const icmpOf = { 4: 1, 6: 58 } as const;

/** Reads record `index` of what `CaptureJudge.judge` returned. */
export function decodeJudgedFrame(records: Uint8Array, index: number): JudgedFrameRecord {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const frame = readJudgedFrame(view, index * JudgedFrame.bytes);
  const { family, etherType, leaves, reason, typeCode } = frame;
  const isRead = frame.transport !== 0;
  const kind = family === 0 ? undefined : etherType === etherTypeArp ? "arp" : "ip";
  const protocol = kind === "ip" ? frame.protocol : undefined;
  const ported = isRead && withPorts.includes(protocol ?? 0);
  const isIcmp = isRead && protocol === icmpOf[family as 4 | 6];
  const address = (bytes: Uint8Array): Address | undefined => {
    if (family !== 4 && family !== 6) return undefined;
    return { family, bytes: family === 4 ? bytes.subarray(0, 4) : bytes };
  };
  return {
    kind,
    source: address(frame.source),
    destination: address(frame.destination),
    sourcePort: ported ? frame.sourcePort : undefined,
    destinationPort: ported ? frame.destinationPort : undefined,
    sourceMac: etherType === 0 ? undefined : macText(frame.sourceMac),
    destinationMac: etherType === 0 ? undefined : macText(frame.destinationMac),
    etherType: etherType === 0 ? undefined : etherType,
    protocol,
    icmp: isIcmp ? { type: typeCode >> 8, code: typeCode & 0xff } : undefined,
    arpOperation: kind === "arp" ? typeCode : undefined,
    tcpFlags: frame.tcpFlags,
    payloadBytes: frame.payloadBytes,
    isLaterFragment: frame.laterFragment !== 0,
    reason: reason === DropReason.None ? undefined : dropReasonWords[reason],
    deniedBy: sidesOf(frame.deniedBy),
    exempt: exemptKindOf(frame.exempt),
    first: isRead
      ? {
          protocol: frame.firstProtocol,
          port: frame.firstPort,
          source: leaves[0] ?? NONE,
          destination: leaves[1] ?? NONE,
        }
      : undefined,
    isReply: frame.reply !== 0,
    isQuoted: frame.quoted !== 0,
    isJoined: frame.joined !== 0,
  };
}

function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
