import { type IncomingMessage, type RequestOptions, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { HttpsProxyAgent } from "https-proxy-agent";

/** What fetching may cost, and what it is told of its surroundings. */
export interface FetchOptions {
  /** Of it: the variables that name proxies. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** As servers are to see it. */
  readonly userAgent: string;
  /** Of all answers together. Units: milliseconds. */
  readonly timeMs?: number;
  readonly bytesMax: number;
}

export type Fetched = { readonly bytes: Buffer } | { readonly failed: string };

const usualTimeMs = 30_000;
const REDIRECTS_MAX = 5;

/** An answer that leads elsewhere, or ends the matter. */
type Answer = Fetched | { readonly location: string };

/**
 * Fetches what is at an http or https address.
 *
 * Redirects are followed a few times, never from https to http, and take no credentials along.
 *
 * Errors: none; `failed` says why there is nothing, in words that follow "got".
 */
export async function fetchUrl(address: string, options: FetchOptions): Promise<Fetched> {
  const { timeMs = usualTimeMs } = options;
  const limit = AbortSignal.timeout(timeMs);
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return { failed: "no address of the form https://HOST/PATH" };
  }
  for (let redirects = 0; ; redirects++) {
    const answer = await ask(url, options, limit);
    if (!("location" in answer)) return answer;
    if (redirects === REDIRECTS_MAX) return { failed: `more than ${REDIRECTS_MAX} redirects` };
    const next = URL.canParse(answer.location, url.href)
      ? new URL(answer.location, url)
      : undefined;
    if (next === undefined || !/^https?:$/.test(next.protocol)) {
      return { failed: "a redirect to no http or https address" };
    }
    if (url.protocol === "https:" && next.protocol === "http:") {
      return {
        failed: `a redirect from https to ${shownUrl(next.href)}, which anybody may change`,
      };
    }
    [next.username, next.password] = ["", ""];
    url = next;
  }
}

/** Writes an address without what may be secret in it: credentials and queries. */
export function shownUrl(address: string): string {
  if (!URL.canParse(address)) return address;
  const url = new URL(address);
  return `${url.protocol}//${url.host}${url.pathname}${url.search === "" ? "" : "?…"}`;
}

function ask(url: URL, options: FetchOptions, limit: AbortSignal): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve({ failed: whyText(error, limit, options) });
    const proxy = proxyFor(url, options.env);
    const asked: RequestOptions = {
      // The agent tunnels http too, so that no proxy reads or changes what is asked for.
      ...(proxy === undefined ? {} : { agent: new HttpsProxyAgent(proxy) }),
      headers: {
        accept: "application/yaml, application/json, text/plain, */*;q=0.5",
        "accept-encoding": "identity",
        "user-agent": options.userAgent,
      },
      signal: limit,
    };
    const request = url.protocol === "https:" ? requestHttps : requestHttp;
    try {
      const sent = request(url, asked, (response) => {
        response.on("error", failed);
        resolve(
          read(response, options).catch((error) => ({ failed: whyText(error, limit, options) })),
        );
      });
      sent.on("error", failed);
      sent.end();
    } catch (error) {
      failed(error as Error);
    }
  });
}

async function read(response: IncomingMessage, { bytesMax }: FetchOptions): Promise<Answer> {
  const { statusCode = 0, statusMessage = "", headers } = response;
  const end = <Result extends Answer>(answer: Result): Result => {
    response.destroy();
    return answer;
  };
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
    return end({ location: headers.location });
  }
  if (statusCode !== 200) return end({ failed: `answer ${statusCode} ${statusMessage}`.trim() });
  if (/^text\/html\b/i.test(headers["content-type"] ?? "")) {
    return end({ failed: "a web page, want the address of the file itself" });
  }
  if (!["", "identity"].includes(headers["content-encoding"] ?? "")) {
    return end({ failed: `an answer in ${headers["content-encoding"]}, which was not asked for` });
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bytesMax) return end({ failed: `more than ${bytesMax} bytes` });
    chunks.push(chunk);
  }
  return { bytes: Buffer.concat(chunks) };
}

function whyText(error: Error, limit: AbortSignal, { timeMs = usualTimeMs }: FetchOptions): string {
  if (limit.aborted) return `no whole answer within ${timeMs / 1_000} s`;
  const { code } = error as NodeJS.ErrnoException;
  // Of several addresses that were tried, each has an error of its own.
  const [first] = error instanceof AggregateError ? (error.errors as Error[]) : [error];
  return `no answer: ${first?.message || code || "the connection was closed"}`;
}

/** Finds the proxy for an address, by the variables that other clients know. */
function proxyFor({ protocol, hostname }: URL, env: FetchOptions["env"]): string | undefined {
  const of = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
  const without = (of("NO_PROXY") ?? "")
    .split(",")
    .map((each) => each.trim().replace(/^\*?\./, ""));
  const host = hostname.toLowerCase();
  const isNear = without.some(
    (each) => each === "*" || (each !== "" && (host === each || host.endsWith(`.${each}`))),
  );
  const proxy = of(protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") ?? of("ALL_PROXY");
  return isNear || proxy === undefined || !/^https?:\/\//.test(proxy) ? undefined : proxy;
}
