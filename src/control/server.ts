import { chmodSync, mkdirSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { dirname } from "node:path";
import { RefusalError, refusalOf } from "./refusal.js";

/** What one request asks. */
export interface Asked {
  /** The JSON document that came with it; undefined without one. */
  readonly body: unknown;
  readonly query: URLSearchParams;
}

/** Answers one request: with what is to be sent as JSON, or with a PlainAnswer. */
export type Handler = (asked: Asked) => unknown;

/** Text that is sent as it is. */
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

/** Who follows a stream. */
export interface StreamReader {
  /** Sends one document on a line of its own. */
  write(line: unknown): void;
  /** Whether it has taken so little of what was sent that no more should be. */
  readonly isBehind: boolean;
  /** Called once each time it has caught up. */
  onCaughtUp: () => void;
  /** Ends the stream from this side. */
  end(): void;
}

/** Streams to one reader; the returned function is called when the reader hangs up. */
export type Stream = (reader: StreamReader, query: URLSearchParams) => () => void;

/** Handlers and streams by `METHOD /path`. */
export interface Routes {
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly streams?: Readonly<Record<string, Stream>>;
}

export interface Serving {
  /** Where it listens: a path, or `host:port` with the port that was given. */
  readonly at: string;
  close(): void;
}

const bodyBytesMax = 256 * 1024 * 1024;
/** Bytes that may wait for a reader before it counts as behind. */
const behindBytes = 256 * 1024;

/**
 * Serves HTTP on a unix socket, with JSON both ways.
 *
 * A socket that a dead process left is replaced, one that answers is not. The folder is made when it
 * is not there; both are removed again by `close`.
 *
 * Shape:  `mode` is the socket's: 0o600 for its owner, 0o660 for a group too.
 * Errors: RefusalError (environment) when another process listens there, or it cannot be made. What a
 *         handler throws goes to its caller as a Refusal, with status 400 for a RefusalError, else 500.
 */
export async function serveUnix(path: string, mode: number, routes: Routes): Promise<Serving> {
  const folder = dirname(path);
  try {
    const isNew = statSync(folder, { throwIfNoEntry: false }) === undefined;
    if (isNew) mkdirSync(folder, { recursive: true, mode: 0o750 });
    if (statSync(path, { throwIfNoEntry: false })?.isSocket()) {
      if (await isAnswered(path)) {
        throw new RefusalError(
          "environment",
          `another process answers on ${path}`,
          "give this one a socket of its own with --socket",
        );
      }
      unlinkSync(path);
    }
    const server = createServer((request, response) => handle(routes, request, response));
    // Between bind and chmod the socket has the umask's mode: nobody's but ours.
    const umask = process.umask(0o177);
    try {
      await listen(server, () => server.listen(path));
    } finally {
      process.umask(umask);
    }
    chmodSync(path, mode);
    return {
      at: path,
      close() {
        server.close();
        server.closeAllConnections();
        if (isNew) removeFolder(folder);
      },
    };
  } catch (error) {
    if (error instanceof RefusalError) throw error;
    throw new RefusalError("environment", `cannot listen on ${path}: ${(error as Error).message}`);
  }
}

/**
 * Serves the same on TCP, for whoever asked for it.
 *
 * Errors: RefusalError (environment) when the address is not ours to listen on.
 */
export async function serveTcp(host: string, port: number, routes: Routes): Promise<Serving> {
  const server = createServer((request, response) => handle(routes, request, response));
  try {
    await listen(server, () => server.listen(port, host));
  } catch (error) {
    throw new RefusalError(
      "environment",
      `cannot listen on ${host} port ${port}: ${(error as Error).message}`,
    );
  }
  const { address, family, port: given } = server.address() as AddressInfo;
  return {
    at: family === "IPv6" ? `[${address}]:${given}` : `${address}:${given}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
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

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", (error: NodeJS.ErrnoException) => settle(error.code !== "ECONNREFUSED"));
  });
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Somebody else keeps something there by now.
  }
}

function handle(routes: Routes, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://sluice");
  const route = `${request.method} ${pathname}`;
  const stream = routes.streams?.[route];
  const handler = routes.handlers[route];
  if (stream !== undefined) {
    try {
      follow(stream, searchParams, response);
    } catch (error) {
      refuse(response, error);
    }
    return;
  }
  if (handler === undefined) {
    answer(response, 404, { kind: "usage", message: `no ${route} here` });
    return;
  }
  readBody(request)
    .then((body) => handler({ body, query: searchParams }))
    .then(
      (result) => answer(response, 200, result),
      (error) => refuse(response, error),
    );
}

function follow(stream: Stream, query: URLSearchParams, response: ServerResponse): void {
  const reader: StreamReader = {
    write: (line) => {
      begin();
      response.write(`${JSON.stringify(line)}\n`);
    },
    get isBehind() {
      return response.writableLength >= behindBytes;
    },
    onCaughtUp: () => {},
    end: () => {
      begin();
      response.end();
    },
  };
  const begin = () => {
    if (response.headersSent) return;
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.flushHeaders();
  };
  const stop = stream(reader, query);
  begin();
  response.on("drain", () => reader.onCaughtUp());
  response.on("error", () => {});
  response.once("close", stop);
}

function refuse(response: ServerResponse, error: unknown): void {
  answer(response, error instanceof RefusalError ? 400 : 500, refusalOf(error));
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const plain = body instanceof PlainAnswer ? body : undefined;
  response.writeHead(plain?.status ?? status, {
    "content-type": plain?.type ?? "application/json",
    connection: "close",
  });
  response.end(plain?.text ?? JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyBytesMax) throw new RefusalError("usage", "the request is too long");
    chunks.push(chunk);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw new RefusalError("usage", "the request is no JSON");
  }
}
