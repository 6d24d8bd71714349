import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { ClusterAccess, Credentials } from "./cluster-access.js";
import { JsonCutter } from "./json-cutter.js";
import type { MemoryBudget } from "./memory-budget.js";
import type { Pace } from "./pace.js";
import { type Timing, within } from "./timing.js";

/** The API server answered with an error. */
export class ApiError extends Error {
  /** The HTTP status, or the code of a `Status` in a watch. */
  readonly status: number;
  /** How long the server asks to wait (Retry-After); 0 when it does not. */
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Limits of one object, event or document. A server accepts objects of at most 3 MB, which may have a million
 * parts; such an object parses in a tenth of a second.
 */
const VALUE_BOUNDS = { bytesMax: 16 * 1024 * 1024, partsMax: 2_000_000 } as const;
const ERROR_BYTES_MAX = 64 * 1024;
/** 1xx answers that are accepted before the final one. */
const INFORMATION_MAX = 20;

export interface ApiClientOptions {
  readonly access: ClusterAccess;
  readonly timing: Timing;
  readonly pace: Pace;
  readonly budget: MemoryBudget;
}

/**
 * Reads from an API server: documents, lists item by item, and watches event by event. Makes objects.
 *
 * Every call settles, for any behaviour of the server. One time limit holds until the headers have arrived;
 * then another one holds between two pieces of a body, or between two events of a watch. Long answers are
 * read in small steps, and the event loop runs between them.
 *
 * Errors: ApiError; Error when a time limit is exceeded, `signal` aborts, the connection breaks, or an answer
 *         is incomplete or not JSON; what a callback throws. The connection is then closed.
 */
export class ApiClient {
  readonly #options: ApiClientOptions;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /** Gets a JSON document of moderate size. */
  get(path: string, query: URLSearchParams, signal: AbortSignal): Promise<unknown> {
    const { listMs } = this.#options.timing;
    const late = () => new Error(`no whole answer within ${listMs / 1_000} s`);
    return within(listMs, signal, late, async (inner) => {
      const answer = await this.#open(path, query, inner);
      const documents: unknown[] = [];
      const cutter = new JsonCutter("documents", VALUE_BOUNDS);
      await this.#read(answer, cutter, inner, (value) => documents.push(value));
      if (documents.length === 1) return documents[0];
      throw new Error(`got ${documents.length} JSON documents, want one`);
    });
  }

  /**
   * Reads one page of a list: passes each item to the callback, and returns the rest of the document.
   */
  async list(
    path: string,
    query: URLSearchParams,
    signal: AbortSignal,
    item: (value: unknown) => void,
  ): Promise<unknown> {
    const answer = await this.#open(path, query, signal);
    const cutter = new JsonCutter("items", VALUE_BOUNDS);
    await this.#read(answer, cutter, signal, item);
    return JSON.parse(cutter.end().toString("utf8"));
  }

