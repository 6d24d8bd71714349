import {
  constants,
  createServer as createHttp2,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer, type Server, type Socket } from "node:net";
import { clientOf } from "../control/http-listener.js";
import { Admission } from "./admission.js";
import { type HubbleCounts, refusalCounts } from "./counts.js";
import { type MethodName, methods } from "./definitions.js";
import { FrameGate } from "./frame-gate.js";
import type { GrpcBounds } from "./hubble-bounds.js";
import { decodeMessage, encodeMessage, WireError } from "./wire.js";

/** Status codes of gRPC that are used here. Source: its core documentation. */
const grpcStatus = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

/** A call that fails with a status of gRPC. */
export class CallError extends Error {
  readonly status: number;

  constructor(status: keyof typeof grpcStatus, message: string) {
    super(message);
    this.status = grpcStatus[status];
  }
}

/** One call, as its method sees it. */
export interface GrpcCall {
  /** The decoded request, until the method waits for something. */
  readonly request: Readonly<Record<string, unknown>>;
  /** Fields of the request that its type does not have, as `package.Message field 7`. */
  readonly unknown: readonly string[];
  /** Address and port at which the caller has reached this process; undefined on a unix socket. */
  readonly reachedAt: string | undefined;
  readonly isClosed: boolean;
  /** Whether so much waits for the caller that no more should be sent. */
  readonly isBehind: boolean;
  /** Called when the caller has taken what waited, and once when the call is over. */
  onCaughtUp: () => void;
  onClose: () => void;
  send(message: object): void;
  /** Sends a message that `frameMessage` has made. */
  sendFrame(frame: Buffer): void;
  end(): void;
}

/** Answers a call. Errors: a CallError is the call's status; others are internal ones. */
export type GrpcMethod = (call: GrpcCall) => void | Promise<void>;

const headBytes = 5;
const sweepMs = 1_000;
/** From when on the kernel asks whether a silent client is still there; who is gone would keep its calls for ever. */
const keepAliveMs = 60_000;

/** Encodes a message with gRPC's head before it. */
export function frameMessage(method: MethodName, message: object): Buffer {
  const body = encodeMessage(methods[method].response, message);
  const frame = Buffer.allocUnsafe(headBytes + body.length);
  frame[0] = 0;
  frame.writeUInt32BE(body.length, 1);
  body.copy(frame, headBytes);
  return frame;
}

/**
 * Answers gRPC over HTTP/2 within bounds. Node reads HTTP/2; gRPC on top of it is a head of five bytes before each
 * message, and the status behind them.
 *
 * When all connections are taken, one without a call is closed for a new one. A client that calls too often is
 * refused, and loses its connection when it goes on.
 */
export class GrpcServer {
  readonly server: Server;
  readonly bounds: GrpcBounds;
  readonly answers: Readonly<Record<MethodName, GrpcMethod>>;
  readonly admission: Admission;
  /** Bytes of messages, with their heads. */
  sentBytes = 0;
  readonly #http2: Http2Server;
  readonly #connections = new Set<Connection>();

  constructor(bounds: GrpcBounds, answers: Readonly<Record<MethodName, GrpcMethod>>) {
    this.bounds = bounds;
    this.answers = answers;
    this.admission = new Admission(bounds);
    this.#http2 = createHttp2({
      maxSessionMemory: bounds.connectionMegabytes,
      maxHeaderListPairs: 64,
      settings: {
        enablePush: false,
        maxConcurrentStreams: bounds.callsPerConnectionMax,
        maxHeaderListSize: 16 * 1024,
      },
    });
    this.#http2.on("sessionError", () => {});
    this.server = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs },
      (socket) => this.#accept(socket),
    );
    setInterval(() => {
      const nowMs = performance.now();
      for (const connection of this.#connections) connection.sweep(nowMs);
    }, sweepMs).unref();
  }

  get counts(): Omit<HubbleCounts, "flows" | "lostFlows"> {
    const { calls, admitted, refused } = this.admission;
    return {
      connections: this.#connections.size,
      activeCalls: calls,
      calls: admitted,
      bytes: this.sentBytes,
      ...refusalCounts(refused),
    };
  }

  #accept(socket: Socket): void {
    socket.on("error", () => socket.destroy());
    const client = clientOf(socket.remoteAddress);
    if (!this.#makeRoom(client)) {
      this.admission.refused.connections++;
      socket.destroy();
      return;
    }
    const connection = new Connection(this, socket, client);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
    // Node makes the session of a socket before emit() returns.
    this.#http2.once("session", (session) => connection.begin(session));
    const gate = new FrameGate(socket);
    gate.on("error", () => gate.destroy());
    this.#http2.emit("connection", gate);
  }

  #makeRoom(client: string): boolean {
    const { connectionsMax, connectionsPerClientMax } = this.bounds;
    const all = [...this.#connections];
    const own = all.filter((each) => each.client === client);
    const isOwn = own.length >= connectionsPerClientMax;
    if (!isOwn && all.length < connectionsMax) return true;
    const victim = (isOwn ? own : all).find((each) => each.calls === 0);
    victim?.close();
    return victim !== undefined;
  }
}

