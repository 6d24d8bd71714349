import type { ResourceStatus } from "../control/source.js";
import { type ApiValue, apiNames } from "../manifest/api-object.js";
import { type ApiClient, ApiError, printable } from "./api-client.js";
import { type Resource, resourceName } from "./resources.js";
import { Backoff, pause, type Timing } from "./timing.js";

/** Where what a server says of one resource goes. */
export interface ReflectorSink {
  /** A whole list begins: what is not put before it ends does not exist. */
  listBegins(): void;
  listEnds(): void;
  put(value: ApiValue): void;
  remove(value: ApiValue): void;
  /** The state or the error of the reflector is another. */
  stateChanged(): void;
}

export interface ReflectorOptions {
  readonly client: ApiClient;
  readonly resource: Resource;
  readonly sink: ReflectorSink;
  readonly timing: Timing;
  /** Items of a page of a list. */
  readonly pageItems: number;
}

/** Failed watches in a row after which it is no longer believed that the server still has their version. */
const RELIST_AFTER = 5;
/** How often in a row a custom kind must be missing that was there: a server may not know it yet. */
const ABSENT_AFTER = 5;

/**
 * Follows one resource for as long as it is let: lists it, then watches it from there on, and starts
 * anew from whatever goes wrong.
 *
 * What has been said stays true until something else is said: nothing that fails removes an object.
 *
 * Source: "Efficient detection of changes" in the Kubernetes API concepts.
 */
