/** Link type of Ethernet, the only one that Sluice judges. Source: www.tcpdump.org/linktypes.html. */
export const linkTypeEthernet = 1;

export interface CaptureInterface {
  /** As the capture names it; undefined where it does not (every plain pcap). */
  readonly name: string | undefined;
  readonly linkType: number;
}

/** A packet of a capture. Its bytes are `bytes.subarray(offset, offset + length)` of the file. */
export interface CapturedPacket {
  readonly offset: number;
  readonly length: number;
  /** What was on the wire; larger than `length` when the capture cut the packet. */
  readonly originalLength: number;
  /** Microseconds since the epoch, a whole number. */
  readonly timeUs: number;
  /** Index into the capture's interfaces. */
  readonly interfaceId: number;
}

export interface Capture {
  readonly format: "pcap" | "pcapng";
  /** The file. */
  readonly bytes: Uint8Array;
  readonly interfaces: readonly CaptureInterface[];
  readonly packets: readonly CapturedPacket[];
  /** Where the file ends in the middle of a packet or block; undefined when it is whole. */
  readonly cutAt: number | undefined;
}

/** Bytes that are no capture, or one that contradicts itself. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
  /** Bytes from the start of the file. */
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(`byte ${offset}: ${message}`);
    this.offset = offset;
  }
}

/** Packets of a capture that are read: each costs some 80 bytes of memory, however short it is. */
export const packetsMax = 12_000_000;

/** Adds a packet to those of a capture. Errors: CaptureError for one too many. */
export function addPacket(packets: CapturedPacket[], packet: CapturedPacket): void {
  if (packets.length >= packetsMax) {
    throw new CaptureError(packet.offset, `got more than ${packetsMax} packets, want fewer`);
  }
  packets.push(packet);
}
