import type { ResourceStatus } from "../control/source.js";
import type { ApiValue } from "../manifest/api-object.js";
import { mapOf } from "../manifest/foreign-json.js";
import { type ApiClient, ApiError, printable } from "./api-client.js";
import { textOf } from "./api-values.js";
import { findServed, isServed, type Served, unknownVersionText } from "./discovery.js";
import { listPages, versionOf } from "./list-pages.js";
import { MemoryBudgetError } from "./memory-budget.js";
import type { Turns } from "./pace.js";
import { type Resource, resourceName } from "./resources.js";
import { Backoff, pause, type Timing, within } from "./timing.js";

/**
 * Receives one resource's objects from a server. Errors: MemoryBudgetError when they do not fit.
 */
export interface ReflectorSink {
  listBegins(): void;
  listed(value: ApiValue): void;
  /** The list failed midway: its items are discarded. */
  listBreaks(): void;
  /**
   * The list is complete: objects that it lacks do not exist. Only now does the list take effect; nothing else is told
   * before it has.
   */
  listEnds(pace: Turns): Promise<void>;
  put(value: ApiValue): void;
  remove(value: ApiValue): void;
  /** The state or the error of the reflector has changed. */
  stateChanged(): void;
}

export interface ReflectorOptions {
  readonly client: ApiClient;
  readonly resource: Resource;
  readonly sink: ReflectorSink;
  readonly timing: Timing;
  readonly pace: Turns;
  /** Items of a page of a list. */
  readonly pageItems: number;
}

/**
 * Failed watches in a row after which a new list is read: the server may not have their version any more.
 */
const RELIST_AFTER = 5;
/**
 * How many times in a row a known custom kind must be missing to count as absent: a restarted server may not
 * know it yet.
 */
const ABSENT_AFTER = 5;

/**
 * Follows one resource until it is stopped: lists it, then watches it from that version on, and recovers from
 * every error.
 *
 * A known object stays until the server reports otherwise: no failure removes one. A resource is current as
 * of its last proof: an event, a bookmark, a finished list, a watch that the server ended on time, or the
 * server's answer that it has no such kind. Without a proof for long, it is listed again.
 *
 * Source: "Efficient detection of changes" in the Kubernetes API concepts.
 */
