import { chmodSync, rmdirSync, rmSync, statSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Tell } from "../diagnostics/tell.js";
import { ClientTime } from "./client-time.js";
import {
  type HttpHandler,
  HttpListener,
  type HttpReply,
  type HttpRequest,
  type ListenerBounds,
  type Refused,
} from "./http-listener.js";
import { makeFolder } from "./make-folder.js";
import { RefusalError, refusalOf } from "./refusal.js";
import type { RequestHead } from "./request-head.js";

/** What one request asks. */
export interface Asked {
  /** The JSON document that came with it; undefined without one. Errors: RefusalError when it is none. */
  readonly body: unknown;
  /** The unparsed body, for handlers that pass it on. */
  readonly bytes: Uint8Array;
  readonly query: URLSearchParams;
  /** Shares the main thread: a handler must split long work into steps. */
  readonly time: ClientTime;
}

/** Answers one request: returns a value to send as JSON, a PlainAnswer or a ListAnswer. */
export type Handler = (asked: Asked) => unknown;

/** Text that is sent unchanged. */
export class PlainAnswer {
  readonly status: number;
  readonly text: string;
  readonly type: string;

  constructor(status: number, text: string, type = "text/plain; charset=utf-8") {
    this.status = status;
    this.text = text;
    this.type = type;
  }
}

/** Makes some items of a list, in a few milliseconds. */
export type ListPiece = () => readonly unknown[];

/**
 * A JSON document with a list in it that is made and sent in pieces.
 *
 * Shape: the members before the list, its name and `[` are on the first line, each item is on a line of its
 *        own, `]` and the members behind the list are on the last one: it can be read in pieces too.
 */
export class ListAnswer {
  readonly head: Readonly<Record<string, unknown>>;
  readonly pieces: Iterable<ListPiece> | AsyncIterable<ListPiece>;
  readonly member: string;
  /** Members that are known only after all pieces. */
  readonly tail: () => Readonly<Record<string, unknown>>;

  constructor(
    head: ListAnswer["head"],
    pieces: ListAnswer["pieces"],
    { member = "items", tail = () => ({}) }: Partial<Pick<ListAnswer, "member" | "tail">> = {},
  ) {
    this.head = head;
    this.pieces = pieces;
    this.member = member;
    this.tail = tail;
  }
}

/** A reader of a stream. */
export interface StreamReader {
  /** Sends one document on a line of its own. */
  write(line: unknown): void;
  /** Whether so much waits for the reader that no more should be sent. */
  readonly isBehind: boolean;
  /** Called once each time the reader has caught up. */
  onCaughtUp: () => void;
  /** Ends the stream. */
  end(): void;
}

/** Streams to one reader; the returned function is called when the reader disconnects. */
export type Stream = (reader: StreamReader, query: URLSearchParams) => () => void;

/** Handlers and streams by `METHOD /path`. */
export interface Routes {
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly streams?: Readonly<Record<string, Stream>>;
  /** The routes that take a body, and how many bytes it may have. */
  readonly bodies?: Readonly<Record<string, number>>;
}

export interface Serving {
  /** Where it listens: a path, or `host:port` with the port that was given. */
  readonly at: string;
  close(): void;
}

/** Bounds for the machine's administrators, whose bodies are manifests. */
const socketBounds: ListenerBounds = {
  connectionsMax: 64,
  connectionsPerClientMax: 64,
  requestsPerSecond: 200,
  requestsPerClientPerSecond: 200,
  headMs: 5_000,
  bodyMs: 30_000,
  bodiesBytesMax: 128 * 1024 * 1024,
  stallMs: 60_000,
  lingerMs: 2_000,
  lingerBytesMax: 8 * 1024 * 1024,
};
/** Lists and streams at the same time: the other connections are reserved for short answers. */
const longAnswersMax = 16;
/** Bytes that may queue for a reader before it counts as behind. */
const behindBytes = 256 * 1024;

