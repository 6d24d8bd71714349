import { type IncomingMessage, request } from "node:http";
import { systemReason } from "../diagnostics/system-reason.js";
import { RefusalError } from "./refusal.js";

/** What a client bears from a process, which may be none of ours: the path of a socket is given by a user. */
export interface AnswerLimits {
  /**
   * How long a process may take to begin an answer, and pause in one. A change may have to compile a cluster first. A
   * stream of what comes may pause for ever. Units: milliseconds.
   */
  readonly pauseMs: Readonly<Record<"GET" | "POST", number>>;
  /** Of an answer that is one document, and of a line of a list or a stream. */
  readonly bytes: number;
}

const usualLimits: AnswerLimits = { pauseMs: { GET: 10_000, POST: 300_000 }, bytes: 256 << 20 };
/** An answer is whole within so many of the longest pauses: one document, and a list that is kept as a whole. */
const pausesMax = { document: 6, kept: 30 };
const notOurs = "got an answer that is no document: this is no answer of sluice";
const refusalBytesMax = 1 << 20;
/** Of a list that is kept as a whole. */
export const keptListBytesMax = 512 << 20;

/**
 * A client of a process that listens on a unix socket.
 *
 * Errors: RefusalError when no process answers, or not in time, or when it refuses; Error for a bug in that
 *         process.
 */
export class ControlClient {
  readonly #limits: AnswerLimits;
  readonly #socketPath: string;
  readonly #unreachable: (reason: NodeJS.ErrnoException) => RefusalError;

  /** `unreachable` makes the error for a process that does not answer. */
  constructor(
    socketPath: string,
    unreachable?: (reason: NodeJS.ErrnoException) => RefusalError,
    limits: AnswerLimits = usualLimits,
  ) {
    this.#limits = limits;
    this.#socketPath = socketPath;
    this.#unreachable = unreachable ?? ((reason) => noAnswer(socketPath, reason));
  }

