import {
  addPacket,
  type Capture,
  type CapturedPacket,
  CaptureError,
  type CaptureInterface,
  linkTypeEthernet,
} from "./capture.js";

const blockTypes = {
  section: 0x0a0d0d0a,
  interface: 1,
  oldPacket: 2,
  simplePacket: 3,
  packet: 6,
} as const;
const optionCodes = {
  end: 0,
  comment: 1,
  interfaceName: 2,
  resolution: 9,
  timeOffset: 14,
} as const;
const byteOrderMagic = 0x1a2b3c4d;
/** An option has a length of 16 bits, of three bytes a character at most; nobody reads more than this. */
const commentMax = 4096;
const blockBytesMin = 12;
const versionMajor = 1;

export function isPcapng(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 4 &&
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === blockTypes.section
  );
}

/** An interface, and how its clock counts. */
interface Clocked extends CaptureInterface {
  /** Ticks a second. */
  readonly ticks: bigint;
  readonly offsetSeconds: bigint;
  /** Longest part of a packet that it captures. */
  readonly snapBytes: number;
}

/**
 * Reads a pcapng file, for which `isPcapng` is true.
 *
 * Shape:  interfaces of all sections stand behind each other; blocks that hold no packets are
 *         passed over.
 * Errors: CaptureError.
 * Source: draft-ietf-opsawg-pcapng.
 */
export function readPcapng(bytes: Uint8Array): Capture {
  return new Reader(bytes).read();
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #interfaces: Clocked[] = [];
  readonly #packets: CapturedPacket[] = [];
  #little = true;
  /** Interfaces that were there when the section began: its own count from 0. */
  #sectionStart = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  read(): Capture {
    let at = 0;
    let cutAt: number | undefined;
    while (at < this.#bytes.length) {
      const next = this.#readBlock(at);
      if (next === undefined) {
        cutAt = at;
        break;
      }
      at = next;
    }
    return {
      format: "pcapng",
      bytes: this.#bytes,
      interfaces: this.#interfaces,
      packets: this.#packets,
      cutAt,
    };
  }

  /** Returns where the next block starts; undefined when the file ends inside this one. */
  #readBlock(at: number): number | undefined {
    const left = this.#bytes.length - at;
    if (left < blockBytesMin) return undefined;
    const type = this.#u32(at);
    if (type === blockTypes.section) this.#readByteOrder(at);
    const blockBytes = this.#u32(at + 4);
    if (blockBytes < blockBytesMin || blockBytes % 4 !== 0) {
      throw new CaptureError(
        at + 4,
        `got a block of ${blockBytes} bytes, want a multiple of 4 from 12 on`,
      );
    }
    if (blockBytes > left) return undefined;
    const end = at + blockBytes;
    const repeated = this.#u32(end - 4);
    if (repeated !== blockBytes) {
      throw new CaptureError(
        end - 4,
        `got length ${repeated} behind a block of ${blockBytes} bytes`,
      );
    }
    this.#readBody(type, at + 8, end - 4);
    return end;
  }

  #readByteOrder(at: number): void {
    this.#little = true;
    if (this.#u32(at + 8) === byteOrderMagic) return;
    this.#little = false;
    if (this.#u32(at + 8) === byteOrderMagic) return;
    throw new CaptureError(at + 8, "got a section without its byte-order mark");
  }

  #readBody(type: number, at: number, end: number): void {
    switch (type) {
      case blockTypes.section:
        this.#need(at, end, 16, "section header");
        if (this.#u16(at + 4) !== versionMajor) {
          throw new CaptureError(at + 4, `got pcapng version ${this.#u16(at + 4)}, want 1`);
        }
        this.#sectionStart = this.#interfaces.length;
        break;
      case blockTypes.interface:
        this.#need(at, end, 8, "interface description");
        this.#interfaces.push(this.#readInterface(at, end));
        break;
      case blockTypes.packet:
        this.#need(at, end, 20, "packet block");
        this.#readPacket(at, end, this.#u32(at));
        break;
      case blockTypes.oldPacket:
        this.#need(at, end, 20, "packet block");
        this.#readPacket(at, end, this.#u16(at));
        break;
      case blockTypes.simplePacket:
        this.#need(at, end, 4, "simple packet block");
        this.#readSimplePacket(at, end);
        break;
    }
  }

  #readInterface(at: number, end: number): Clocked {
    let name: string | undefined;
    let ticks = 1_000_000n;
    let offsetSeconds = 0n;
    for (const option of this.#options(at + 8, end)) {
      const value = this.#bytes.subarray(option.at, option.at + option.length);
      if (option.code === optionCodes.interfaceName) {
        name = new TextDecoder().decode(value);
      } else if (option.code === optionCodes.resolution && option.length === 1) {
        ticks = readResolution(value[0] ?? 0, option.at);
      } else if (option.code === optionCodes.timeOffset && option.length === 8) {
        offsetSeconds = this.#view.getBigInt64(option.at, this.#little);
      }
    }
    const snapBytes = this.#u32(at + 4);
    return { name, linkType: this.#u16(at), ticks, offsetSeconds, snapBytes };
  }

  *#options(start: number, end: number): Generator<{ code: number; at: number; length: number }> {
    for (let at = start; end - at >= 4; ) {
      const code = this.#u16(at);
      const length = this.#u16(at + 2);
      if (code === optionCodes.end) return;
      const padded = (length + 3) & ~3;
      if (padded > end - at - 4) {
        throw new CaptureError(at, `got an option of ${length} bytes that leaves its block`);
      }
      yield { code, at: at + 4, length };
      at += 4 + padded;
    }
  }

  #readPacket(at: number, end: number, number: number): void {
    const interfaceId = this.#sectionStart + number;
    const from = this.#interfaces[interfaceId];
    if (from === undefined) {
      throw new CaptureError(at, `got a packet of interface ${number}, which is not described`);
    }
    const length = this.#u32(at + 12);
    if (length > end - at - 20) {
      throw new CaptureError(at + 12, `got a packet of ${length} bytes that leaves its block`);
    }
    const high = this.#u32(at + 4);
    const low = this.#u32(at + 8);
    addPacket(this.#packets, {
      offset: at + 20,
      length,
      originalLength: Math.max(this.#u32(at + 16), length),
      timeUs: microseconds(high, low, from),
      interfaceId,
    });
  }

  #readSimplePacket(at: number, end: number): void {
    const from = this.#interfaces[this.#sectionStart];
    if (from === undefined) {
      throw new CaptureError(at, "got a simple packet before any interface");
    }
    const originalLength = this.#u32(at);
    const room = end - at - 4;
    const length = Math.min(originalLength, from.snapBytes === 0 ? room : from.snapBytes);
    if (length > room) {
      throw new CaptureError(at, `got a packet of ${originalLength} bytes that leaves its block`);
    }
    // It carries no time: it happened when the one before it did, as far as anybody knows.
    const timeUs = this.#packets.at(-1)?.timeUs ?? 0;
    const interfaceId = this.#sectionStart;
    addPacket(this.#packets, { offset: at + 4, length, originalLength, timeUs, interfaceId });
  }

  #need(at: number, end: number, bytes: number, what: string): void {
    if (end - at < bytes) {
      throw new CaptureError(at, `got ${end - at} bytes of ${what}, want ${bytes}`);
    }
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#little);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }
}

