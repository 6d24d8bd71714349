import { randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import {
  type HttpHandler,
  HttpListener,
  type HttpReply,
  type HttpRequest,
  type ListenerBounds,
  type Refused,
} from "../control/http-listener.js";
import { RefusalError } from "../control/refusal.js";
import type { RequestHead } from "../control/request-head.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Tell } from "../diagnostics/tell.js";
import { contentPolicy, type PageAssets } from "./page-assets.js";
import type { UiSession } from "./session.js";

/** Bounds for the browser of one person. */
const bounds: ListenerBounds = {
  connectionsMax: 64,
  connectionsPerClientMax: 64,
  requestsPerSecond: 100,
  requestsPerClientPerSecond: 100,
  headMs: 5_000,
  bodyMs: 10_000,
  bodiesBytesMax: 8 * 1024 * 1024,
  stallMs: 30_000,
  lingerMs: 2_000,
  lingerBytesMax: 4 * 1024 * 1024,
};

/** The largest edit. Units: bytes. */
const editBytesMax = 2 * 1024 * 1024;

const loopback = "127.0.0.1";

/** A page that is served. */
export interface ServedPage {
  /** The address with its token, for one browser of this machine. */
  readonly url: string;
  close(): void;
}

/**
 * Serves the page at 127.0.0.1, to whoever knows its token.
 *
 * A page of another origin cannot guess the token, is refused by its `Origin` if it has one, and reaches nothing by a
 * name of its own that leads here, since the Host must be this address.
 *
 * Shape:  port 0 is any that is free.
 * Errors: RefusalError (environment) when the port cannot be had.
 */
export async function servePage(
  session: UiSession,
  assets: PageAssets,
  port: number,
  tell: Tell,
): Promise<ServedPage> {
  const token = randomBytes(18).toString("base64url");
  const handler = new PageHandler(session, assets, token);
  const listener = new HttpListener(bounds, handler, tell);
  const { server } = listener;
  server.listen(port, loopback);
  try {
    await once(server, "listening");
  } catch (error) {
    throw new RefusalError(
      "environment",
      `cannot listen on ${loopback}:${port}: ${systemReason(error)}`,
      "--port 0 takes one that is free",
    );
  }
  listener.tellErrors();
  handler.port = (server.address() as AddressInfo).port;
  return {
    url: `http://${loopback}:${handler.port}/${token}/`,
    close: () => listener.close(),
  };
}

/** Headers of every answer: nothing of another origin is loaded, framed, sniffed, kept or told of. */
function safeFields(policy: string): readonly string[] {
  return [
    `Content-Security-Policy: ${policy}`,
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: DENY",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Resource-Policy: same-origin",
    "Cross-Origin-Opener-Policy: same-origin",
    "Cache-Control: no-store",
  ];
}

type Answer = (request: HttpRequest) => unknown;

class PageHandler implements HttpHandler {
  port = 0;
  readonly #token: Buffer;
  readonly #files: ReadonlyMap<string, readonly [type: string, text: string]>;
  readonly #answers: Readonly<Record<string, Answer>>;
  readonly #fields: readonly string[];

  constructor(session: UiSession, assets: PageAssets, token: string) {
    this.#token = Buffer.from(token);
    this.#fields = safeFields(contentPolicy.served);
    this.#files = new Map([
      ["", ["text/html; charset=utf-8", assets.html]],
      ["page.js", ["text/javascript; charset=utf-8", assets.script]],
      ["page.css", ["text/css; charset=utf-8", assets.style]],
    ]);
    this.#answers = {
      "GET api/page": () => session.page,
      "GET api/map": () => session.map(),
      "GET api/flows": ({ query }) => session.flowsSince(numberOf(query, "since")),
      "GET api/why": ({ query }) =>
        session.why({
          from: query.get("from") ?? "",
          to: query.get("to") ?? "",
          port: query.get("port") ?? undefined,
        }),
      "GET api/hits": () => session.hits(),
      "GET api/policy": ({ query }) => session.policyText(numberOf(query, "place")),
      "POST api/what-if": ({ body }) => session.whatIf(editOf(body)),
    };
  }

  admit(head: RequestHead): number | Refused {
    const host = `${loopback}:${this.port}`;
    const named = head.fields.get("host");
    if (named !== host) return { status: 421, message: `got Host ${named}, want ${host}` };
    const origin = head.fields.get("origin");
    if (origin !== undefined && origin !== `http://${host}`) {
      return { status: 403, message: "the request is another page's" };
    }
    const path = this.#within(head.path);
    if (path === undefined) return { status: 404, message: "nothing is here" };
    if (Object.hasOwn(this.#answers, `${head.method} ${path}`)) {
      return head.method === "POST" ? editBytesMax : 0;
    }
    if (this.#files.has(path)) {
      return head.method === "GET" || head.method === "HEAD" ? 0 : notAllowed;
    }
    const isThere = Object.keys(this.#answers).some((route) => route.endsWith(` ${path}`));
    return isThere ? notAllowed : { status: 404, message: "nothing is here" };
  }

  async answer(request: HttpRequest, reply: HttpReply): Promise<void> {
    const path = this.#within(request.path) ?? "";
    const file = this.#files.get(path);
    if (file !== undefined) {
      reply.send(200, file[0], file[1], this.#fields);
      return;
    }
    try {
      const answer = await this.#answers[`${request.method} ${path}`]!(request);
      this.#send(reply, 200, answer);
    } catch (error) {
      const status = error instanceof RefusalError ? 400 : 500;
      this.#send(reply, status, { message: (error as Error).message });
    }
  }

  #send(reply: HttpReply, status: number, answer: unknown): void {
    reply.send(status, "application/json", JSON.stringify(answer), this.#fields);
  }

  /** The path behind the token; undefined without it. */
  #within(path: string): string | undefined {
    const [, token = "", ...rest] = path.split("/");
    const given = Buffer.from(token);
    if (given.length !== this.#token.length || !timingSafeEqual(given, this.#token)) {
      return undefined;
    }
    return rest.length === 0 ? undefined : rest.join("/");
  }
}

const notAllowed: Refused = { status: 405, message: "this method is not for this path" };

/** Errors: RefusalError (usage). */
function numberOf(query: URLSearchParams, key: string): number {
  const text = query.get(key) ?? "0";
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new RefusalError("usage", `${key}: got "${text}", want a whole number`);
}

function fieldsOf(body: Buffer): { readonly text?: unknown; readonly removed?: unknown } {
  try {
    return (JSON.parse(body.toString("utf8")) as object | null) ?? {};
  } catch {
    return {};
  }
}

/** Errors: RefusalError (usage). */
function editOf(body: Buffer): { readonly text: string; readonly removed: readonly string[] } {
  const { text, removed } = fieldsOf(body);
  const isList = Array.isArray(removed) && removed.every((each) => typeof each === "string");
  if (typeof text !== "string" || !isList) {
    throw new RefusalError("usage", 'the request is not {"text","removed":[]}');
  }
  return { text, removed };
}
