import { type IncomingMessage, request } from "node:http";
import { type Refusal, RefusalError } from "./refusal.js";

/**
 * The way to a process that listens on a unix socket.
 *
 * Errors: RefusalError when nobody answers there, or when it refuses; Error for a bug over there.
 */
export class ControlClient {
  readonly #socketPath: string;
  readonly #unreachable: (reason: NodeJS.ErrnoException) => RefusalError;

  /** `unreachable` words what it means that nobody answers. */
  constructor(socketPath: string, unreachable?: (reason: NodeJS.ErrnoException) => RefusalError) {
    this.#socketPath = socketPath;
    this.#unreachable = unreachable ?? ((reason) => noAnswer(socketPath, reason));
  }

  /** Asks one thing; `signal` gives up on it. */
  async ask<Answer>(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const response = await this.#open(method, path, body, signal);
    return JSON.parse(await textOf(response)) as Answer;
  }

  /** Calls `onLine` with each document of a stream until it ends, or until `signal` ends it. */
  async follow(path: string, onLine: (line: unknown) => void, signal?: AbortSignal): Promise<void> {
    const response = await this.#open("GET", path);
    const stop = () => response.destroy();
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    try {
      let rest = "";
      response.setEncoding("utf8");
      for await (const chunk of response as AsyncIterable<string>) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) onLine(JSON.parse(line));
      }
    } catch (error) {
      if (!signal?.aborted) throw this.#unreachable(error as NodeJS.ErrnoException);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  #open(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const options = { socketPath: this.#socketPath, method, path, ...(signal && { signal }) };
    return new Promise((resolve, reject) => {
      const call = request(options, (response) => {
        if (response.statusCode === 200) return resolve(response);
        textOf(response)
          .then((text) => {
            const { kind, message, remedy } = JSON.parse(text) as Refusal;
            reject(kind === "bug" ? new Error(message) : new RefusalError(kind, message, remedy));
          })
          .catch(reject);
      });
      call.on("error", (error: NodeJS.ErrnoException) => reject(this.#unreachable(error)));
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
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
    isAbsent ? `no sluice answers on ${path}` : `${path}: ${reason.message}`,
    isAbsent ? "sluice run makes it; --socket names another, --lab a lab's" : undefined,
  );
}
