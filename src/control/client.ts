import { type IncomingMessage, request } from "node:http";
import { systemReason } from "../diagnostics/system-reason.js";
import { type Refusal, RefusalError } from "./refusal.js";

/**
 * How long a process may take to begin an answer, and pause in one. A change may have to compile a cluster first. A
 * stream of what comes may pause for ever.
 */
const answerWithinMsDefault = { GET: 10_000, POST: 300_000 };

/**
 * A client of a process that listens on a unix socket.
 *
 * Errors: RefusalError when no process answers, or not in time, or when it refuses; Error for a bug in that
 *         process.
 */
export class ControlClient {
  readonly #answerWithinMs: Readonly<Record<"GET" | "POST", number>>;
  readonly #socketPath: string;
  readonly #unreachable: (reason: NodeJS.ErrnoException) => RefusalError;

  /** `unreachable` makes the error for a process that does not answer. */
  constructor(
    socketPath: string,
    unreachable?: (reason: NodeJS.ErrnoException) => RefusalError,
    answerWithinMs: Readonly<Record<"GET" | "POST", number>> = answerWithinMsDefault,
  ) {
    this.#answerWithinMs = answerWithinMs;
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
    const response = this.#inTime(await this.#open(method, path, body, signal), method);
    let text: string;
    try {
      text = await textOf(response);
    } catch (error) {
      throw signal?.aborted ? error : this.#unreachable(error as NodeJS.ErrnoException);
    }
    return JSON.parse(text) as Answer;
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
    try {
      await lines(response, (line) => reader.line(line));
    } catch (error) {
      throw this.#unreachable(error as NodeJS.ErrnoException);
    } finally {
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
      await lines(response, (line) => onLine(JSON.parse(line)));
    } catch (error) {
      if (!signal?.aborted) throw this.#unreachable(error as NodeJS.ErrnoException);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends an answer that pauses for too long. */
  #inTime(response: IncomingMessage, method: "GET" | "POST"): IncomingMessage {
    const limitMs = this.#answerWithinMs[method];
    return response.setTimeout(limitMs, () => response.destroy(standsStill(limitMs)));
  }

  #open(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const options = { socketPath: this.#socketPath, method, path, ...(signal && { signal }) };
    return new Promise((resolve, reject) => {
      const limitMs = this.#answerWithinMs[method];
      const late = setTimeout(() => call.destroy(standsStill(limitMs)), limitMs);
      const call = request(options, (response) => {
        clearTimeout(late);
        if (response.statusCode === 200) return resolve(response);
        textOf(response)
          .then((text) => {
            const { kind, message, remedy } = JSON.parse(text) as Refusal;
            reject(kind === "bug" ? new Error(message) : new RefusalError(kind, message, remedy));
          })
          .catch(reject);
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
      if (line.endsWith("[")) this.#head = JSON.parse(`${line}]}`);
      else this.#whole(JSON.parse(line));
    } else if (line.startsWith("]")) {
      const { "": _list, ...tail } = JSON.parse(`{"":[${line}`);
      this.document = { ...this.#head, ...tail };
    } else if (onItem !== undefined) {
      onItem(JSON.parse(line.endsWith(",") ? line.slice(0, -1) : line));
    }
  }

  #whole(document: Readonly<Record<string, unknown>>): void {
    this.document = document;
    const list = Object.values(document).findLast(Array.isArray) ?? [];
    for (const item of list) this.#sink.onItem?.(item);
  }
}

async function lines(response: IncomingMessage, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  response.setEncoding("utf8");
  for await (const chunk of response as AsyncIterable<string>) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) onLine(line);
  }
  if (rest !== "") onLine(rest);
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
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