/** A connection, which ends when nobody calls on it for long. */
class Connection {
  readonly client: string;
  readonly reachedAt: string | undefined;
  readonly #server: GrpcServer;
  readonly #socket: Socket;
  #session: ServerHttp2Session | undefined;
  /** Calls under way. */
  calls = 0;
  #refused = 0;
  #deadlineMs: number;

  constructor(server: GrpcServer, socket: Socket, client: string) {
    this.#server = server;
    this.#socket = socket;
    this.client = client;
    const { localAddress, localPort, localFamily } = socket;
    const host = localFamily === "IPv6" ? `[${localAddress}]` : localAddress;
    this.reachedAt = localAddress === undefined ? undefined : `${host}:${localPort}`;
    this.#deadlineMs = performance.now() + server.bounds.requestMs;
  }

  begin(session: ServerHttp2Session): void {
    this.#session = session;
    session.on("error", () => this.close());
    session.on("stream", (stream, headers) => this.#call(stream, headers));
  }

  sweep(nowMs: number): void {
    if (this.calls > 0) this.#deadlineMs = nowMs + this.#server.bounds.idleMs;
    // A graceful end: a caller who comes at this moment tries again.
    else if (nowMs > this.#deadlineMs) this.#session?.close();
    // It has not said goodbye.
    if (nowMs > this.#deadlineMs + this.#server.bounds.requestMs) this.close();
  }

  close(): void {
    this.#socket.destroy();
  }

  #call(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on("error", () => stream.close());
    const { admission, bounds } = this.#server;
    const refused = admission.enter(this.client);
    if (refused !== undefined) {
      // Who goes on when it is refused loses its connection, once its calls are over.
      // Not at once: Node is still reading this session's bytes, and the end of a session frees what it reads with.
      if (this.calls === 0 || ++this.#refused >= bounds.refusedMax) {
        setImmediate(() => this.#session?.close());
      }
      refuse(stream, new CallError("resourceExhausted", refused));
      return;
    }
    this.calls++;
    let call: Call | undefined;
    stream.once("close", () => {
      this.calls--;
      this.#deadlineMs = performance.now() + bounds.idleMs;
      admission.leave(this.client, call?.requestBytes ?? 0);
    });
    const method = headers[":path"] ?? "";
    if (!Object.hasOwn(methods, method)) {
      refuse(stream, new CallError("unimplemented", `no ${method.slice(0, 100)} here`));
      return;
    }
    call = new Call(stream, method as MethodName, this.#server, this);
    call.read();
  }
}

class Call implements GrpcCall {
  readonly reachedAt: string | undefined;
  readonly #client: string;
  request: Readonly<Record<string, unknown>> = {};
  /** What its method may have made of the request is a multiple of it. */
  requestBytes = 0;
  readonly unknown: string[] = [];
  onCaughtUp = () => {};
  onClose = () => {};
  readonly #stream: ServerHttp2Stream;
  readonly #method: MethodName;
  readonly #server: GrpcServer;
  readonly #timer: NodeJS.Timeout;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #hasAsked = false;
  #hasBegun = false;
  #isOver = false;

  constructor(
    stream: ServerHttp2Stream,
    method: MethodName,
    server: GrpcServer,
    { reachedAt, client }: Connection,
  ) {
    this.#stream = stream;
    this.#method = method;
    this.#server = server;
    this.reachedAt = reachedAt;
    this.#client = client;
    this.#timer = setTimeout(
      () => this.#fail(new CallError("deadlineExceeded", "the request did not come in time")),
      server.bounds.requestMs,
    );
  }

  get isClosed(): boolean {
    return this.#isOver || this.#stream.destroyed || this.#stream.closed;
  }

  get isBehind(): boolean {
    return this.#stream.writableLength >= this.#server.bounds.behindBytes;
  }

  /** Reads the request, and has it answered. */
  read(): void {
    const stream = this.#stream;
    stream.on("data", (piece: Buffer) => this.#contained(() => this.#take(piece)));
    stream.on("drain", () => this.#contained(() => this.onCaughtUp()));
    stream.once("end", () => {
      if (!this.#hasAsked) this.#fail(new CallError("invalidArgument", "got no request"));
    });
    stream.once("wantTrailers", () => {
      if (!stream.destroyed) stream.sendTrailers({ "grpc-status": `${grpcStatus.ok}` });
    });
    stream.once("close", () => {
      clearTimeout(this.#timer);
      this.#isOver = true;
      this.#pieces = [];
      this.#contained(() => this.onCaughtUp());
      this.#contained(() => this.onClose());
    });
  }

  send(message: object): void {
    this.sendFrame(frameMessage(this.#method, message));
  }

  sendFrame(frame: Buffer): void {
    if (this.isClosed) return;
    this.#begin();
    this.#server.sentBytes += frame.length;
    this.#stream.write(frame);
  }

  end(): void {
    if (this.isClosed) return;
    this.#begin();
    this.#isOver = true;
    this.#stream.end();
  }

  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#stream.respond(responseHead, { waitForTrailers: true });
  }

  #take(piece: Buffer): void {
    // One message is the whole request; what comes after it is discarded.
    if (this.#hasAsked) return;
    this.#bytes += piece.length;
    this.#pieces.push(piece);
    if (this.#bytes < headBytes) return;
    const all = Buffer.concat(this.#pieces, this.#bytes);
    this.#pieces = [all];
    const length = all.readUInt32BE(1);
    if (all[0] !== 0) throw new CallError("unimplemented", "compressed requests are not read");
    if (length > this.#server.bounds.requestBytesMax) {
      this.#server.admission.refused.requests++;
      throw new CallError("resourceExhausted", `got a request of ${length} bytes`);
    }
    if (all.length < headBytes + length) return;
    this.#hasAsked = true;
    this.#pieces = [];
    clearTimeout(this.#timer);
    if (!this.#server.admission.keep(this.#client, length)) {
      throw new CallError("resourceExhausted", "the requests under way are too large together");
    }
    this.requestBytes = length;
    const type = methods[this.#method].request;
    const body = all.subarray(headBytes, headBytes + length);
    this.request = decodeMessage(type, body, (of, field) => {
      if (this.unknown.length < 8) this.unknown.push(`${of} field ${field}`);
    });
    const done = this.#server.answers[this.#method](this);
    // A method reads it at once; the call may go on for days.
    this.request = {};
    if (done instanceof Promise) done.catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (this.isClosed) return;
    this.#isOver = true;
    if (this.#hasBegun) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    else refuse(this.#stream, error);
  }

  /** Confines an error to its call. */
  #contained(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }
}

const responseHead = {
  ":status": 200,
  "content-type": "application/grpc",
  "grpc-accept-encoding": "identity",
} as const;

/** Answers with a status alone. */
function refuse(stream: ServerHttp2Stream, error: unknown): void {
  // Its client may have reset it before it is told of here.
  if (stream.destroyed || stream.closed) return;
  const { status } = statusOf(error);
  stream.respond(
    {
      ...responseHead,
      "grpc-status": `${status}`,
      "grpc-message": escaped(error instanceof Error ? error.message : String(error)),
    },
    { endStream: true },
  );
}

function statusOf(error: unknown): { readonly status: number } {
  if (error instanceof CallError) return error;
  return { status: error instanceof WireError ? grpcStatus.invalidArgument : grpcStatus.internal };
}

/** As gRPC has it: percent-encoded UTF-8 but for printable ASCII. */
function escaped(text: string): string {
  // Byte by byte: the cut may be inside of a character.
  const bytes = [...Buffer.from(text.slice(0, 1_000))];
  const isPlain = (byte: number) => byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
  const hex = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return bytes.map((byte) => (isPlain(byte) ? String.fromCharCode(byte) : hex(byte))).join("");
}
