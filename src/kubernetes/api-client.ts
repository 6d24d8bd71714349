import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { ClusterAccess } from "./cluster-access.js";
import type { Timing } from "./timing.js";

/** An answer that is no success. */
export class ApiError extends Error {
  /** Of HTTP, or of a `Status` in a watch. */
  readonly status: number;
  /** How long the server asks to wait; 0 when it does not. */
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Bytes of one page of a list, and of one line of a watch; objects are below 2 MB each. */
const PAGE_BYTES_MAX = 512 * 1024 * 1024;
const LINE_BYTES_MAX = 32 * 1024 * 1024;
const ERROR_BYTES_MAX = 64 * 1024;

const NEWLINE = 0x0a;

/** Gets from an API server: whole answers, and answers that come line by line. */
export class ApiClient {
  readonly #access: ClusterAccess;
  readonly #timing: Timing;

  constructor(access: ClusterAccess, timing: Timing) {
    this.#access = access;
    this.#timing = timing;
  }

  /** Gets a JSON document. Errors: ApiError; Error when the connection or the document breaks. */
  async get(path: string, query: URLSearchParams, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#open(path, query, signal);
    const body = await bodyOf(answer, PAGE_BYTES_MAX, this.#timing.idleMs);
    return JSON.parse(body.toString("utf8"));
  }

  /**
   * Gets lines until the server ends them, or `signal` does. Each is handed on as soon as it is whole;
   * `opened` is called before, when the server has agreed.
   *
   * Errors: ApiError; Error when the connection breaks; what `line` throws, which ends the connection.
   */
  async lines(
    path: string,
    query: URLSearchParams,
    signal: AbortSignal,
    { opened, line }: { readonly opened: () => void; readonly line: (text: string) => void },
  ): Promise<void> {
    const answer = await this.#open(path, query, signal);
    opened();
    let begun: Buffer[] = [];
    let bytes = 0;
    await pieces(answer, this.#timing.watchIdleMs, (piece) => {
      let from = 0;
      for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, from)) {
        begun.push(piece.subarray(from, at));
        const text = Buffer.concat(begun).toString("utf8");
        begun = [];
        bytes = 0;
        from = at + 1;
        if (text !== "") line(text);
      }
      if (from === piece.length) return;
      begun.push(piece.subarray(from));
      bytes += piece.length - from;
      if (bytes > LINE_BYTES_MAX)
        throw new Error(`got a line of more than ${LINE_BYTES_MAX} bytes`);
    });
  }

  /** Sends a request; credentials that the server does not take are read anew, once. */
  async #open(
    path: string,
    query: URLSearchParams,
    signal: AbortSignal,
    isAgain = false,
  ): Promise<IncomingMessage> {
    const { options, version } = await this.#access.credentials();
    const { server } = this.#access;
    const target = new URL(server.pathname.replace(/\/$/, "") + path, server);
    target.search = query.toString();
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const send = server.protocol === "http:" ? requestHttp : requestHttps;
      const request = send(target, {
        ...options,
        signal,
        headers: { ...options.headers, accept: "application/json", "user-agent": "sluice" },
      });
      const { answerMs } = this.#timing;
      const late = setTimeout(
        () => request.destroy(new Error(`no answer within ${answerMs / 1_000} s`)),
        answerMs,
      );
      request.once("response", (response) => {
        clearTimeout(late);
        // A connection whose other end has vanished without a word is noticed by the system in time.
        response.socket.setKeepAlive(true, 30_000);
        resolve(response);
      });
      request.once("close", () => clearTimeout(late));
      request.on("error", reject);
      request.end();
    });
    const { statusCode = 0 } = answer;
    if (statusCode === 200) return answer;
    const error = await errorOf(answer, this.#timing.idleMs);
    if (statusCode !== 401 || isAgain) throw error;
    await this.#access.renew(version);
    return this.#open(path, query, signal, true);
  }
}

async function errorOf(answer: IncomingMessage, idleMs: number): Promise<ApiError> {
  const { statusCode = 0 } = answer;
  const after = answer.headers["retry-after"] ?? "";
  const retryAfterMs = /^\d{1,6}$/.test(after) ? Number(after) * 1_000 : 0;
  let said = "";
  try {
    const text = (await bodyOf(answer, ERROR_BYTES_MAX, idleMs)).toString("utf8");
    said = text;
    said = String((JSON.parse(text) as { readonly message?: unknown }).message ?? text);
  } catch {
    // What is not a Status of Kubernetes is shown as it is; often it says most.
  }
  return new ApiError(statusCode, `${statusCode}: ${printable(said)}`, retryAfterMs);
}

/** Makes a server's words harmless to a terminal, and short. */
export function printable(text: string): string {
  return text
    .slice(0, 300)
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ")
    .trim();
}

async function bodyOf(answer: IncomingMessage, bytesMax: number, idleMs: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  await pieces(answer, idleMs, (piece) => {
    parts.push(piece);
    bytes += piece.length;
    if (bytes > bytesMax) throw new Error(`got an answer of more than ${bytesMax} bytes`);
  });
  return Buffer.concat(parts);
}

/**
 * Hands on what comes, until the end.
 *
 * Errors: Error, when nothing comes for `idleMs`, when the connection breaks before the end of what was
 *         announced, and what `take` throws. The connection is then closed.
 */
function pieces(
  answer: IncomingMessage,
  idleMs: number,
  take: (piece: Buffer) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (error: Error) => {
      settle();
      reject(error);
      answer.destroy();
    };
    const cut = () => stop(new Error("the connection was cut"));
    const settle = () => {
      clearTimeout(idle);
      answer.off("close", cut);
    };
    const idle = setTimeout(() => stop(new Error(`nothing came for ${idleMs / 1_000} s`)), idleMs);
    answer.on("data", (piece: Buffer) => {
      idle.refresh();
      try {
        take(piece);
      } catch (error) {
        stop(error as Error);
      }
    });
    answer.once("end", () => {
      settle();
      resolve();
    });
    answer.on("error", stop);
    answer.once("close", cut);
  });
}