/**
 * Serves HTTP on a unix socket, with JSON both ways.
 *
 * A dead process's socket is replaced; a socket that answers is not. The folder is made if needed; `close`
 * removes both.
 *
 * Shape:  `mode` is the socket's: 0o600 for its owner, 0o660 for a group too.
 * Errors: RefusalError (environment) when another process listens there, or it cannot be made. What a
 *         handler throws goes to its caller as a Refusal, with status 400 for a RefusalError, else 500.
 */
export async function serveUnix(
  path: string,
  mode: number,
  routes: Routes,
  tell: Tell = () => {},
): Promise<Serving> {
  const folder = dirname(path);
  try {
    const isNew = statSync(folder, { throwIfNoEntry: false }) === undefined;
    if (isNew) makeFolder(folder, 0o750);
    if (!(await removeDead(path))) {
      throw new RefusalError(
        "environment",
        `another process answers on ${path}`,
        "give this one a socket of its own with --socket",
      );
    }
    const listener = new HttpListener(socketBounds, new RouteHandler(routes), tell);
    const { server } = listener;
    // Until the chmod, the umask gives the socket's mode: only this user may connect.
    const umask = process.umask(0o177);
    try {
      await listen(server, () => server.listen(path));
    } finally {
      process.umask(umask);
    }
    listener.tellErrors();
    chmodSync(path, mode);
    return {
      at: path,
      close() {
        listener.close();
        if (isNew) removeFolder(folder);
      },
    };
  } catch (error) {
    if (error instanceof RefusalError) throw error;
    throw new RefusalError("environment", `cannot listen on ${path}: ${systemReason(error)}`);
  }
}

/**
 * The same on a socket that already listens, with other bounds.
 *
 * Owner: takes ownership of the descriptor.
 */
export async function serveDescriptor(
  fd: number,
  bounds: ListenerBounds,
  routes: Routes,
): Promise<{ close(): void }> {
  const listener = new HttpListener(bounds, new RouteHandler(routes), () => {});
  await listen(listener.server, () => listener.server.listen({ fd }));
  listener.tellErrors();
  return listener;
}

function listen(server: Server, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      resolve();
    });
    start();
  });
}

/** How long a process may be silent that was killed: its programs and memory go before its sockets. */
const dyingMs = 10_000;

/**
 * Removes the socket of a process that is gone, if one is there; answers whether no process is behind it. A process
 * that is killed ends a while after, and until then connections to it come about: it is asked for a word.
 */
export async function removeDead(path: string): Promise<boolean> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return true;
  const untilMs = performance.now() + dyingMs;
  for (;;) {
    const found = await askForAWord(path, untilMs - performance.now());
    if (found === "none") break;
    if (found === "alive" || performance.now() >= untilMs) return false;
    await pause(20);
  }
  rmSync(path, { force: true });
  return true;
}

/** Whether somebody listens at a socket and says something, or only listens. */
function askForAWord(path: string, withinMs: number): Promise<"alive" | "silent" | "none"> {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
    const settle = (found: "alive" | "silent" | "none") => {
      socket.destroy();
      resolve(found);
    };
    socket.setTimeout(Math.max(1, withinMs), () => settle("silent"));
    socket.once("data", () => settle("alive"));
    socket.once("error", ({ code = "" }: NodeJS.ErrnoException) => {
      if (code === "ECONNREFUSED" || code === "ENOENT") settle("none");
      else settle(["ECONNRESET", "EPIPE"].includes(code) ? "silent" : "alive");
    });
    socket.once("close", () => settle("silent"));
  });
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Another process keeps files in the folder.
  }
}

/** Finds the route of a request and sends its answer. */
class RouteHandler implements HttpHandler {
  readonly #routes: Routes;
  readonly #time = new ClientTime();
  #longAnswers = 0;

  constructor(routes: Routes) {
    this.#routes = routes;
  }

  admit({ method, path }: RequestHead): number | Refused {
    const { handlers, streams = {}, bodies = {} } = this.#routes;
    const route = `${method} ${path}`;
    if (Object.hasOwn(handlers, route) || Object.hasOwn(streams, route)) {
      return Object.hasOwn(bodies, route) ? (bodies[route] ?? 0) : 0;
    }
    const others = [...Object.keys(handlers), ...Object.keys(streams)];
    const isThere = others.some((each) => each.endsWith(` ${path}`));
    return { status: isThere ? 405 : 404, message: `no ${route} here` };
  }

