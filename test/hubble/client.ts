import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { type MethodName, methods } from "../../src/hubble/definitions.js";
import { decodeMessage, encodeMessage } from "../../src/hubble/wire.js";

/** A message of the protocol, as JSON has it. */
// biome-ignore lint/suspicious/noExplicitAny: the tests look into answers of all types.
export type Message = any;

export interface Outcome {
  readonly messages: Message[];
  /** gRPC's number; undefined when the connection broke. */
  readonly status: number | undefined;
  readonly message: string;
}

/** A call that goes on. */
export interface OpenCall {
  readonly messages: Message[];
  readonly done: Promise<Outcome>;
  /** Takes nothing more from the connection until `resume`. */
  pause(): void;
  resume(): void;
  cancel(): void;
}

/** A client of Hubble's protocol: `at` is a port of this machine, or a unix socket's path; `from` is its own address. */
export class HubbleClient {
  readonly session: ClientHttp2Session;

  constructor(at: number | string, from = "127.0.0.1") {
    this.session = connect("http://localhost", {
      createConnection: () =>
        typeof at === "number"
          ? connectSocket({ port: at, host: "127.0.0.1", localAddress: from })
          : connectSocket(at),
    });
    this.session.on("error", () => {});
  }

  open(method: MethodName, request: object = {}): OpenCall {
    return this.send(method, frame(encodeMessage(methods[method].request, request)));
  }

  /** Sends bytes as the request of a method, which need not be one. */
  send(path: string, bytes: Buffer, endStream = true): OpenCall {
    const stream = this.session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const messages: Message[] = [];
    let waiting = Buffer.alloc(0);
    let head: Record<string, unknown> = {};
    stream.on("response", (headers) => {
      head = headers;
    });
    stream.on("trailers", (headers) => {
      head = headers;
    });
    stream.on("data", (piece: Buffer) => {
      waiting = Buffer.concat([waiting, piece]);
      while (waiting.length >= 5 && waiting.length >= 5 + waiting.readUInt32BE(1)) {
        const length = 5 + waiting.readUInt32BE(1);
        const body = waiting.subarray(5, length);
        messages.push(decodeMessage(methods[path as MethodName].response, body));
        waiting = waiting.subarray(length);
      }
    });
    stream.on("error", () => {});
    const done = new Promise<Outcome>((resolve) => {
      stream.once("close", () => {
        const status = head["grpc-status"];
        resolve({
          messages,
          status: status === undefined ? undefined : Number(status),
          message: decodeURIComponent(`${head["grpc-message"] ?? ""}`),
        });
      });
    });
    if (endStream) stream.end(bytes);
    else stream.write(bytes);
    return {
      messages,
      done,
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      cancel: () => stream.close(8),
    };
  }

  call(method: MethodName, request: object = {}): Promise<Outcome> {
    return this.open(method, request).done;
  }

  close(): void {
    this.session.destroy();
  }
}

/** Puts gRPC's head before a message. */
export function frame(body: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}