export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #backoff: Backoff;
  /** Where to go on; undefined when the next step is a list. */
  #version: string | undefined;
  #state: ResourceStatus["state"] = "starting";
  #error: string | null = null;
  #events = 0;
  #lists = 0;
  #lastHeardMs: number | undefined;
  #missing = 0;
  #wasThere = false;
  /** Whether pages are asked for: not once their continuation has expired twice. */
  #expiredPages = 0;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.timing);
  }

  get status(): Omit<ResourceStatus, "objects"> {
    return {
      resource: resourceName(this.#options.resource),
      state: this.#state,
      events: this.#events,
      lists: this.#lists,
      error: this.#error,
    };
  }

  /** When the server last said anything. Units: milliseconds since the epoch. */
  get lastHeardMs(): number | undefined {
    return this.#lastHeardMs;
  }

  /** Follows until the signal says otherwise. Errors: none. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const start = performance.now();
      const events = this.#events;
      try {
        if (this.#version === undefined) await this.#list(signal);
        if (!signal.aborted && this.#version !== undefined)
          await this.#watch(this.#version, signal);
        if (signal.aborted) return;
        // A watch ends by itself when its time is up. One that ends at once has not worked.
        const isSteady = performance.now() - start >= this.#options.timing.steadyMs;
        if (isSteady || this.#events !== events) continue;
        await pause(this.#backoff.failed(), signal);
      } catch (error) {
        if (signal.aborted) return;
        await this.#recover(error as Error, signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, resource, sink, pageItems } = this.#options;
    const query = this.#query();
    if (this.#expiredPages < 2) query.set("limit", String(pageItems));
    sink.listBegins();
    for (;;) {
      const page = mapOf(await client.get(resource.path, query, signal));
      this.#heard();
      const { items, kind } = page;
      const wanted = `${resource.kind}List`;
      // An empty list is believed, so it has to be a list of this.
      if (kind !== wanted) throw new Error(`got ${printable(`${kind}`)}, want ${wanted}`);
      const metadata = mapOf(page["metadata"]);
      if (!Array.isArray(items) && items !== null) throw new Error("got a list without items");
      for (const item of items ?? []) sink.put(mapOf(item));
      const next = metadata["continue"];
      if (typeof next === "string" && next !== "") {
        query.set("continue", next);
        continue;
      }
      const version = metadata["resourceVersion"];
      if (typeof version !== "string" || version === "") {
        throw new Error("got a list without a resourceVersion");
      }
      sink.listEnds();
      this.#lists++;
      this.#expiredPages = 0;
      this.#missing = 0;
      this.#wasThere = true;
      this.#version = version;
      return;
    }
  }

  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const { client, resource, timing } = this.#options;
    const lastMs = timing.watchMs * (1 + Math.random());
    const query = this.#query();
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("resourceVersion", version);
    query.set("timeoutSeconds", String(Math.ceil(lastMs / 1_000)));
    // Should the server not end it in time, nobody knows whether it still listens.
    const end = new AbortController();
    const abort = () => end.abort();
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
      abort();
    }, lastMs + timing.idleMs);
    let steady: NodeJS.Timeout | undefined;
    signal.addEventListener("abort", abort);
    try {
      await client.lines(resource.path, query, end.signal, {
        opened: () => {
          this.#heard();
          this.#become("following", null);
          steady = setTimeout(() => this.#backoff.worked(), timing.steadyMs);
        },
        line: (line) => this.#event(line),
      });
    } catch (error) {
      if (!isLate) throw error;
    } finally {
      clearTimeout(late);
      clearTimeout(steady);
      signal.removeEventListener("abort", abort);
    }
  }

  #event(line: string): void {
    const { sink } = this.#options;
    const { type, object } = mapOf(JSON.parse(line));
    const value = mapOf(object);
    if (type === "ERROR") {
      const { code, message } = value;
      throw new ApiError(Number(code) || 0, `${code}: ${printable(String(message))}`);
    }
    const version = mapOf(value["metadata"])["resourceVersion"];
    if (typeof version !== "string" || version === "") {
      throw new ApiError(410, "got an event without a resourceVersion");
    }
    if (type !== "BOOKMARK" && apiNames(value).name === "") {
      throw new ApiError(410, "got an event of an object without a name");
    }
    if (type === "ADDED" || type === "MODIFIED") sink.put(value);
    else if (type === "DELETED") sink.remove(value);
    else if (type !== "BOOKMARK")
      throw new ApiError(410, `got an event of type ${printable(`${type}`)}`);
    this.#version = version;
    this.#events++;
    this.#heard();
    this.#backoff.worked();
  }

  /** Decides where to go on after a failure, and waits. */
  async #recover(error: Error, signal: AbortSignal): Promise<void> {
    const { resource, sink, timing } = this.#options;
    const status = error instanceof ApiError ? error.status : undefined;
    const wasListing = this.#version === undefined;
    if (status !== undefined) this.#heard();
    if (status === 410) {
      if (wasListing) this.#expiredPages++;
      this.#version = undefined;
    } else if (this.#backoff.failures + 1 >= RELIST_AFTER) {
      this.#version = undefined;
    }
    if (status === 404 && resource.isCustom) {
      this.#version = undefined;
      const isLong = !this.#wasThere || ++this.#missing >= ABSENT_AFTER;
      if (isLong && (await this.#isAbsent(signal))) {
        sink.listBegins();
        sink.listEnds();
        this.#wasThere = false;
        this.#backoff.worked();
        this.#become("absent", null);
        return pause(timing.absentMs * (0.5 + Math.random() / 2), signal);
      }
    }
    const waitMs = this.#backoff.failed(error instanceof ApiError ? error.retryAfterMs : 0);
    this.#become("waiting", this.#explain(error, status));
    await pause(waitMs, signal);
  }

  /**
   * Whether the server itself says that it does not serve this kind: "not found" may come from whoever
   * stands before it, and would take policies that deny out of force.
   */
  async #isAbsent(signal: AbortSignal): Promise<boolean> {
    const { client, resource } = this.#options;
    const { group, plural, path } = resource;
    const ask = async (place: string, kind: string): Promise<ApiValue> => {
      const answer = mapOf(await client.get(place, new URLSearchParams(), signal));
      if (answer["kind"] !== kind) throw new Error(`got no ${kind} from ${place}`);
      return answer;
    };
    try {
      const { groups } = await ask("/apis", "APIGroupList");
      const served = listOf(groups).find(({ name }) => name === group);
      const versionPath = path.slice(0, path.lastIndexOf("/"));
      const isServed = listOf(served?.["versions"]).some(
        ({ groupVersion }) => `/apis/${groupVersion}` === versionPath,
      );
      if (!isServed) return Array.isArray(groups);
      const { resources } = await ask(versionPath, "APIResourceList");
      return Array.isArray(resources) && !listOf(resources).some(({ name }) => name === plural);
    } catch {
      return false; // what it was asked first is what is told
    }
  }

  #explain(error: Error, status: number | undefined): string {
    const { resource } = this.#options;
    const { code } = error as NodeJS.ErrnoException;
    const what = error.message === "" ? (code ?? error.name) : printable(error.message);
    if (status === 404 && resource.isCustom) {
      return `not found, but nor does the server say in /apis that it has no such kind: ${what}`;
    }
    if (status === 401) return `the credentials are not taken: ${what}`;
    if (status !== 403) return what;
    const { group, plural } = resource;
    return `not allowed: grant list and watch of ${plural} in apiGroup "${group}" (deploy/kubernetes/rbac.yaml): ${what}`;
  }

  #heard(): void {
    this.#lastHeardMs = Date.now();
  }

  #become(state: ResourceStatus["state"], error: string | null): void {
    if (state === this.#state && error === this.#error) return;
    this.#state = state;
    this.#error = error;
    this.#options.sink.stateChanged();
  }

  #query(): URLSearchParams {
    const { fieldSelector } = this.#options.resource;
    return new URLSearchParams(fieldSelector === undefined ? {} : { fieldSelector });
  }
}

function mapOf(value: unknown): ApiValue {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as ApiValue)
    : {};
}

function listOf(value: unknown): readonly ApiValue[] {
  return Array.isArray(value) ? value.map(mapOf) : [];
}
