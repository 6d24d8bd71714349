import { createServer as createPlain, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { ApiObject } from "./api-objects.js";
import { makeCertificates } from "./certificates.js";

/** What to do with a request instead of answering it. */
export type Fault =
  | {
      readonly status: number;
      readonly message?: string;
      readonly headers?: Record<string, string>;
    }
  /** Ends the connection, before an answer or in the middle of it. */
  | "cut"
  /** Begins to answer and then says nothing more. */
  | "stall"
  /** Answers with this, whatever it is. */
  | { readonly body: string; readonly headers?: Record<string, string> }
  /** Does what it likes with the connection. */
  | ((socket: Socket) => void);

export interface SeenRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly isWatch: boolean;
}

interface WatchEvent {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: ApiObject;
}

interface Watch {
  readonly path: string;
  /** What happened up to here is not told. */
  readonly from: number;
  readonly answer: ServerResponse;
  readonly matches: (object: ApiObject) => boolean;
}

/** Where each kind is served, as an API server with the policy CRDs serves it. */
const paths: Readonly<Record<string, string>> = {
  Pod: "/api/v1/pods",
  Namespace: "/api/v1/namespaces",
  Node: "/api/v1/nodes",
  NetworkPolicy: "/apis/networking.k8s.io/v1/networkpolicies",
  ClusterNetworkPolicy: "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
  AdminNetworkPolicy: "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
  BaselineAdminNetworkPolicy:
    "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies",
  Service: "/api/v1/services",
  EndpointSlice: "/apis/discovery.k8s.io/v1/endpointslices",
  Ingress: "/apis/networking.k8s.io/v1/ingresses",
};

/**
 * An API server's list and watch, over HTTPS, as the Kubernetes API concepts describe them: one version
 * counter for all, pages of one version, history that can be compacted, bookmarks, field selectors of
 * pods' phases.
 */
export class ApiServer {
  readonly ca: string;
  /** What the server has been asked, in order. */
  readonly seen: SeenRequest[] = [];
  /** Events that it was given. */
  readonly given: unknown[] = [];
  /** Tokens that it takes. */
  readonly tokens = new Set(["first-token"]);
  /** Kinds that it does not have. */
  readonly absent = new Set<string>();
  /** Where each kind is served at present, which may be as another version. */
  readonly paths: Record<string, string> = { ...paths };
  /** Decides on each request, before it is answered. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  /** Bookmarks are sent this often, where they are asked for. */
  bookmarkMs = 50;
  /** Sends lines in pieces of this many bytes. */
  pieceBytes = Number.POSITIVE_INFINITY;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How many connections it has taken. */
  taken = 0;
  readonly #raw = new Set<Duplex>();
  /** Connections that a fault has written to. */
  readonly #spoiled = new WeakSet<Duplex>();
  readonly #watches = new Set<Watch>();
  readonly #objects = new Map<string, Map<string, ApiObject>>();
  readonly #events = new Map<string, WatchEvent[]>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #version = 1000;
  /** Versions before this one are forgotten. */
  #oldest = 0;
  #path: string | undefined;
  #port = 0;