/** Reads how many ticks a second has: a power of 10, or of 2 with the upper bit. */
function readResolution(value: number, at: number): bigint {
  const exponent = value & 0x7f;
  const base = (value & 0x80) === 0 ? 10n : 2n;
  if (exponent > (base === 10n ? 19 : 63)) {
    throw new CaptureError(at, `got a clock of ${base} to the power of -${exponent} seconds`);
  }
  return base ** BigInt(exponent);
}

function microseconds(high: number, low: number, from: Clocked): number {
  if (from.ticks === 1_000_000n && from.offsetSeconds === 0n && high < 2 ** 21) {
    return high * 2 ** 32 + low;
  }
  const ticks = (BigInt(high) << 32n) | BigInt(low);
  const timeUs = (ticks * 1_000_000n) / from.ticks + from.offsetSeconds * 1_000_000n;
  if (timeUs < 0n) return 0;
  const latest = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(timeUs > latest ? latest : timeUs);
}

/** Makes a pcapng file, block by block; every block is whole, so that the file may end anywhere. */
export class PcapngWriter {
  readonly #write: (block: Uint8Array) => void;
  #interfaces = 0;

  /** `write` gets one block a call, and may keep it. */
  constructor(write: (block: Uint8Array) => void) {
    this.#write = write;
    const body = new DataView(new ArrayBuffer(16));
    body.setUint32(0, byteOrderMagic, true);
    body.setUint16(4, versionMajor, true);
    body.setBigInt64(8, -1n, true); // the section's length is not known yet
    this.#block(blockTypes.section, [asBytes(body)]);
  }

  /** Describes an Ethernet interface and returns its number. */
  addInterface(name: string): number {
    const body = new DataView(new ArrayBuffer(8));
    body.setUint16(0, linkTypeEthernet, true);
    this.#block(blockTypes.interface, [
      asBytes(body),
      ...option(optionCodes.interfaceName, new TextEncoder().encode(name)),
      ...option(optionCodes.resolution, Uint8Array.of(6)),
      ...option(optionCodes.end, new Uint8Array()),
    ]);
    return this.#interfaces++;
  }

  /**
   * Units: `timeUs` in microseconds since the epoch. `comment` is shown beside the packet; of a long one
   * its first 4,096 characters.
   */
  addPacket(
    interfaceId: number,
    timeUs: number,
    bytes: Uint8Array,
    originalLength: number = bytes.length,
    comment?: string,
  ): void {
    const body = new DataView(new ArrayBuffer(20));
    body.setUint32(0, interfaceId, true);
    body.setUint32(4, Math.floor(timeUs / 2 ** 32), true);
    body.setUint32(8, timeUs % 2 ** 32, true);
    body.setUint32(12, bytes.length, true);
    body.setUint32(16, originalLength, true);
    const options =
      comment === undefined
        ? []
        : [
            ...option(optionCodes.comment, new TextEncoder().encode(comment.slice(0, commentMax))),
            ...option(optionCodes.end, new Uint8Array()),
          ];
    this.#block(blockTypes.packet, [asBytes(body), ...padded(bytes), ...options]);
  }

  #block(type: number, parts: readonly Uint8Array[]): void {
    const bodyBytes = parts.reduce((sum, part) => sum + part.length, 0);
    const block = new Uint8Array(blockBytesMin + bodyBytes);
    const view = new DataView(block.buffer);
    view.setUint32(0, type, true);
    view.setUint32(4, block.length, true);
    view.setUint32(block.length - 4, block.length, true);
    let at = 8;
    for (const part of parts) {
      block.set(part, at);
      at += part.length;
    }
    this.#write(block);
  }
}

function option(code: number, value: Uint8Array): Uint8Array[] {
  const head = new DataView(new ArrayBuffer(4));
  head.setUint16(0, code, true);
  head.setUint16(2, value.length, true);
  return [asBytes(head), ...padded(value)];
}

function padded(bytes: Uint8Array): Uint8Array[] {
  return [bytes, new Uint8Array(-bytes.length & 3)];
}

function asBytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer);
}