export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #backoff: Backoff;
  /** Where the server serves it, as far as is known, and whether that has changed since the last proof. */
  #path: string;
  #hasMoved = false;
  /** The version to watch from; undefined when the next step is a list. */
  #version: string | undefined;
  #state: ResourceStatus["state"] = "starting";
  #error: string | null = null;
  #events = 0;
  #lists = 0;
  /** When the server last sent anything, and when it last proved this resource current. */
  #heardMs: number | undefined;
  #provedMs: number | undefined;
  #missing = 0;
  #wasThere = false;
  /** How many lists expired between pages; after two, lists are read without pages. */
  #expiredPages = 0;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.timing);
    this.#path = options.resource.paths[0];
  }

  get status(): Omit<ResourceStatus, "objects"> {
    const ageMs = this.#ageMs;
    return {
      resource: resourceName(this.#options.resource),
      state: this.#state,
      ageSeconds: ageMs === undefined ? null : ageMs / 1_000,
      stale: ageMs !== undefined && ageMs > this.#options.timing.staleMs,
      events: this.#events,
      lists: this.#lists,
      error: this.#error,
    };
  }

  /** Time since the server last sent anything. Units: milliseconds. */
  get silenceMs(): number | undefined {
    return this.#heardMs === undefined ? undefined : performance.now() - this.#heardMs;
  }

  /** Time since the resource was last proved current. Units: milliseconds. */
  get #ageMs(): number | undefined {
    return this.#provedMs === undefined ? undefined : performance.now() - this.#provedMs;
  }

  /** Follows the resource until `signal` aborts. Errors: none. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#step(signal);
      } catch (error) {
        if (signal.aborted) return;
        try {
          await this.#recover(error as Error, signal);
        } catch (another) {
          // No server answer may end this loop: the error is reported, and the step tried again.
          this.#become("waiting", printable(`${another}`));
          await pause(this.#options.timing.backoffMaxMs, signal);
        }
      }
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { backoffMs, relistMs, steadyMs } = this.#options.timing;
    const start = performance.now();
    const events = this.#events;
    if ((this.#ageMs ?? 0) >= relistMs) this.#version = undefined;
    if (this.#version === undefined) await this.#list(signal);
    if (signal.aborted || this.#version === undefined) return;
    await this.#watch(this.#version, signal);
    // The server ends a watch after its requested time. A watch that ends at once has failed.
    if (signal.aborted || performance.now() - start >= steadyMs) return;
    const waitMs = this.#events === events ? this.#backoff.failed() : backoffMs;
    if (this.#backoff.failures >= RELIST_AFTER) this.#version = undefined;
    await pause(waitMs, signal);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { sink, timing } = this.#options;
    const { listMs } = timing;
    sink.listBegins();
    const late = () => new Error(`the list has not ended within ${listMs / 1_000} s`);
    let version: string;
    try {
      version = await within(listMs, signal, late, (inner) => this.#pages(inner));
    } catch (error) {
      sink.listBreaks();
      throw error;
    }
    await sink.listEnds(this.#options.pace);
    this.#lists++;
    this.#expiredPages = 0;
    this.#missing = 0;
    this.#wasThere = true;
    this.#version = version;
    this.#proved();
  }

  /** Reads the pages of a list, and returns its version. */
  #pages(signal: AbortSignal): Promise<string> {
    const { client, resource, sink, pageItems } = this.#options;
    const query = this.#query();
    if (this.#expiredPages < 2) query.set("limit", String(pageItems));
    const { kind } = resource;
    const listed = (value: ApiValue) => sink.listed(value);
    return listPages(client, { kind, path: this.#path }, query, signal, listed, () =>
      this.#heard(),
    );
  }

  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const { client, timing } = this.#options;
    const { idleMs, relistMs, steadyMs, watchIdleMs, watchMs } = timing;
    const lastMs = watchMs * (1 + Math.random());
    const query = this.#query();
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("resourceVersion", version);
    query.set("timeoutSeconds", String(Math.ceil(lastMs / 1_000)));
    // If earlier watches brought no proof either, the time until a new list is shorter.
    const quietMs = Math.min(watchIdleMs, Math.max(relistMs - (this.#ageMs ?? 0), steadyMs));
    const start = performance.now();
    let steady: NodeJS.Timeout | undefined;
    // If the server does not end the watch on time, the connection may be dead.
    const over = new Error("the watch has not ended in time");
    try {
      await within(
        lastMs + idleMs,
        signal,
        () => over,
        (inner) =>
          client.watch(this.#path, query, inner, {
            opened: () => {
              this.#heard();
              this.#become("following", null);
              steady = setTimeout(() => this.#backoff.worked(), steadyMs);
            },
            event: (value) => {
              if (!inner.aborted) this.#event(value);
            },
            quietMs,
          }),
      );
      if (performance.now() - start >= lastMs) this.#proved();
    } catch (error) {
      if (error !== over) throw error;
    } finally {
      clearTimeout(steady);
    }
  }

  #event(event: unknown): void {
    const { sink } = this.#options;
    const { type, object } = mapOf(event);
    const value = mapOf(object);
    if (type === "ERROR") {
      const { code, message } = value;
      const status = typeof code === "number" ? code : 0;
      throw new ApiError(status, `${status}: ${textOf(message)}`);
    }
    const version = versionOf(mapOf(value["metadata"]));
    if (type === "ADDED" || type === "MODIFIED") sink.put(value);
    else if (type === "DELETED") sink.remove(value);
    else if (type !== "BOOKMARK") throw new ApiError(410, `got an event of type ${textOf(type)}`);
    else if (version === undefined) throw new ApiError(410, "got a bookmark without a version");
    this.#version = version ?? this.#version;
    this.#events++;
    this.#proved();
    this.#backoff.worked();
  }

  /** Decides how to continue after a failure, and waits. */
  async #recover(error: Error, signal: AbortSignal): Promise<void> {
    const { resource, sink, timing } = this.#options;
    if (error instanceof MemoryBudgetError) {
      // An immediate retry would only add load.
      this.#become("waiting", error.message);
      return pause(timing.absentMs * (0.5 + Math.random() / 2), signal);
    }
    const status = error instanceof ApiError ? error.status : undefined;
    const wasListing = this.#version === undefined;
    if (status !== undefined) this.#heard();
    if (status === 410) {
      if (wasListing) this.#expiredPages++;
      this.#version = undefined;
    } else if (this.#backoff.failures + 1 >= RELIST_AFTER) {
      this.#version = undefined;
    }
    const served = status === 404 && resource.isCustom ? await this.#served(signal) : undefined;
    if (served !== undefined) {
      this.#version = undefined;
      // Another version of the same objects: what is known of them stays.
      if (served !== "absent" && "path" in served && served.path !== this.#path) {
        this.#path = served.path;
        // Once between two proofs without a pause: a server may contradict itself.
        if (!this.#hasMoved) {
          this.#hasMoved = true;
          return;
        }
      }
      const isLong = !this.#wasThere || ++this.#missing >= ABSENT_AFTER;
      if (isLong && served === "absent") {
        sink.listBegins();
        await sink.listEnds(this.#options.pace);
        this.#wasThere = false;
        this.#backoff.worked();
        this.#proved();
        this.#become("absent", null);
        return this.#untilThere(signal);
      }
    }
    const waitMs = this.#backoff.failed(error instanceof ApiError ? error.retryAfterMs : 0);
    const isUnknown = typeof served === "object" && "unknownVersions" in served;
    const why = isUnknown
      ? unknownVersionText(resource, served.unknownVersions)
      : this.#explain(error, status);
    this.#become("waiting", why);
    await pause(waitMs, signal);
  }

  /** Waits until it is time to list a kind again that the server lacks: when the server has its group, at the latest. */
  async #untilThere(signal: AbortSignal): Promise<void> {
    const { client, resource, timing } = this.#options;
    const endMs = performance.now() + timing.absentMs * (0.5 + Math.random() / 2);
    while (!signal.aborted && performance.now() < endMs) {
      await pause(timing.absentGroupMs * (0.5 + Math.random() / 2), signal);
      // An answer that is none, or none that can be read, says nothing.
      if (await isServed(client, resource, signal).catch(() => false)) return;
    }
  }

  /** What the server itself says; undefined where it does not: the error of the first request is reported then. */
  async #served(signal: AbortSignal): Promise<Served | undefined> {
    const { client, resource } = this.#options;
    try {
      return await findServed(client, resource, signal);
    } catch {
      return undefined;
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
    this.#heardMs = performance.now();
  }

  #proved(): void {
    this.#heard();
    this.#provedMs = this.#heardMs;
    this.#hasMoved = false;
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