  /** Sends one request; `signal` cancels it. */
  async ask<Answer>(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const response = await this.#open(method, path, body, signal);
    try {
      return documentOf(await this.#textOf(response, method, this.#limits.bytes)) as Answer;
    } catch (error) {
      throw signal?.aborted ? error : this.#unreachable(error as NodeJS.ErrnoException);
    }
  }

  /**
   * Reads a document with a list, of any length, piece by piece. `onText` gets the document's text, as one
   * line in all; `onItem` gets the items. Returns the document without its items.
   *
   * Errors: also RefusalError when the answer is cut off.
   */
  async list<Item>(
    method: "GET" | "POST",
    path: string,
    sink: ListSink<Item>,
    body?: unknown,
  ): Promise<Readonly<Record<string, unknown>>> {
    const response = this.#inTime(await this.#open(method, path, body), method);
    const reader = new ListReader(sink);
    const { bytesMax = Number.POSITIVE_INFINITY } = sink;
    const isKept = sink.bytesMax !== undefined;
    const late = isKept ? this.#whole(response, method, pausesMax.kept) : undefined;
    try {
      await lines(response, { line: this.#limits.bytes, all: bytesMax }, (line) =>
        reader.line(line),
      );
    } catch (error) {
      throw this.#unreachable(error as NodeJS.ErrnoException);
    } finally {
      clearTimeout(late);
      response.destroy();
    }
    if (reader.document !== undefined) return reader.document;
    throw this.#unreachable(new Error("the answer is not whole"));
  }

  /** Calls `onLine` with each document of a stream until it ends, or until `signal` ends it. */
  async follow(path: string, onLine: (line: unknown) => void, signal?: AbortSignal): Promise<void> {
    const response = await this.#open("GET", path);
    const stop = () => response.destroy();
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    try {
      const bounds = { line: this.#limits.bytes, all: Number.POSITIVE_INFINITY };
      await lines(response, bounds, (line) => onLine(jsonOf(line)));
    } catch (error) {
      if (!signal?.aborted) throw this.#unreachable(error as NodeJS.ErrnoException);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends an answer that has not come to its end in time, unless the timer is cleared. */
  #whole(response: IncomingMessage, method: "GET" | "POST", pauses: number): NodeJS.Timeout {
    const limitMs = this.#limits.pauseMs[method] * pauses;
    return setTimeout(() => response.destroy(notWhole(limitMs)), limitMs);
  }

  /** Ends an answer that pauses for too long. */
  #inTime(response: IncomingMessage, method: "GET" | "POST"): IncomingMessage {
    const limitMs = this.#limits.pauseMs[method];
    return response.setTimeout(limitMs, () => response.destroy(standsStill(limitMs)));
  }

  async #textOf(
    response: IncomingMessage,
    method: "GET" | "POST",
    bytesMax: number,
  ): Promise<string> {
    const late = this.#whole(response, method, pausesMax.document);
    try {
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of this.#inTime(response, method) as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > bytesMax) throw tooLong(bytesMax);
      }
      return Buffer.concat(chunks).toString("utf8");
    } finally {
      clearTimeout(late);
    }
  }

  #open(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const options = { socketPath: this.#socketPath, method, path, ...(signal && { signal }) };
    return new Promise((resolve, reject) => {
      const limitMs = this.#limits.pauseMs[method];
      const late = setTimeout(() => call.destroy(standsStill(limitMs)), limitMs);
      const call = request(options, (response) => {
        clearTimeout(late);
        if (response.statusCode === 200) return resolve(response);
        this.#textOf(response, method, refusalBytesMax)
          .then((text) => reject(refusedBy(documentOf(text))))
          .catch((error) => reject(this.#unreachable(error)));
      });
      call.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(late);
        reject(this.#unreachable(error));
      });
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

function standsStill(limitMs: number): Error {
  return new Error(`no answer within ${limitMs / 1_000} s: the process stands still`);
}

/** Receives a list. */
export interface ListSink<Item> {
  readonly onText?: (text: string) => void;
  readonly onItem?: (item: Item) => void;
  /** For a reader that keeps what it gets: what the document may have. Absent: any. */
  readonly bytesMax?: number;
}

/** Parses a document in the layout of ListAnswer (server.ts), or all on one line. */
class ListReader<Item> {
  /** The document without its items; undefined until it is complete. */
  document: Readonly<Record<string, unknown>> | undefined;
  readonly #sink: ListSink<Item>;
  #head: Readonly<Record<string, unknown>> | undefined;

  constructor(sink: ListSink<Item>) {
    this.#sink = sink;
  }

  line(line: string): void {
    const { onText, onItem } = this.#sink;
    onText?.(line);
    if (this.#head === undefined) {
      if (line.endsWith("[")) this.#head = documentOf(`${line}]}`);
      else this.#whole(documentOf(line));
    } else if (line.startsWith("]")) {
      const { "": _list, ...tail } = documentOf(`{"":[${line}`);
      this.document = { ...this.#head, ...tail };
    } else if (onItem !== undefined) {
      onItem(documentOf(line.endsWith(",") ? line.slice(0, -1) : line) as Item);
    }
  }

  #whole(document: Readonly<Record<string, unknown>>): void {
    this.document = document;
    const list = Object.values(document).findLast(Array.isArray) ?? [];
    for (const item of list) this.#sink.onItem?.(item);
  }
}

/** Calls `onLine` with each line. Errors: Error for one, or for all together, with more bytes than they may have. */
async function lines(
  response: IncomingMessage,
  bytesMax: { readonly line: number; readonly all: number },
  onLine: (line: string) => void,
): Promise<void> {
  let parts: string[] = [];
  let length = 0;
  let all = 0;
  const end = (part: string) => {
    const line = [...parts, part].join("");
    parts = [];
    length = 0;
    return line;
  };
  response.setEncoding("utf8");
  for await (const chunk of response as AsyncIterable<string>) {
    let from = 0;
    for (let at = chunk.indexOf("\n"); at >= 0; at = chunk.indexOf("\n", from)) {
      onLine(end(chunk.slice(from, at)));
      from = at + 1;
    }
    if (from < chunk.length) parts.push(chunk.slice(from));
    length += chunk.length - from;
    all += chunk.length;
    if (length > bytesMax.line) throw tooLong(bytesMax.line);
    if (all > bytesMax.all) throw tooLong(bytesMax.all);
  }
  if (length > 0) onLine(end(""));
}

function tooLong(bytesMax: number): Error {
  return new Error(`got an answer of more than ${bytesMax} bytes: this is no answer of sluice`);
}

function notWhole(limitMs: number): Error {
  return new Error(`the answer is not whole after ${limitMs / 1_000} s`);
}

/** Errors: Error for a text that is no JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(notOurs);
  }
}

/** Errors: Error for a text that is no JSON of a map or a list. */
function documentOf(text: string): Readonly<Record<string, unknown>> {
  const value = jsonOf(text);
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new Error(notOurs);
}

/** What a process says that refuses a request. Errors: Error for a document that is no refusal. */
function refusedBy({ kind, message, remedy }: Readonly<Record<string, unknown>>): Error {
  if (typeof message !== "string") throw new Error("it refuses, and does not say why");
  if (kind === "bug") return new Error(message);
  const known = (["usage", "input", "environment"] as const).find((each) => each === kind);
  return new RefusalError(
    known ?? "environment",
    message,
    typeof remedy === "string" ? remedy : undefined,
  );
}

function noAnswer(path: string, reason: NodeJS.ErrnoException): RefusalError {
  if (reason.code === "EACCES") {
    return new RefusalError(
      "environment",
      `${path} is not for this user`,
      "run it as root, or as a member of the socket's group",
    );
  }
  const isAbsent = reason.code === "ENOENT" || reason.code === "ECONNREFUSED";
  return new RefusalError(
    "environment",
    isAbsent ? `no sluice answers on ${path}` : `${path}: ${systemReason(reason)}`,
    isAbsent ? "sluice run makes it; --socket names another, --lab a lab's" : undefined,
  );
}