  /**
   * `relayed`: listens on a socket file, and somebody else brings connections to that port there. `plain`:
   * speaks HTTP, to somebody who stands before it.
   */
  constructor(relayed?: { readonly path: string; readonly port: number } | "plain") {
    if (typeof relayed === "object") {
      this.#path = relayed.path;
      this.#port = relayed.port;
    }
    const { ca, server } = makeCertificates();
    this.ca = ca;
    const listener = (request: IncomingMessage, answer: ServerResponse) =>
      this.#answer(request, answer);
    this.#server = relayed === "plain" ? createPlain(listener) : createServer(server, listener);
    // Those that are still shaking hands count, too: a server that goes away does not wait for them.
    this.#server.on("connection", (socket) => {
      this.taken++;
      this.#raw.add(socket);
      socket.on("close", () => this.#raw.delete(socket));
    });
    this.#server.on("secureConnection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {});
    });
  }

  /** Listens, on the same port each time. */
  async start(): Promise<void> {
    if (this.#path !== undefined) {
      await new Promise<void>((resolve) => this.#server.listen(this.#path, resolve));
      return;
    }
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Goes away, with every connection. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of [...this.#sockets, ...this.#raw]) socket.destroy();
    await closed;
    this.#watches.clear();
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** Every object that it has. */
  get objects(): ApiObject[] {
    return [...this.#objects.values()].flatMap((objects) => [...objects.values()]);
  }

  get connections(): number {
    return this.#sockets.size;
  }

  get watches(): number {
    return this.#watches.size;
  }

  get version(): number {
    return this.#version;
  }

  kubeconfig(token = "first-token", ca = this.ca): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      clusters: [
        {
          name: "c",
          cluster: {
            server: this.url,
            "certificate-authority-data": Buffer.from(ca).toString("base64"),
          },
        },
      ],
      users: [{ name: "u", user: { token } }],
      contexts: [
        { name: "test", context: { cluster: "c", user: "u" } },
        { name: "broken", context: { cluster: "gone", user: "u" } },
      ],
    });
  }

  put(object: ApiObject): void {
    const { path, key } = placeOf(object);
    const objects = this.#objectsAt(path);
    const before = objects.get(key);
    const version = ++this.#version;
    const stored = versioned(object, version);
    objects.set(key, stored);
    this.#publish(path, { version, type: before ? "MODIFIED" : "ADDED", object: stored }, before);
  }

  remove(object: ApiObject): void {
    const { path, key } = placeOf(object);
    const before = this.#objectsAt(path).get(key);
    if (before === undefined) return;
    this.#objectsAt(path).delete(key);
    const version = ++this.#version;
    this.#publish(path, { version, type: "DELETED", object: versioned(before, version) }, before);
  }

  /** What the pods are called, and their addresses: `web 10.0.0.1`. */
  podAddresses(): string[] {
    return [...this.#objectsAt(paths["Pod"]!).values()].map(({ metadata, status }) => {
      return `${metadata.name} ${(status as { podIP?: string }).podIP}`;
    });
  }

  /** Forgets all history: whoever watches from before now is told 410. Counts on by so many versions. */
  compact(versions = 1): void {
    this.#version += versions;
    this.#oldest = this.#version;
    this.#events.clear();
  }

  /** Writes to every watch of a kind, whatever it is. */
  say(kind: string, text: string): void {
    for (const { path, answer } of this.#watches) if (path === paths[kind]) answer.write(text);
  }

  /** Ends every connection that watches, in the middle of whatever it says. */
  cutWatches(): void {
    for (const { answer } of this.#watches) answer.socket?.destroy();
  }

  #objectsAt(path: string): Map<string, ApiObject> {
    const objects = this.#objects.get(path) ?? new Map<string, ApiObject>();
    this.#objects.set(path, objects);
    return objects;
  }

  #publish(path: string, event: WatchEvent, before: ApiObject | undefined): void {
    const events = this.#events.get(path) ?? [];
    events.push(event);
    this.#events.set(path, events);
    for (const watch of this.#watches) {
      if (watch.path === path) this.#tell(watch, event, before);
    }
  }

  #tell({ answer, from, matches }: Watch, event: WatchEvent, before: ApiObject | undefined): void {
    if (event.version <= from) return;
    const had = before !== undefined && matches(before);
    const has = event.type !== "DELETED" && matches(event.object);
    if (!had && !has) return;
    const type = !has ? "DELETED" : had ? "MODIFIED" : "ADDED";
    this.#write(answer, { type, object: event.object });
  }

  #write(answer: ServerResponse, line: unknown): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let at = 0; at < bytes.length; at += this.pieceBytes) {
      answer.write(bytes.subarray(at, at + this.pieceBytes));
    }
  }

  #answer(request: IncomingMessage, answer: ServerResponse): void {
    const url = new URL(request.url ?? "", this.url);
    const query = url.searchParams;
    const seen = { path: url.pathname, query, isWatch: query.get("watch") === "true" };
    this.seen.push(seen);
    const fault = this.fault(seen);
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    const [, namespace, plural] =
      /^\/api\/v1\/namespaces\/([^/]+)\/([a-z]+)$/.exec(url.pathname) ?? [];
    const path = plural === undefined ? url.pathname : `/api/v1/${plural}`;
    if (namespace !== undefined) query.set("namespace", namespace);
    const kind = Object.keys(this.paths).find((each) => this.paths[each] === path);
    if (this.#spoiled.has(request.socket)) request.socket.destroy();
    else if (typeof fault === "function") {
      // Node's server knows nothing of what is written there, and would have the next answer wait for it.
      this.#spoiled.add(request.socket);
      fault(request.socket);
    } else if (fault !== undefined) this.#fail(answer, fault);
    else if (scheme !== "Bearer" || !this.tokens.has(token ?? "")) {
      this.#refuse(answer, 401, "Unauthorized", "Unauthorized");
    } else if (request.method === "POST") this.#take(request, answer, url.pathname);
    else if (url.pathname.startsWith("/apis") && url.pathname.split("/").length !== 5) {
      this.#discover(url.pathname, answer);
    } else if (kind === undefined || this.absent.has(kind)) {
      answer.writeHead(404, { "content-type": "text/plain; charset=utf-8" });
      answer.end("404 page not found\n");
    } else if (seen.isWatch) this.#watch(kind, query, answer);
    else this.#list(kind, query, answer);
  }

  /** Takes an Event, as a server checks it. */
  #take(request: IncomingMessage, answer: ServerResponse, path: string): void {
    const parts: Buffer[] = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      const event = JSON.parse(Buffer.concat(parts).toString("utf8"));
      const isTheirs =
        path === `/api/v1/namespaces/${event.metadata.namespace}/events` &&
        event.involvedObject.namespace === event.metadata.namespace;
      if (!isTheirs) return this.#refuse(answer, 422, "Invalid", "namespace does not match");
      this.given.push(event);
      answer.writeHead(201, { "content-type": "application/json" });
      answer.end(JSON.stringify(event));
    });
  }

  /** Says what is served: all groups, one of them, or one version of one. */
  #discover(path: string, answer: ServerResponse): void {
    const served = Object.entries(this.paths)
      .filter(([kind, each]) => each.startsWith("/apis/") && !this.absent.has(kind))
      .map(([, each]) => each.split("/"));
    const versions = [...new Set(served.map(([, , group, version]) => `${group}/${version}`))];
    const names = [...new Set(served.map(([, , group]) => group))];
    const groups = names.map((name) => ({
      name,
      versions: versions
        .filter((each) => each.startsWith(`${name}/`))
        .map((groupVersion) => ({ groupVersion, version: groupVersion.split("/")[1] })),
    }));
    const resources = served
      .filter(([, , group, version]) => path === `/apis/${group}/${version}`)
      .map(([, , , , name]) => ({ name }));
    if (path === "/apis") {
      answer.end(JSON.stringify({ kind: "APIGroupList", apiVersion: "v1", groups }));
    } else if (groups.some(({ name }) => path === `/apis/${name}`)) {
      const group = groups.find(({ name }) => path === `/apis/${name}`);
      answer.end(JSON.stringify({ kind: "APIGroup", apiVersion: "v1", ...group }));
    } else if (resources.length > 0) {
      answer.end(JSON.stringify({ kind: "APIResourceList", apiVersion: "v1", resources }));
    } else {
      answer.writeHead(404, { "content-type": "text/plain; charset=utf-8" });
      answer.end("404 page not found\n");
    }
  }

  #fail(answer: ServerResponse, fault: Exclude<Fault, (socket: Socket) => void>): void {
    if (fault === "cut") answer.socket?.destroy();
    else if (fault === "stall") answer.write('{"kind":"');
    else if ("body" in fault) answer.writeHead(200, fault.headers).end(fault.body);
    else {
      for (const [name, value] of Object.entries(fault.headers ?? {}))
        answer.setHeader(name, value);
      this.#refuse(answer, fault.status, "Fault", fault.message ?? "as the test asked");
    }
  }

  #refuse(answer: ServerResponse, code: number, reason: string, message: string): void {
    answer.writeHead(code, { "content-type": "application/json" });
    answer.end(JSON.stringify(statusObject(code, reason, message)));
  }

  #list(kind: string, query: URLSearchParams, answer: ServerResponse): void {
    const matches = selector(query.get("fieldSelector"));
    const limit = Number(query.get("limit") ?? 0);
    const token = query.get("continue");
    let start = "";
    let version = this.#version;
    if (token !== null) {
      const key = /^{"start":("[^"\\]*"),"version":(\d+)}$/.exec(
        `${Buffer.from(token, "base64url")}`,
      );
      if (key === null) {
        this.#refuse(answer, 400, "BadRequest", "continue key is not valid");
        return;
      }
      start = JSON.parse(key[1]!) as string;
      version = Number(key[2]);
      if (version < this.#oldest) {
        const message =
          "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";
        this.#refuse(answer, 410, "Expired", message);
        return;
      }
    }
    const namespace = query.get("namespace");
    const all = [...this.#objectsAt(paths[kind]!)]
      .filter(([, { metadata }]) => namespace === null || metadata.namespace === namespace)
      .filter(([key, object]) => key > start && matches(object))
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const page = limit > 0 ? all.slice(0, limit) : all;
    const rest = all.length - page.length;
    const next = JSON.stringify({ start: page.at(-1)?.[0], version });
    const more = {
      continue: Buffer.from(next).toString("base64url"),
      remainingItemCount: rest,
    };
    answer.writeHead(200, { "content-type": "application/json" });
    answer.end(
      JSON.stringify({
        kind: `${kind}List`,
        apiVersion: page[0]?.[1].apiVersion ?? "v1",
        metadata: { resourceVersion: String(version), ...(rest > 0 ? more : {}) },
        // Items of the built-in lists have neither kind nor apiVersion.
        items: page.map(([, { kind: _kind, apiVersion: _version, ...object }]) => object),
      }),
    );
  }

  #watch(kind: string, query: URLSearchParams, answer: ServerResponse): void {
    const path = paths[kind]!;
    const from = Number(query.get("resourceVersion"));
    if (!Number.isSafeInteger(from)) {
      this.#refuse(answer, 400, "BadRequest", "invalid resource version");
      return;
    }
    answer.writeHead(200, { "content-type": "application/json" });
    answer.flushHeaders();
    if (from < this.#oldest) {
      const message = `too old resource version: ${from} (${this.#oldest})`;
      this.#write(answer, { type: "ERROR", object: statusObject(410, "Expired", message) });
      answer.end();
      return;
    }
    const watch = { path, from, answer, matches: selector(query.get("fieldSelector")) };
    for (const event of this.#events.get(path) ?? []) {
      // What stood before is not kept: an event that stops to match is told as the end of it.
      this.#tell(watch, event, event.object);
    }
    this.#watches.add(watch);
    const bookmark = () => {
      const object = { kind, apiVersion: "v1", metadata: { resourceVersion: `${this.#version}` } };
      this.#write(answer, { type: "BOOKMARK", object });
    };
    const wantsBookmarks = query.get("allowWatchBookmarks") === "true";
    // Who watches from a version that is still to come is told nothing until then.
    const isDue = () => wantsBookmarks && this.#version >= from;
    const bookmarks = setInterval(() => isDue() && bookmark(), this.bookmarkMs);
    const over = () => {
      this.#watches.delete(watch);
      for (const timer of [bookmarks, end]) {
        clearInterval(timer);
        this.#timers.delete(timer);
      }
    };
    const lastMs = Number(query.get("timeoutSeconds")) * 1_000;
    const end = setTimeout(() => {
      // Whoever does not read keeps the connection, and is told nothing more all the same.
      over();
      answer.end();
    }, lastMs);
    this.#timers.add(bookmarks).add(end);
    answer.on("close", over);
  }
}

export function statusObject(code: number, reason: string, message: string) {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    code,
  };
}

function placeOf({ kind, metadata }: ApiObject): { readonly path: string; readonly key: string } {
  return { path: paths[kind]!, key: `${metadata.namespace ?? ""}/${metadata.name}` };
}

function versioned(object: ApiObject, version: number): ApiObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
}

/** Understands what we ask: `status.phase!=A,status.phase!=B`. */
function selector(text: string | null): (object: ApiObject) => boolean {
  const fields = (text ?? "").split(",").filter((each) => each !== "");
  const tests = fields.map((each) => {
    const [, field, operator, value] = /^(status\.phase|metadata\.name)(!?=)([\w.-]+)$/.exec(each)!;
    return ({ metadata, status }: ApiObject) => {
      const { phase } = (status ?? {}) as { phase?: unknown };
      const found = field === "metadata.name" ? metadata.name : String(phase);
      return (found === value) === (operator === "=");
    };
  });
  return (object) => tests.every((holds) => holds(object));
}