  /**
   * Follows a watch until the server ends it, `signal` aborts, or no event has come for `quietMs`. Each event
   * is passed on as soon as it is complete. `opened` is called before the first, when the server has accepted
   * the watch.
   */
  async watch(
    path: string,
    query: URLSearchParams,
    signal: AbortSignal,
    { opened, event, quietMs }: WatchCallbacks,
  ): Promise<void> {
    const answer = await this.#open(path, query, signal);
    const late = () => new Error(`no event and no bookmark came for ${quietMs / 1_000} s`);
    const cutter = new JsonCutter("documents", VALUE_BOUNDS);
    const work: BodyWork = (inner, moved) =>
      this.#pieces(answer, cutter, inner, {
        piece: () => {},
        value: (value) => {
          event(value);
          moved();
        },
      });
    opened();
    await closing(answer, within(quietMs, signal, late, work));
  }

  /** Makes an object. What the server says of it is read only so that the connection serves the next request too. */
  async create(path: string, object: unknown, signal: AbortSignal): Promise<void> {
    const body = JSON.stringify(object);
    const answer = await this.#open(path, new URLSearchParams(), signal, { body });
    const late = () => new Error("late");
    const rest = within(this.#options.timing.answerMs, signal, late, (inner) =>
      shortBody(answer, inner),
    );
    await closing(answer, rest).catch(() => {}); // the object is there
  }

  /** Reads a body; the next piece must come within a time limit. */
  #read(
    answer: IncomingMessage,
    cutter: JsonCutter,
    signal: AbortSignal,
    value: (value: unknown) => void,
  ): Promise<void> {
    const { idleMs } = this.#options.timing;
    const late = () => new Error(`nothing came for ${idleMs / 1_000} s`);
    const work: BodyWork = (inner, moved) =>
      this.#pieces(answer, cutter, inner, { piece: moved, value });
    return closing(answer, within(idleMs, signal, late, work));
  }

  /** Cuts a body into values until its end; `piece` is called for each piece of it. */
  async #pieces(
    answer: IncomingMessage,
    cutter: JsonCutter,
    signal: AbortSignal,
    came: { readonly piece: () => void; readonly value: (value: unknown) => void },
  ): Promise<void> {
    const { pace, budget } = this.#options;
    const stop = () => void answer.destroy();
    let held = 0;
    try {
      signal.addEventListener("abort", stop);
      if (signal.aborted) return;
      for await (const piece of answer as AsyncIterable<Buffer>) {
        came.piece();
        for (const value of cutter.push(piece)) {
          if (pace.isOver) await pace.turn();
          if (signal.aborted) return;
          came.value(JSON.parse(value.toString("utf8")));
        }
        budget.take(cutter.heldBytes - held);
        held = cutter.heldBytes;
        came.piece();
      }
      if (!answer.complete) throw new Error("the connection was cut");
      cutter.end();
    } catch (error) {
      throw isCut(error) ? new Error("the connection was cut") : error;
    } finally {
      budget.take(-held);
      signal.removeEventListener("abort", stop);
    }
  }

  /** Sends a request. If the server refuses the credentials, they are read again, once. */
  async #open(
    path: string,
    query: URLSearchParams,
    signal: AbortSignal,
    { body, isAgain = false }: { readonly body?: string; readonly isAgain?: boolean } = {},
  ): Promise<IncomingMessage> {
    const { access, timing } = this.#options;
    const { answerMs } = timing;
    const late = () => new Error(`no answer within ${answerMs / 1_000} s`);
    // Reading credentials has time limits of its own.
    const { options, version } = await access.credentials();
    const answer = await within(answerMs, signal, late, (inner) =>
      this.#send(path, query, options, inner, body),
    );
    const { statusCode = 0 } = answer;
    if (body !== undefined && statusCode === 201) return answer;
    if (statusCode === 200) {
      const unwanted = unwantedBody(answer);
      if (unwanted === undefined) return answer;
      answer.destroy();
      throw new Error(unwanted);
    }
    const error = await errorOf(answer, answerMs, signal);
    if (statusCode !== 401 || isAgain) throw error;
    await access.renew(version);
    return this.#open(path, query, signal, { isAgain: true, ...(body !== undefined && { body }) });
  }

  /** Settles at the first of: an answer, another protocol, an error, the end of the connection. */
  #send(
    path: string,
    query: URLSearchParams,
    options: Credentials["options"],
    signal: AbortSignal,
    body: string | undefined,
  ): Promise<IncomingMessage> {
    const { server } = this.#options.access;
    const target = new URL(server.pathname.replace(/\/$/, "") + path, server);
    target.search = query.toString();
    return new Promise((resolve, reject) => {
      const send = server.protocol === "http:" ? requestHttp : requestHttps;
      const request = send(target, {
        ...options,
        signal,
        method: body === undefined ? "GET" : "POST",
        headers: {
          ...options.headers,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          accept: "application/json",
          "accept-encoding": "identity",
          "user-agent": "sluice",
        },
      });
      request.once("response", (response) => {
        // TCP keepalive detects a server that vanished without closing the connection.
        response.socket?.setKeepAlive(true, 30_000);
        resolve(response);
      });
      let informed = 0;
      request.on("information", () => {
        if (++informed > INFORMATION_MAX) request.destroy(new Error("got 1xx again and again"));
      });
      request.once("upgrade", ({ statusCode = 0 }, socket) => {
        socket.destroy();
        reject(new ApiError(statusCode, `${statusCode}: got another protocol, want HTTP`));
      });
      request.once("close", () => reject(new Error("the connection was closed without an answer")));
      request.on("error", reject);
      request.end(body);
    });
  }
}

type BodyWork = (signal: AbortSignal, moved: () => void) => Promise<void>;

export interface WatchCallbacks {
  readonly opened: () => void;
  readonly event: (value: unknown) => void;
  /** The longest time without an event. Units: milliseconds. */
  readonly quietMs: number;
}

/**
 * Waits for a reader of an answer, and then closes the answer if it is incomplete, even after an error.
 */
async function closing<Result>(answer: IncomingMessage, reading: Promise<Result>): Promise<Result> {
  try {
    return await reading;
  } finally {
    if (!answer.complete) answer.destroy();
  }
}

/** Why a body is not read; undefined when it is read. */
function unwantedBody({ headers }: IncomingMessage): string | undefined {
  const { "content-type": type, "content-encoding": encoding = "identity" } = headers;
  if (encoding !== "identity") return `got content-encoding ${printable(encoding)}, want none`;
  // A proxy in front of the server may answer with its own page. A missing type counts as JSON.
  if (type === undefined || /^application\/json\b/i.test(type)) return undefined;
  return `got content-type ${printable(type)}, want application/json`;
}

/** Reads the server's explanation of an error, within a time limit. */
async function errorOf(
  answer: IncomingMessage,
  withinMs: number,
  signal: AbortSignal,
): Promise<ApiError> {
  const { statusCode = 0 } = answer;
  const after = answer.headers["retry-after"] ?? "";
  const retryAfterMs = /^\d{1,6}$/.test(after) ? Number(after) * 1_000 : 0;
  let said = "";
  try {
    const late = () => new Error("late");
    const body = within(withinMs, signal, late, (inner) => shortBody(answer, inner));
    said = await closing(answer, body);
    const { message } = JSON.parse(said) as { readonly message?: unknown };
    if (typeof message === "string") said = message;
  } catch {
    // A body that is not a Kubernetes Status is shown unchanged; often it explains the error.
  }
  return new ApiError(statusCode, `${statusCode}: ${printable(said)}`, retryAfterMs);
}

/** Reads a body as text, up to a limit. */
async function shortBody(answer: IncomingMessage, signal: AbortSignal): Promise<string> {
  const stop = () => void answer.destroy();
  signal.addEventListener("abort", stop);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    parts.push(piece);
    bytes += piece.length;
    if (bytes > ERROR_BYTES_MAX) break;
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Makes a server's text safe for a terminal, and short. */
export function printable(text: string): string {
  return text
    .slice(0, 300)
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ")
    .trim();
}

function isCut(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ECONNRESET" || code === "ERR_STREAM_PREMATURE_CLOSE";
}
