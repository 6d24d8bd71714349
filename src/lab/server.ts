import { chmodSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { LabError } from "./lab-error.js";
import type { Refusal } from "./protocol.js";

/** Answers one request with what is to be sent as JSON. */
export type Handler = (body: unknown) => unknown;

/** Streams to one reader until the returned function is called, when the reader hangs up. */
export type Stream = (write: (line: unknown) => void) => () => void;

const bodyBytesMax = 256 * 1024 * 1024;

/**
 * Serves HTTP on a unix socket that only its owner may use.
 *
 * Shape:  handlers and streams by `METHOD /path`.
 * Errors: rejects when the socket cannot be made. What a handler throws goes to its caller as a
 *         Refusal, with status 400 when it is a LabError, else 500.
 */
export async function serve(
  path: string,
  handlers: Readonly<Record<string, Handler>>,
  streams: Readonly<Record<string, Stream>>,
): Promise<Server> {
  const server = createServer((request, response) => {
    const route = `${request.method} ${request.url}`;
    const stream = streams[route];
    if (stream !== undefined) return follow(stream, response);
    const handler = handlers[route];
    if (handler === undefined) {
      return answer(response, 404, { kind: "usage", message: `no ${route} here` });
    }
    readBody(request)
      .then((body) => handler(body))
      .then(
        (result) => answer(response, 200, result),
        (error) => answer(response, error instanceof LabError ? 400 : 500, refusalOf(error)),
      );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

/** Puts an error into the words that go over the socket. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof LabError) {
    const { kind, message, remedy } = error;
    return remedy === undefined ? { kind, message } : { kind, message, remedy };
  }
  const message = error instanceof Error ? error.message : String(error);
  const { syscall } = error as NodeJS.ErrnoException;
  return { kind: typeof syscall === "string" ? "environment" : "bug", message };
}

function follow(stream: Stream, response: ServerResponse): void {
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  const end = stream((line) => {
    // A reader that does not keep up misses lines; it never holds up the lab.
    if (response.writableLength < 1024 * 1024) response.write(`${JSON.stringify(line)}\n`);
  });
  response.once("close", end);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyBytesMax) throw new LabError("usage", "the request is too long");
    chunks.push(chunk);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw new LabError("usage", "the request is no JSON");
  }
}
