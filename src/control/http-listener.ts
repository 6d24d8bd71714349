import { STATUS_CODES } from "node:http";
import { createServer, isIPv4, type Server, type Socket } from "node:net";
import type { Tell } from "../diagnostics/tell.js";
import { HeadReader, type HeadRefusal, type RequestHead } from "./request-head.js";
import { ClientBuckets, TokenBucket } from "./token-bucket.js";

/** A listener's limits for its clients. Units: as the names say. */
export interface ListenerBounds {
  readonly connectionsMax: number;
  readonly connectionsPerClientMax: number;
  readonly requestsPerSecond: number;
  readonly requestsPerClientPerSecond: number;
  /**
   * From the start of the connection until the head is complete, and from there until the body is.
   */
  readonly headMs: number;
  readonly bodyMs: number;
  /** Memory of all bodies that are being read. */
  readonly bodiesBytesMax: number;
  /** How long an answer may wait while the client reads none of it. */
  readonly stallMs: number;
  /**
   * After an answer, further input is read and discarded for this long, and up to this many bytes.
   */
  readonly lingerMs: number;
  readonly lingerBytesMax: number;
}

export interface HttpRequest extends RequestHead {
  /** Empty when the route takes no body. */
  readonly body: Buffer;
}

/** A refused request: the status and the reason. */
export interface Refused {
  readonly status: number;
  readonly message: string;
}

/** Answers requests. Errors: what it throws closes the connection, and is reported. */
export interface HttpHandler {
  /** The limit of a request's body in bytes; or the refusal to send. */
  admit(head: RequestHead): number | Refused;
  answer(request: HttpRequest, reply: HttpReply): void | Promise<void>;
}

/** The answer to one request. */
export interface HttpReply {
  /** Whether the client is gone, or the answer is complete. */
  readonly isClosed: boolean;
  /** Whether a part of the answer has been sent. */
  readonly hasBegun: boolean;
  /** Bytes that wait for the client. */
  readonly waitingBytes: number;
  /** Sends a whole answer; `fields` are further lines of its head. */
  send(status: number, type: string, text: string, fields?: readonly string[]): void;
  /** Begins an answer of unknown length. `isFollowed`: the client may read slowly. */
  begin(type: string, isFollowed: boolean): void;
  write(text: string): void;
  end(): void;
  /** Breaks the connection, so that the client knows that the answer is incomplete. */
  cut(): void;
  /** Called when the client has taken all queued bytes, and once when the connection is closed. */
  onDrain: () => void;
  onClose: () => void;
}

/** What is written of one turn before it is sent. Units: UTF-16 code units. */
const unsentMax = 16 * 1024;
/** How often deadlines are checked. */
const sweepMs = 250;
/** The most clients whose rate is tracked. */
const clientsMax = 1_024;

/**
 * Answers one HTTP/1.1 request on each connection, and keeps every client within bounds.
 *
 * No client can stall or end the process. Each event costs at most one pass over 64 KiB. Data that cannot be
 * handled yet waits in the client or in the kernel. When all connections are taken, one without a complete
 * request, or one already answered, is closed for a new one. Only the first request of a connection is
 * answered; input after it is discarded.
 *
 * Owner: `server` is closed by `close`, with every connection.
 */
export class HttpListener {
  readonly server: Server;
  readonly bounds: ListenerBounds;
  readonly handler: HttpHandler;
  readonly #tell: Tell;
  readonly #connections = new Set<Connection>();
  readonly #bucket: TokenBucket;
  readonly #buckets: ClientBuckets;
  readonly #sweeper: NodeJS.Timeout;
  readonly #complaints = new TokenBucket(1 / 60, 5);
  #bodiesBytes = 0;

