import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** Source: RFC 9113, sections 3.4, 4 and 6. */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const headBytes = 9;
const lengthMax = 16_384;
const types = {
  ...{ data: 0, headers: 1, priority: 2, reset: 3, settings: 4, ping: 6 },
  ...{ goaway: 7, windowUpdate: 8, continuation: 9 },
} as const;
const flag = { ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/**
 * The frames of an HTTP/2 client as they may be: their types, lengths, streams and order.
 *
 * nghttp2 before 1.68.1, as Node 20 has it, goes on to read after it has given a connection up, and then aborts the
 * process at a frame of a wrong length. So it gets none.
 */
export class FrameReader {
  #prefaceAt = 0;
  readonly #head = Buffer.alloc(headBytes);
  #headAt = 0;
  /** Of the payload that is still to come. */
  #left = 0;
  /** Where the length of the padding is the next byte: how long it may be. */
  #paddingMax: number | undefined;
  /** The stream whose headers go on. */
  #continues = 0;
  #isFirst = true;

  /** Whether the next bytes are such frames, or a part of them. */
  take(bytes: Buffer): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#prefaceAt < preface.length) {
        if (bytes[at++] !== preface[this.#prefaceAt++]) return false;
      } else if (this.#left > 0) {
        if (this.#paddingMax !== undefined && bytes[at]! > this.#paddingMax) return false;
        this.#paddingMax = undefined;
        const some = Math.min(this.#left, bytes.length - at);
        this.#left -= some;
        at += some;
      } else {
        this.#head[this.#headAt++] = bytes[at++]!;
        if (this.#headAt < headBytes) continue;
        this.#headAt = 0;
        if (!this.#begin()) return false;
      }
    }
    return true;
  }

  #begin(): boolean {
    const length = this.#head.readUIntBE(0, 3);
    const [type, flags] = [this.#head[3]!, this.#head[4]!];
    const stream = this.#head.readUInt32BE(5) & 0x7fffffff;
    if (length > lengthMax || (this.#isFirst && type !== types.settings)) return false;
    this.#isFirst = false;
    if (this.#continues !== 0 && (type !== types.continuation || stream !== this.#continues)) {
      return false;
    }
    if (!isPlain(type, flags, stream, length)) return false;
    if (type === types.continuation && this.#continues === 0) return false;
    if (type === types.headers || type === types.continuation) {
      this.#continues = (flags & flag.endHeaders) === 0 ? stream : 0;
    }
    this.#left = length;
    if ((type === types.data || type === types.headers) && (flags & flag.padded) !== 0) {
      this.#paddingMax = length - 1 - priorityBytes(type, flags);
      if (this.#paddingMax < 0) return false;
    }
    return true;
  }
}

function priorityBytes(type: number, flags: number): number {
  return type === types.headers && (flags & flag.priority) !== 0 ? 5 : 0;
}

/** Whether a frame's stream and length are those of its type. */
function isPlain(type: number, flags: number, stream: number, length: number): boolean {
  switch (type) {
    case types.data:
    case types.continuation:
      return stream !== 0;
    case types.headers:
      return stream !== 0 && length >= priorityBytes(type, flags);
    case types.priority:
      return stream !== 0 && length === 5;
    case types.reset:
      return stream !== 0 && length === 4;
    case types.settings:
      return stream === 0 && ((flags & flag.ack) !== 0 ? length === 0 : length % 6 === 0);
    case types.ping:
      return stream === 0 && length === 8;
    case types.goaway:
      return stream === 0 && length >= 8;
    case types.windowUpdate:
      return length === 4;
    default:
      return false;
  }
}

/** A socket as Node's HTTP/2 gets it: one that sends other bytes is closed. */
export class FrameGate extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on("data", (bytes: Buffer) => {
      if (!reader.take(bytes)) socket.destroy();
      else if (!this.push(bytes)) socket.pause();
    });
    socket.once("end", () => this.push(null));
    socket.once("close", () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    // A socket that is gone is no error: its end is told by itself.
    if (this.#socket.destroyed) done();
    else this.#socket.write(bytes, () => done());
  }

  override _final(done: () => void): void {
    if (this.#socket.destroyed) done();
    else this.#socket.end(() => done());
  }

  override _destroy(_: Error | null, done: () => void): void {
    this.#socket.destroy();
    done();
  }
}