  async answer(request: HttpRequest, reply: HttpReply): Promise<void> {
    const route = `${request.method} ${request.path}`;
    const stream = this.#routes.streams?.[route];
    const handler = this.#routes.handlers[route];
    try {
      if (stream !== undefined) {
        this.#takeLong(reply);
        await this.#time.step(() => follow(stream, request.query, reply));
      } else if (handler !== undefined) {
        const asked = askedOf(request, this.#time);
        const result = await this.#time.step(() => handler(asked));
        if (result instanceof ListAnswer) {
          this.#takeLong(reply);
          await this.#sendList(result, reply);
        } else await this.#time.step(() => sendWhole(reply, 200, result));
      }
    } catch (error) {
      refuse(reply, error);
    }
  }

  #takeLong(reply: HttpReply): void {
    if (reply.isClosed) return;
    if (this.#longAnswers >= longAnswersMax) {
      throw new RefusalError("environment", `${longAnswersMax} others read lists or flows already`);
    }
    this.#longAnswers++;
    const before = reply.onClose;
    reply.onClose = () => {
      this.#longAnswers--;
      before();
    };
  }

  /** Makes a piece only after the client has taken the previous one and other work had its turn. */
  async #sendList(list: ListAnswer, reply: HttpReply): Promise<void> {
    const { head, pieces, member, tail } = list;
    const first = `${JSON.stringify({ ...head, [member]: [] }).slice(0, -2)}\n`;
    let before = first;
    for await (const piece of pieces) {
      if (reply.isClosed) return;
      const text = await this.#time.step(() => {
        let made = "";
        for (const item of piece()) {
          made += before + JSON.stringify(item);
          before = ",\n";
        }
        return made;
      });
      if (text === "") continue;
      reply.begin("application/json", false);
      reply.write(text);
      while (reply.waitingBytes >= behindBytes && !reply.isClosed) {
        await new Promise<void>((resolve) => {
          reply.onDrain = resolve;
        });
      }
    }
    reply.begin("application/json", false);
    const rest = JSON.stringify(tail()).slice(1);
    reply.write(`${before === first ? first : "\n"}]${rest === "}" ? "" : ","}${rest}\n`);
    reply.end();
  }
}

function askedOf({ body, query }: HttpRequest, time: ClientTime): Asked {
  return {
    get body() {
      if (body.length === 0) return undefined;
      try {
        return JSON.parse(body.toString("utf8"));
      } catch {
        throw new RefusalError("usage", "the request is no JSON");
      }
    },
    bytes: body,
    query,
    time,
  };
}

function follow(stream: Stream, query: URLSearchParams, reply: HttpReply): void {
  const reader: StreamReader = {
    write(line) {
      reply.begin("application/x-ndjson", true);
      reply.write(`${JSON.stringify(line)}\n`);
    },
    get isBehind() {
      return reply.waitingBytes >= behindBytes;
    },
    onCaughtUp: () => {},
    end() {
      reply.begin("application/x-ndjson", true);
      reply.end();
    },
  };
  const stop = stream(reader, query);
  if (reply.isClosed) {
    stop();
    return;
  }
  reply.begin("application/x-ndjson", true);
  reply.onDrain = () => reader.onCaughtUp();
  const before = reply.onClose;
  reply.onClose = () => {
    reply.onDrain = () => {};
    before();
    stop();
  };
}

/**
 * Sends the refusal. An answer that has begun is cut, so that the client does not take it as complete.
 */
function refuse(reply: HttpReply, error: unknown): void {
  if (reply.hasBegun) reply.cut();
  else sendWhole(reply, error instanceof RefusalError ? 400 : 500, refusalOf(error));
}

function sendWhole(reply: HttpReply, status: number, result: unknown): void {
  if (result instanceof PlainAnswer) reply.send(result.status, result.type, result.text);
  else reply.send(status, "application/json", JSON.stringify(result));
}
