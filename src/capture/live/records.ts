/**
 * What the capturing process tells its parent: records behind each other in one stream.
 *
 * Shape: u32 payload length, u8 kind, f64 time in ms since the epoch, payload; little-endian.
 *        `opened` and `failed` carry JSON, the others a frame.
 */
const recordKinds = ["opened", "failed", "packet", "cut"] as const;
export type RecordKind = (typeof recordKinds)[number];

export interface CaptureRecord {
  readonly kind: RecordKind;
  readonly timeMs: number;
  readonly payload: Buffer;
}

const headerBytes = 13;

export function encodeRecord(kind: RecordKind, timeMs: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(headerBytes + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt8(recordKinds.indexOf(kind), 4);
  bytes.writeDoubleLE(timeMs, 5);
  bytes.set(payload, headerBytes);
  return bytes;
}

/** Cuts a stream into records, wherever its chunks end. */
export class RecordReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Takes a chunk, and returns the records that it completes. */
  read(chunk: Buffer): CaptureRecord[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const records: CaptureRecord[] = [];
    let at = 0;
    while (bytes.length - at >= headerBytes) {
      const end = at + headerBytes + bytes.readUInt32LE(at);
      if (bytes.length < end) {
        break;
      }
      records.push({
        kind: recordKinds[bytes.readUInt8(at + 4)] ?? "failed",
        timeMs: bytes.readDoubleLE(at + 5),
        payload: bytes.subarray(at + headerBytes, end),
      });
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return records;
  }
}
