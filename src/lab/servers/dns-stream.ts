import type { Socket } from "node:net";

/** Longer ones are no queries. */
const queryBytesMax = 1024;
const lengthBytes = 2;
/** A client that does not read its answers is cut off here. */
const unreadBytesMax = 256 * 1024;

/** Queries and answers over TCP, each behind its length in two bytes; one after the other, in order. */
export class DnsStream {
  readonly #socket: Socket;
  readonly #answer: (query: Buffer) => Buffer | undefined;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, answer: (query: Buffer) => Buffer | undefined) {
    this.#socket = socket;
    this.#answer = answer;
  }

  /** Takes what has come in; ends the connection at what is no query. */
  take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= lengthBytes && !this.#socket.destroyed) {
      const length = this.#rest.readUInt16BE(0);
      if (length > queryBytesMax) return void this.#socket.destroy();
      if (this.#rest.length < lengthBytes + length) return;
      const reply = this.#answer(this.#rest.subarray(lengthBytes, lengthBytes + length));
      this.#rest = this.#rest.subarray(lengthBytes + length);
      if (reply === undefined) return void this.#socket.destroy();
      const head = Buffer.alloc(lengthBytes);
      head.writeUInt16BE(reply.length, 0);
      this.#socket.write(Buffer.concat([head, reply]));
      if (this.#socket.writableLength > unreadBytesMax) return void this.#socket.destroy();
    }
  }
}