  constructor(bounds: ListenerBounds, handler: HttpHandler, tell: Tell) {
    this.bounds = bounds;
    this.handler = handler;
    this.#tell = tell;
    const { requestsPerSecond, requestsPerClientPerSecond } = bounds;
    this.#bucket = new TokenBucket(requestsPerSecond, 2 * requestsPerSecond);
    this.#buckets = new ClientBuckets(
      clientsMax,
      () => new TokenBucket(requestsPerClientPerSecond, 2 * requestsPerClientPerSecond),
    );
    // A client may close its half after the request; the answer is still sent.
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#accept(socket);
    });
    this.#sweeper = setInterval(() => {
      const nowMs = performance.now();
      for (const connection of this.#connections) connection.sweep(nowMs);
    }, sweepMs);
    this.#sweeper.unref();
  }

  /** Reports failures of accept() from now on; the next connection is still accepted. */
  tellErrors(): void {
    this.server.on("error", (error) => this.failed(error));
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.server.close();
    for (const connection of this.#connections) connection.close();
  }

  /** Reports an internal error, at most a few times a minute. */
  failed(error: unknown): void {
    if (!this.#complaints.take()) return;
    const what = error instanceof Error ? error.message : String(error);
    this.#tell(`a listener goes on after: ${what}`, "error");
  }

  left(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** Whether another request may be answered; otherwise the status that says why not. */
  admitRate(client: string): 429 | 503 | undefined {
    if (!this.#buckets.take(client)) return 429;
    return this.#bucket.take() ? undefined : 503;
  }

  /** Reserves memory for a body; false when there is none. */
  reserve(bytes: number): boolean {
    if (this.#bodiesBytes + bytes > this.bounds.bodiesBytesMax) return false;
    this.#bodiesBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#bodiesBytes -= bytes;
  }

  #accept(socket: Socket): void {
    const client = clientOf(socket.remoteAddress);
    if (!this.#makeRoom(client)) {
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    this.#connections.add(new Connection(this, socket, client));
  }

  #makeRoom(client: string): boolean {
    const { connectionsMax, connectionsPerClientMax } = this.bounds;
    const counts = new Map<string, number>();
    for (const each of this.#connections) {
      counts.set(each.client, (counts.get(each.client) ?? 0) + 1);
    }
    const own = (counts.get(client) ?? 0) >= connectionsPerClientMax;
    if (!own && this.#connections.size < connectionsMax) return true;
    // Of the client with the most connections, the oldest that may give way.
    let victim: Connection | undefined;
    for (const each of this.#connections) {
      if (!each.mayGiveWay || (own && each.client !== client)) continue;
      const most = victim === undefined ? 0 : (counts.get(victim.client) ?? 0);
      if ((counts.get(each.client) ?? 0) > most) victim = each;
    }
    victim?.close();
    return victim !== undefined;
  }
}

/**
 * The client of an address. A whole /64 is one client, since one host can use any address in it.
 */
export function clientOf(address: string | undefined): string {
  if (address === undefined) return "";
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  if (isIPv4(mapped)) return mapped;
  const [head = "", tail] = mapped.split("::");
  const groups = head.split(":");
  if (tail !== undefined) {
    const behind = tail === "" ? [] : tail.split(":");
    while (groups.length + behind.length < 8) groups.push("0");
  }
  return groups.slice(0, 4).join(":");
}

type Phase = "head" | "body" | "answer" | "linger";

class Connection implements HttpReply {
  readonly client: string;
  onDrain: () => void = () => {};
  onClose: () => void = () => {};
  readonly #listener: HttpListener;
  readonly #socket: Socket;
  readonly #reader = new HeadReader();
  #phase: Phase = "head";
  #deadlineMs: number;
  #head: RequestHead | undefined;
  /** Allocated for the whole body, so that small pieces do not cost more than large ones. */
  #body: Buffer = Buffer.alloc(0);
  #bodyBytes = 0;
  #reserved = 0;
  #lingered = 0;
  #hasBegun = false;
  #hasEnded = false;
  #isChunked = false;
  #isFollowed = false;
  /** What has been written in this turn. */
  #unsent = "";
  /** Bytes that waited at the last check of deadlines: an answer that progresses gets more time. */
  #waitedBytes = 0;

  constructor(listener: HttpListener, socket: Socket, client: string) {
    this.#listener = listener;
    this.#socket = socket;
    this.client = client;
    this.#deadlineMs = performance.now() + listener.bounds.headMs;
    socket.on("data", (piece: Buffer) => this.#contained(() => this.#take(piece)));
    socket.on("end", () => this.#contained(() => this.#ended()));
    socket.on("drain", () => this.#contained(() => this.onDrain()));
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#contained(() => this.#closed()));
  }

  /** Whether it may be closed for a new connection. */
  get mayGiveWay(): boolean {
    return this.#phase === "head" || this.#phase === "linger";
  }

  get isClosed(): boolean {
    return this.#hasEnded || this.#socket.destroyed;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get waitingBytes(): number {
    return this.#socket.writableLength + this.#unsent.length;
  }

  close(): void {
    this.#socket.destroy();
    this.#listener.left(this);
  }

  sweep(nowMs: number): void {
    if (this.#phase === "answer") {
      const waiting = this.#socket.writableLength;
      if (waiting === 0 || waiting !== this.#waitedBytes || this.#isFollowed) {
        this.#waitedBytes = waiting;
        this.#deadlineMs = nowMs + this.#listener.bounds.stallMs;
        return;
      }
    }
    if (nowMs < this.#deadlineMs) return;
    if (this.#phase === "body") this.#refuse(408, "the request did not come in time");
    else this.close();
  }

  send(status: number, type: string, text: string, fields: readonly string[] = []): void {
    if (this.#hasBegun || this.isClosed) return;
    this.#hasBegun = true;
    const body = this.#head?.method === "HEAD" ? "" : text;
    const length = Buffer.byteLength(text);
    const lines = [...fields, `Content-Length: ${length}`].map((line) => `${line}\r\n`).join("");
    this.#finish(`${headOf(status, type, lines)}${body}`);
  }

  begin(type: string, isFollowed: boolean): void {
    if (this.#hasBegun || this.isClosed) return;
    this.#hasBegun = true;
    this.#isFollowed = isFollowed;
    this.#isChunked = this.#head?.minorVersion === 1;
    const framing = this.#isChunked ? "Transfer-Encoding: chunked\r\n" : "";
    this.#socket.write(headOf(200, type, framing));
  }

  /** What is written in one turn goes to the kernel at once: a call for each line of a stream takes longer than making it. */
  write(text: string): void {
    if (this.isClosed || text === "") return;
    if (this.#unsent === "") process.nextTick(() => this.#flush());
    this.#unsent += text;
    if (this.#unsent.length >= unsentMax) this.#flush();
  }

  #flush(): void {
    const text = this.#unsent;
    this.#unsent = "";
    if (this.isClosed || text === "") return;
    const framed = this.#isChunked
      ? `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
      : text;
    // As bytes, which is what the socket then counts as waiting.
    this.#socket.write(Buffer.from(framed));
  }

  end(): void {
    if (this.isClosed) return;
    this.#flush();
    this.#finish(this.#isChunked ? "0\r\n\r\n" : "");
  }

  cut(): void {
    this.close();
  }

  #take(piece: Buffer): void {
    switch (this.#phase) {
      case "head": {
        const head = this.#reader.push(piece);
        if (head !== undefined) this.#heard(head);
        return;
      }
      case "body":
        this.#takeBody(piece);
        return;
      default:
        this.#lingered += piece.length;
        if (this.#lingered > this.#listener.bounds.lingerBytesMax) this.close();
    }
  }

  #heard(head: RequestHead | HeadRefusal): void {
    const admitted = "status" in head ? head : this.#admit(head);
    if (typeof admitted !== "number") {
      this.#refuse(admitted.status, admitted.message);
      return;
    }
    this.#reserved = admitted;
    this.#body = Buffer.allocUnsafe(admitted);
    this.#phase = "body";
    this.#deadlineMs = performance.now() + this.#listener.bounds.bodyMs;
    const { rest } = this.#reader;
    if (this.#head?.expectsContinue && rest.length === 0 && admitted > 0) {
      this.#socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    this.#takeBody(rest);
  }

  /** The length of the body to read, with memory reserved for it; or the refusal. */
  #admit(head: RequestHead): number | Refused {
    this.#head = head;
    const full = this.#listener.admitRate(this.client);
    if (full !== undefined) return { status: full, message: "too many requests" };
    const bytesMax = this.#listener.handler.admit(head);
    if (typeof bytesMax !== "number") return bytesMax;
    const { bodyBytes } = head;
    if (bytesMax === 0 && bodyBytes !== 0) return { status: 413, message: "no body is taken here" };
    if (bodyBytes === undefined) return { status: 411, message: "got no Content-Length" };
    if (bodyBytes > bytesMax) {
      return { status: 413, message: `want a body of at most ${bytesMax} bytes` };
    }
    if (this.#listener.reserve(bodyBytes)) return bodyBytes;
    return { status: 503, message: "too many bodies at once" };
  }

  #takeBody(piece: Buffer): void {
    const taken = piece.copy(this.#body, this.#bodyBytes);
    this.#bodyBytes += taken;
    if (this.#bodyBytes < this.#reserved) return;
    this.#lingered += piece.length - taken;
    const body = this.#body;
    this.#body = Buffer.alloc(0);
    this.#phase = "answer";
    this.#deadlineMs = performance.now() + this.#listener.bounds.stallMs;
    const head = this.#head!;
    this.#contained(() => this.#listener.handler.answer({ ...head, body }, this));
  }

  /** The client has closed its half. */
  #ended(): void {
    // A client that follows and closes its half has left: the other half would show it too late.
    const hasLeft = this.#phase === "answer" ? this.#isFollowed : this.#phase !== "linger";
    if (hasLeft) this.close();
  }

  #closed(): void {
    this.#listener.left(this);
    this.#listener.release(this.#reserved);
    this.#reserved = 0;
    this.#body = Buffer.alloc(0);
    this.onDrain();
    this.onClose();
  }

  #refuse(status: number, message: string): void {
    this.#phase = "answer";
    const text = JSON.stringify({ kind: "usage", message });
    this.send(status, "application/json", text);
  }

  #finish(last: string): void {
    this.#hasEnded = true;
    this.#socket.end(last, () => {
      this.#phase = "linger";
      this.#deadlineMs = performance.now() + this.#listener.bounds.lingerMs;
    });
  }

  /** Confines an error to its connection. */
  #contained(step: () => void | Promise<void>): void {
    const failed = (error: unknown) => {
      this.#listener.failed(error);
      this.close();
    };
    try {
      const done = step();
      if (done instanceof Promise) done.catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

function headOf(status: number, type: string, framing: string): string {
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    `Date: ${new Date().toUTCString()}`,
    `Content-Type: ${type}`,
    "Connection: close",
    ...(status === 429 || status === 503 ? ["Retry-After: 1"] : []),
    framing,
    "",
  ].join("\r\n");
}
