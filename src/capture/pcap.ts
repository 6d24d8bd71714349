import { addPacket, type Capture, type CapturedPacket, CaptureError } from "./capture.js";

const headerBytes = 24;
const recordHeaderBytes = 16;
const magicMicroseconds = 0xa1b2c3d4;
const magicNanoseconds = 0xa1b23c4d;
const versionMajor = 2;
/** More than any capture program writes: beyond it, what stands there is no packet header. */
const packetBytesMax = 262_144;

/** The byte order and clock that a pcap file starts with; undefined when it is none. */
function magicOf(bytes: Uint8Array): { little: boolean; nanoseconds: boolean } | undefined {
  if (bytes.length < 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (const little of [true, false]) {
    const magic = view.getUint32(0, little);
    if (magic === magicMicroseconds) return { little, nanoseconds: false };
    if (magic === magicNanoseconds) return { little, nanoseconds: true };
  }
  return undefined;
}

export function isPcap(bytes: Uint8Array): boolean {
  return magicOf(bytes) !== undefined;
}

/**
 * Reads a pcap file, for which `isPcap` is true.
 *
 * Errors: CaptureError.
 * Source: draft-ietf-opsawg-pcap.
 */
export function readPcap(bytes: Uint8Array): Capture {
  const magic = magicOf(bytes);
  if (magic === undefined || bytes.length < headerBytes) {
    throw new CaptureError(bytes.length, `got ${bytes.length} bytes, want a pcap header of 24`);
  }
  const { little, nanoseconds } = magic;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint16(4, little);
  if (version !== versionMajor) {
    throw new CaptureError(4, `got pcap version ${version}, want ${versionMajor}`);
  }
  // The upper bits say whether frames end in a checksum, and how long it is.
  const linkType = view.getUint32(20, little) & 0xffff;
  const checksumBytes = readChecksumBytes(view.getUint32(20, little));

  const packets: CapturedPacket[] = [];
  let at = headerBytes;
  while (bytes.length - at >= recordHeaderBytes) {
    const captured = view.getUint32(at + 8, little);
    const onWire = view.getUint32(at + 12, little);
    if (captured > packetBytesMax) {
      throw new CaptureError(
        at + 8,
        `got a packet of ${captured} bytes, want ${packetBytesMax} at most`,
      );
    }
    if (captured > bytes.length - at - recordHeaderBytes) break;
    const frameBytes = Math.max(Math.max(onWire, captured) - checksumBytes, 0);
    const fraction = view.getUint32(at + 4, little);
    addPacket(packets, {
      offset: at + recordHeaderBytes,
      length: Math.min(captured, frameBytes),
      originalLength: frameBytes,
      timeUs:
        view.getUint32(at, little) * 1e6 + (nanoseconds ? Math.floor(fraction / 1000) : fraction),
      interfaceId: 0,
    });
    at += recordHeaderBytes + captured;
  }
  const interfaces = [{ name: undefined, linkType }];
  return { format: "pcap", bytes, interfaces, packets, cutAt: at < bytes.length ? at : undefined };
}

function readChecksumBytes(field: number): number {
  const present = (field & 0x04000000) !== 0;
  return present ? (field >>> 28) * 2 : 0;
}
